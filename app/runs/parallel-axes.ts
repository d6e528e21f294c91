/**
 * @file Axes of parallel coordinates: which fields vary, how each is scaled, which runs the brushes leave.
 *
 * An axis is logarithmic when its values are positive and span more than a factor of twenty. Words stand in their order on
 * an ordinal axis. A run without a value passes below the axis, on a rail of its own.
 */
import { configText, isError, numbersOf, type RunNames, type RunRow } from "./run-row.ts";

export interface ParallelAxis {
  /** `config.steps`, `numbers.KL`. */
  readonly id: string;
  readonly title: string;
  readonly scale: "linear" | "logarithmic" | "ordinal";
  readonly domain: readonly [number, number];
  /** Of an ordinal axis, from below. */
  readonly words: readonly string[];
  /** One of each run; null where it has none. */
  readonly values: readonly (number | null)[];
}

export interface Brush {
  readonly low: number;
  readonly high: number;
}

const MOST_WORDS = 12;
const LOGARITHMIC_SPAN = 20;

/** The axis of a field over these runs; null when it has fewer than two values. */
export function axisOf(id: string, runs: readonly RunRow[], names?: RunNames): ParallelAxis | null {
  const [part = "", ...rest] = id.split(".");
  const name = rest.join(".");
  const raw = runs.map((r) => (part === "config" ? r.config[name] : numbersOf(r)[name]));
  const numbers = raw.filter((v): v is number => typeof v === "number" && Number.isFinite(v));
  const present = raw.filter((v) => v !== undefined && v !== null);
  if (present.length === 0) return null;
  if (numbers.length === present.length) {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const v of numbers) [low, high] = [Math.min(low, v), Math.max(high, v)];
    if (low === high) return null;
    const isLog = low > 0 && high / low > LOGARITHMIC_SPAN;
    return {
      id,
      title: name,
      scale: isLog ? "logarithmic" : "linear",
      domain: [low, high],
      words: [],
      values: raw.map((v) => (typeof v === "number" && Number.isFinite(v) ? v : null)),
    };
  }
  const texts = raw.map((v) => (v === undefined || v === null ? null : configText(v, names)));
  const words = [...new Set(texts.filter((t): t is string => t !== null))].sort();
  if (words.length < 2 || words.length > MOST_WORDS) return null;
  return {
    id,
    title: name,
    scale: "ordinal",
    domain: [0, words.length - 1],
    words,
    values: texts.map((t) => (t === null ? null : words.indexOf(t))),
  };
}

/** Everything that varies, config before numbers, by how many runs have it; `value` last. */
export function candidateAxes(runs: readonly RunRow[], value: string, names?: RunNames): ParallelAxis[] {
  const counts = new Map<string, number>();
  const add = (id: string): void => void counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const run of runs) {
    for (const k of Object.keys(run.config)) add(`config.${k}`);
    for (const k of Object.keys(numbersOf(run))) if (!isError(k)) add(`numbers.${k}`);
  }
  const rank = (id: string): number => (id === `numbers.${value}` ? 2 : id.startsWith("config.") ? 0 : 1);
  return [...counts]
    .sort(([a, n], [b, m]) => rank(a) - rank(b) || m - n)
    .flatMap(([id]) => axisOf(id, runs, names) ?? []);
}

/** What a person would look at first: up to three of the config, then sizes and the value. */
export function chosenAxes(all: readonly ParallelAxis[], value: string, most = 6): ParallelAxis[] {
  const share = (a: ParallelAxis): number => a.values.filter((v) => v !== null).length / Math.max(1, a.values.length);
  const skipped =
    /^(config\.(seed|text|heldOut|separator|base|models|tasks|out)|numbers\.(took|tokens|best step|points|bytes|ready))$/;
  const config = all
    .filter((a) => a.id.startsWith("config.") && !skipped.test(a.id) && share(a) >= 0.2)
    .sort((a, b) => share(b) - share(a))
    .slice(0, 3);
  const wanted = [
    "numbers.heads left",
    "numbers.bits per weight",
    "numbers.MB",
    "numbers.agreement",
    "numbers.accuracy",
  ];
  const last = all.filter((a) => a.id === `numbers.${value}`);
  const middle = wanted
    .flatMap((id) => all.filter((a) => a.id === id && a.id !== `numbers.${value}`))
    .slice(0, most - config.length - last.length);
  const rest = all.filter(
    (a) => a.id.startsWith("numbers.") && ![...middle, ...last].includes(a) && !skipped.test(a.id) && share(a) >= 0.2,
  );
  const room = most - config.length - middle.length - last.length;
  return [...config, ...middle, ...rest.slice(0, Math.max(0, Math.min(room, 3 - middle.length))), ...last];
}

/** Indices of runs that every brush lets through. A run without a value is let through by no brush on that axis. */
export function brushed(axes: readonly ParallelAxis[], brushes: ReadonlyMap<string, Brush>): Set<number> {
  const left = new Set<number>();
  const active = axes.flatMap((a) => {
    const brush = brushes.get(a.id);
    return brush ? [[a, brush] as const] : [];
  });
  const n = axes[0]?.values.length ?? 0;
  for (let i = 0; i < n; i++)
    if (
      active.every(([a, b]) => {
        const v = a.values[i];
        return v !== null && v !== undefined && v >= b.low && v <= b.high;
      })
    )
      left.add(i);
  return left;
}

/** `numbers.KL:0.01..0.05;config.bits:2..4` in an address. */
export const brushesText = (brushes: ReadonlyMap<string, Brush>): string =>
  [...brushes].map(([id, b]) => `${id}:${Number(b.low.toPrecision(6))}..${Number(b.high.toPrecision(6))}`).join(";");

export function parseBrushes(text: string): Map<string, Brush> {
  return new Map(
    text.split(";").flatMap((part): [string, Brush][] => {
      const found = /^(.+):(-?[\d.e+-]+)\.\.(-?[\d.e+-]+)$/.exec(part);
      const [low, high] = [Number(found?.[2]), Number(found?.[3])];
      return found?.[1] && Number.isFinite(low) && Number.isFinite(high) ? [[found[1], { low, high }]] : [];
    }),
  );
}

/** The place of a value on its axis, from 0 at the bottom to 1 at the top. */
export function position(axis: ParallelAxis, value: number): number {
  const of = axis.scale === "logarithmic" ? Math.log : (v: number): number => v;
  const [low, high] = [of(axis.domain[0]), of(axis.domain[1])];
  return (of(value) - low) / (high - low);
}

export function valueAt(axis: ParallelAxis, share: number): number {
  const [low, high] = axis.domain;
  const s = Math.max(0, Math.min(1, share));
  return axis.scale === "logarithmic" ? low * (high / low) ** s : low + (high - low) * s;
}
