/**
 * @file Groups of runs: those that differ only in their seed, or by kind, model, tag, sweep.
 *
 * The number of a group is the mean over its runs with a 95 % interval from Student's t with N − 1 degrees of freedom; a group of
 * one keeps its own standard error. The runs stay visible: a mean is a number no run ever had.
 */
import { studentQuantile } from "../../lib/stats/student-t.ts";
import { configText, measuredValue, protocolOf, type RunRow, usualProtocol } from "./run-row.ts";

export const groupings = ["none", "seed", "kind", "model", "tag", "sweep"] as const;
export type Grouping = (typeof groupings)[number];

export interface RunGroup {
  readonly key: string;
  readonly name: string;
  /** In the order they came. */
  readonly runs: readonly RunRow[];
}

/** Everything of a config but its seed, and the kind. A model another run made stands for that run's own config. */
function withoutSeed(run: RunRow, byId: ReadonlyMap<string, RunRow>, depth = 0): string {
  const config = Object.entries(run.config)
    .filter(([k]) => k !== "seed")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, v]) => {
      const maker = typeof v === "string" ? byId.get(/^run:(run_\w+)$/.exec(v)?.[1] ?? "") : undefined;
      return `${k}=${maker && depth < 8 ? `(${withoutSeed(maker, byId, depth + 1)})` : JSON.stringify(v)}`;
    });
  return `${run.kind} ${config.join(" ")}`;
}

function keyOf(run: RunRow, by: Grouping, byId: ReadonlyMap<string, RunRow>): string {
  if (by === "seed") return withoutSeed(run, byId);
  if (by === "kind") return run.kind;
  if (by === "model") return configText(run.config.model ?? run.config.base);
  if (by === "tag") return run.tags.join(", ") || "no tag";
  return by === "sweep" ? (run.sweepId ?? `alone ${run.id}`) : run.id;
}

/** Groups in the order of their first runs. */
export function groupRuns(runs: readonly RunRow[], by: Grouping): RunGroup[] {
  const byId = new Map(runs.map((r) => [r.id, r]));
  const groups = new Map<string, RunRow[]>();
  for (const run of runs) {
    const key = keyOf(run, by, byId);
    const list = groups.get(key);
    if (list) list.push(run);
    else groups.set(key, [run]);
  }
  return [...groups].map(([key, list]) => ({ key, name: nameOf(list, by, key), runs: list }));
}

/** What the names have in common, without a trailing seed. */
function nameOf(runs: readonly RunRow[], by: Grouping, key: string): string {
  const first = runs[0]?.name ?? "";
  if (runs.length === 1) return first;
  if (by === "kind" || by === "model" || by === "tag") return key;
  let common = first;
  for (const { name } of runs) while (!name.startsWith(common)) common = common.slice(0, -1);
  const clean = common.replace(/[\s,·(-]*(seed)?[\s:=]*$/i, "");
  return clean.length >= 3 ? clean : first;
}

export interface GroupValue {
  readonly mean: number;
  /** Ends of the 95 % interval, of ± one standard error for a single run, or least and most; null when there is neither. */
  readonly low: number | null;
  readonly high: number | null;
  readonly n: number;
  readonly basis: "interval" | "range" | "standard error" | "unknown";
}

/** What decides a run besides its seed, and models that others make. */
const decides = ({ kind, config }: RunRow): string =>
  JSON.stringify([
    kind,
    Object.entries(config)
      .filter(([k, v]) => k !== "seed" && !(typeof v === "string" && v.startsWith("run:")))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  ]);

/**
 * Over the runs that were measured as most of them were; null when no run of the group has the number. Runs of different configs have
 * no mean: their middle, least and most are told.
 */
export function groupValue(runs: readonly RunRow[], name: string): GroupValue | null {
  const protocol = runs.length > 1 ? usualProtocol(runs, name) : null;
  const own = protocol === null ? runs : runs.filter((r) => protocolOf(r, name) === protocol);
  const values = own.flatMap((r) => measuredValue(r, name) ?? []);
  const n = values.length;
  if (n === 0) return null;
  const mean = values.reduce((s, v) => s + v.value, 0) / n;
  if (n === 1) {
    const error = values[0]?.error ?? null;
    return error === null
      ? { mean, low: null, high: null, n, basis: "unknown" }
      : { mean, low: mean - error, high: mean + error, n, basis: "standard error" };
  }
  if (new Set(own.map(decides)).size > 1) {
    const ordered = values.map((v) => v.value).sort((a, b) => a - b);
    const middle = ((ordered[(n - 1) >> 1] ?? 0) + (ordered[n >> 1] ?? 0)) / 2;
    return { mean: middle, low: ordered[0] ?? middle, high: ordered.at(-1) ?? middle, n, basis: "range" };
  }
  const variance = values.reduce((s, v) => s + (v.value - mean) ** 2, 0) / (n - 1);
  const half = studentQuantile(n - 1) * Math.sqrt(variance / n);
  return { mean, low: mean - half, high: mean + half, n, basis: "interval" };
}
