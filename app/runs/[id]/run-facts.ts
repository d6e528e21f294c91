/** @file What a run's page says, worked out from its row and its curves. */
import type { inferRouterOutputs } from "@trpc/server";
import type { AppRouter } from "../../../server/api/router.ts";
import { count } from "../../parts/format.ts";
import { configText } from "../run-row.ts";

type Outputs = inferRouterOutputs<AppRouter>;
export type Run = Outputs["runs"]["get"];
export type Curve = Outputs["runs"]["curves"][number];
export type Axis = "step" | "tokens" | "time";

/** One word that a POSIX shell takes as it is. */
export const quoted = (text: string): string =>
  /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** The command that submits the same again; ids of this workbench, so it is repeated where its models are. */
export const submitCommand = (kind: string, config: Readonly<Record<string, unknown>>, name?: string): string =>
  [
    "npm run -s espalier -- api runs submit",
    `--kind ${kind}`,
    ...(name ? [`--name ${quoted(name)}`] : []),
    `--config ${quoted(JSON.stringify(config))}`,
  ].join(" ");

export interface Change {
  readonly field: string;
  readonly from: string;
  readonly to: string;
}

/** Fields whose values differ; a field that is not there says so. */
export function changedFields(
  config: Readonly<Record<string, unknown>>,
  before: Readonly<Record<string, unknown>>,
): Change[] {
  const say = (v: unknown): string => (v === undefined ? "not set" : configText(v) || "empty");
  return [...new Set([...Object.keys(before), ...Object.keys(config)])]
    .filter((k) => JSON.stringify(config[k]) !== JSON.stringify(before[k]))
    .map((field) => ({ field, from: say(before[field]), to: say(config[field]) }));
}

/** Tokens a step sees; null when the config does not say. */
export function tokensAStep(config: Readonly<Record<string, unknown>>): number | null {
  const { batch, context } = config;
  return typeof batch === "number" && typeof context === "number" ? batch * context : null;
}

/** Steps a run makes in all; null when its config has none. */
export const totalSteps = (config: Readonly<Record<string, unknown>>): number | null =>
  typeof config.steps === "number" ? config.steps : null;

/** `2 130 of 3 000 steps`, `41 of 64 units`. A unit that is under way counts when it is done. */
export function doneOf(run: Pick<Run, "progress" | "config">): { done: number; total: number; word: string } | null {
  const { progress, config } = run;
  if (!progress) return null;
  const steps = totalSteps(config);
  if (steps !== null) return { done: Math.round(progress.share * steps), total: steps, word: "steps" };
  if (progress.total <= 1) return { done: Math.floor(progress.share * 100), total: 100, word: "%" };
  return { done: Math.floor(progress.done), total: progress.total, word: "units" };
}

/** Curves of the large picture: what is trained on, and the same measured on held-out text. */
export function mainCurves(
  curves: readonly Curve[],
  config: Readonly<Record<string, unknown>>,
): {
  title: string;
  train: Curve | null;
  heldOut: Curve | null;
} {
  const of = (name: string): Curve | null => curves.find((c) => c.name === name) ?? null;
  const train = of("loss");
  const isKl = config.crossEntropy === 0 && train !== null;
  if (train) {
    const heldOut = isKl ? of("held-out KL") : of("held-out loss");
    return { title: isKl ? "KL to the teacher, nats per token" : "Training loss, nats per token", train, heldOut };
  }
  const first = curves[0] ?? null;
  return { title: first ? first.name : "", train: first, heldOut: null };
}

/** Where points stand on the chosen axis. Time is minutes since the first point. */
export function xOf(curve: Curve, axis: Axis, aStep: number | null, startMs: number): number[] {
  if (axis === "tokens" && aStep !== null) return curve.steps.map((s) => s * aStep);
  if (axis === "time") return curve.atMs.map((t) => (t - startMs) / 60_000);
  return curve.steps;
}

/** x of a step of this curve, between its thinned points. */
export function xAtStep(curve: Curve, step: number, axis: Axis, aStep: number | null, startMs: number): number {
  if (axis !== "time") return axis === "tokens" && aStep !== null ? step * aStep : step;
  const i = curve.steps.findIndex((s) => s >= step);
  const at = i < 0 ? curve.atMs.length - 1 : i;
  return ((curve.atMs[at] ?? startMs) - startMs) / 60_000;
}

/** The step a moment belongs to: the last point written by then. Null before the first. */
export function stepAt(curve: Curve | null, ms: number): number | null {
  if (!curve) return null;
  const i = curve.atMs.findLastIndex((t) => t <= ms);
  return curve.steps[i] ?? null;
}

/** Length of a stretch over which speed is told, unless the run is short: points are written a few times a second. */
const STRETCH_MS = 2_000;

/** Steps a second over stretches of two seconds (an eighth of a short run, an eightieth of a long one); nothing across a loss. */
export function speedOf(curve: Curve): { steps: number[]; perSecond: (number | null)[]; stretchMs: number } {
  const steps: number[] = [];
  const perSecond: (number | null)[] = [];
  const span = (curve.atMs.at(-1) ?? 0) - (curve.atMs[0] ?? 0);
  const stretchMs = Math.max(Math.min(STRETCH_MS, span / 8), span / 80);
  let from = 0;
  for (let i = 1; i < curve.steps.length; i++) {
    const gap = curve.resumedAt.some((s) => s > (curve.steps[i - 1] ?? 0) && s <= (curve.steps[i] ?? 0));
    const [ds, dt] = [(curve.steps[i] ?? 0) - (curve.steps[from] ?? 0), (curve.atMs[i] ?? 0) - (curve.atMs[from] ?? 0)];
    if (gap) {
      steps.push(curve.steps[i] ?? 0);
      perSecond.push(null);
      from = i;
    } else if (dt >= stretchMs) {
      steps.push(curve.steps[i] ?? 0);
      perSecond.push((1000 * ds) / dt);
      from = i;
    }
  }
  return { steps, perSecond, stretchMs };
}

export const clockTime = (ms: number, seconds = false): string =>
  Number.isFinite(ms)
    ? new Date(ms).toLocaleTimeString("en-GB", {
        hour: "2-digit",
        minute: "2-digit",
        ...(seconds ? { second: "2-digit" } : {}),
      })
    : "unknown";

/** Units a summary names in each layer; the rest is a number. */
const NAMED = 24;

/** What a cut dropped, layer by layer: `H0 H3`, `neurons 0-31`, `the whole layer`. */
export function cutByLayer(dropped: readonly string[]): { layer: string; units: string }[] {
  const byLayer = new Map<string, string[]>();
  for (const unit of dropped) {
    const [layer = "", part = "the whole layer"] = unit.split(".");
    byLayer.set(layer, [...(byLayer.get(layer) ?? []), part]);
  }
  return [...byLayer].map(([layer, units]) => ({
    layer,
    units:
      units.length > NAMED
        ? `${units.slice(0, NAMED).join(" ")} and ${count(units.length - NAMED)} more`
        : units.join(" "),
  }));
}

/** Units by the metric that measures most directly, the dearest first. */
export function dearestUnits<U extends { readonly unit: string; readonly metric: string; readonly value: number }>(
  units: readonly U[],
  most: number,
): { metric: string; units: U[] } {
  const metric = units.some((u) => u.metric === "leave-one-out") ? "leave-one-out" : (units[0]?.metric ?? "");
  const own = units.filter((u) => u.metric === metric).sort((a, b) => b.value - a.value);
  return { metric, units: own.slice(0, most) };
}
