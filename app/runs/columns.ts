/** @file Columns of the table of runs: how each sorts and what it says, for a run or a group of runs. */
import { bytes, count, duration, fixed, moment } from "../parts/format.ts";
import { groupValue, type RunGroup } from "./groups.ts";
import { configText, numbersOf } from "./run-row.ts";

export interface Column {
  readonly id: string;
  readonly title: string;
  readonly part: "Run" | "Numbers" | "Config";
  /** Of the grid. */
  readonly width: string;
  readonly align: "left" | "right";
  /** Null sorts last, either way. */
  sort(group: RunGroup): string | number | null;
  text(group: RunGroup): string;
}

const first = (g: RunGroup) => g.runs[0];
const newest = (g: RunGroup): number => Math.max(...g.runs.map((r) => new Date(r.createdAt).getTime()));
/** When the newest of them that has begun did so. */
function startOf(g: RunGroup): number | null {
  const started = g.runs.flatMap((r) => (r.startedAt ? [new Date(r.startedAt).getTime()] : []));
  return started.length > 0 ? Math.max(...started) : null;
}
const states = ["running", "stopping", "queued", "lost", "failed", "cancelled", "succeeded"];

/** The state a group is in: the one that most wants looking at. */
export function stateOf(g: RunGroup) {
  const of = (r: RunGroup["runs"][number]): number => states.indexOf(r.state);
  return [...g.runs].sort((a, b) => of(a) - of(b))[0]?.state ?? "queued";
}

const text = (id: string, title: string, width: string, say: (g: RunGroup) => string): Column => ({
  id,
  title,
  part: "Run",
  width,
  align: "left",
  sort: (g) => say(g).toLowerCase() || null,
  text: say,
});

const number = (id: string, name: string, title: string, width: string, say: (v: number) => string): Column => ({
  id,
  title,
  part: "Numbers",
  width,
  align: "right",
  sort: (g) => groupValue(g.runs, name)?.mean ?? null,
  text: (g) => {
    const v = groupValue(g.runs, name);
    return v ? say(v.mean) : "–";
  },
});

export const builtIn: readonly Column[] = [
  { ...text("state", "State", "104px", (g) => stateOf(g)), sort: (g) => states.indexOf(stateOf(g)) },
  {
    id: "value",
    title: "Value",
    part: "Numbers",
    width: "262px",
    align: "right",
    sort: () => null,
    text: () => "",
  },
  number("agreement", "agreement", "Top token, %", "84px", (v) => fixed(100 * v, 1)),
  number("accuracy", "accuracy", "Questions, %", "88px", (v) => fixed(100 * v, 1)),
  number("mb", "MB", "Weights, MB", "84px", (v) => fixed(v, 2)),
  number("package", "package MB", "Package, MB", "86px", (v) => fixed(v, 2)),
  number("bits", "bits per weight", "Bits", "52px", (v) => fixed(v, 2)),
  number("heads", "heads left", "Heads", "52px", (v) => count(v)),
  number("parameters", "parameters", "Parameters", "90px", (v) => count(v)),
  {
    ...number("took", "took", "Took", "76px", duration),
    part: "Run",
    sort: (g) => g.runs.reduce((s, r) => s + r.computeSeconds, 0),
    text: (g) => {
      const seconds = g.runs.reduce((s, r) => s + r.computeSeconds, 0);
      return seconds > 0 ? duration(seconds) : "–";
    },
  },
  {
    id: "started",
    title: "Started",
    part: "Run",
    width: "92px",
    align: "right",
    // Those that have not begun stand where they were submitted.
    sort: (g) => startOf(g) ?? newest(g),
    text: (g) => {
      const at = startOf(g);
      return at === null ? "–" : moment(at);
    },
  },
  text("kind", "Kind", "88px", (g) => first(g)?.kind ?? ""),
  text("model", "Model", "140px", (g) => configText(first(g)?.config.model ?? first(g)?.config.base)),
  text("made", "Made", "140px", (g) => g.runs.flatMap((r) => r.outputModelId ?? []).join(", ")),
  text("tags", "Tags", "120px", (g) => [...new Set(g.runs.flatMap((r) => r.tags))].join(", ")),
  text("note", "Note", "160px", (g) => first(g)?.note ?? ""),
  text("sweep", "Sweep", "130px", (g) => first(g)?.sweepId ?? ""),
  text("attempt", "Attempts", "66px", (g) => String(Math.max(...g.runs.map((r) => r.attempt)))),
  text("id", "Id", "120px", (g) => (g.runs.length === 1 ? (first(g)?.id ?? "") : `${g.runs.length} runs`)),
];

export const defaultColumns = ["state", "value", "agreement", "mb", "bits", "heads", "took", "started"];

/** Built in, then every field of a config and every other number that some run has. */
export function allColumns(groups: readonly RunGroup[]): Column[] {
  const config = new Set<string>();
  const numbers = new Set<string>();
  for (const g of groups)
    for (const r of g.runs) {
      for (const k of Object.keys(r.config)) config.add(k);
      for (const k of Object.keys(numbersOf(r))) if (!k.endsWith(" ±")) numbers.add(k);
    }
  for (const n of ["agreement", "accuracy", "MB", "package MB", "bits per weight", "heads left", "parameters", "took"])
    numbers.delete(n);
  return [
    ...builtIn,
    ...[...numbers].sort().map((n) => number(`numbers.${n}`, n, n, "96px", n === "bytes" ? bytes : significant)),
    ...[...config].sort().map(
      (k): Column => ({
        id: `config.${k}`,
        title: k,
        part: "Config",
        width: "96px",
        align: groups.some((g) => typeof first(g)?.config[k] === "number") ? "right" : "left",
        sort: (g) => {
          const v = first(g)?.config[k];
          return typeof v === "number" ? v : configText(v) || null;
        },
        text: (g) => [...new Set(g.runs.map((r) => configText(r.config[k])))].join(", ") || "–",
      }),
    ),
  ];
}

/** Four figures, whole numbers whole. */
export function significant(v: number): string {
  if (Number.isInteger(v)) return count(v);
  return fixed(v, Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(Math.abs(v))))));
}

/** Value and error with as many decimals as the error has meaning: two figures. */
export function withError(value: number, error: number | null): [value: string, error: string | null] {
  if (error === null || !(error > 0)) return [significant(value), null];
  const digits = Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(error))));
  return [fixed(value, digits), fixed(error, digits)];
}

/** Rows in the order of a column; null last, either way; equal ones keep theirs. */
export function sorted(
  groups: readonly RunGroup[],
  by: (g: RunGroup) => string | number | null,
  down: boolean,
): RunGroup[] {
  const keyed = groups.map((g) => [by(g), g] as const);
  const sign = down ? -1 : 1;
  return keyed
    .sort(([a], [b]) => {
      if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
      return a < b ? -sign : a > b ? sign : 0;
    })
    .map(([, g]) => g);
}
