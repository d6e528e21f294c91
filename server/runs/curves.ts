/**
 * @file Curves as a page draws them: smoothed over all points first and thinned afterwards, so that the line does not change
 * with the zoom.
 *
 *   m_i = β m_{i−1} + (1 − β) v_i,   shown m_i / (1 − β^i)
 *
 * A resumed run repeats steps; points of a later attempt stand in for those of earlier ones from its first step on, and whether
 * the repeated ones came out the same is said. Thinning keeps the least and the greatest point of each of at most `points`
 * stretches. A curve named `x ±` holds the standard errors of `x`. Decoded chunks of the last few runs are kept in memory:
 * moving the smoothing of a million points reads nothing again.
 */

import { and, eq, inArray, or, sql } from "drizzle-orm";
import { f64At, under } from "../../lib/elements.ts";
import { extrapolate } from "../../lib/stats/extrapolate.ts";
import type { Core } from "../core.ts";
import { metricChunks } from "../db/schema.ts";
import { CLOCK, clockOf, concat, stepsOf } from "./journal.ts";

export interface Resumption {
  /** The attempt that began here. */
  readonly attempt: number;
  readonly step: number;
  /** Steps done once already by the attempt before. */
  readonly repeated: number;
  /** Whether each of them had the very same value; null when none was repeated. */
  readonly same: boolean | null;
  readonly lostAtMs: number;
  readonly resumedAtMs: number;
}

export interface Curve {
  readonly name: string;
  readonly count: number;
  /** Thinned, in the order of steps. */
  readonly steps: number[];
  readonly values: (number | null)[];
  readonly smoothed: number[];
  /** Standard errors, where a curve of the same name with ± holds them. */
  readonly errors: (number | null)[] | null;
  /** When each point was written, milliseconds since 1970. */
  readonly atMs: number[];
  /** Where attempts after the first began. */
  readonly resumedAt: number[];
  readonly resumptions: Resumption[];
  /** Steps whose values were not finite, ten at most. */
  readonly notFinite: number[];
  /** Where it is headed at `until`, when its tail allows to say so. */
  readonly expected: { steps: number[]; values: number[]; low: number[]; high: number[] } | null;
}

export interface CurveOptions {
  /** Thinned points at most, of each curve. */
  readonly points: number;
  /** β of the debiased moving average, 0 for none. */
  readonly smoothing: number;
  /** Average the logarithms, for a logarithmic axis. */
  readonly logarithmic: boolean;
  /** Only these. */
  readonly names?: readonly string[] | undefined;
  /** The step a run ends with. */
  readonly until?: number | undefined;
}

interface Chunk {
  readonly name: string;
  readonly attempt: number;
  readonly fromStep: number;
  readonly toStep: number;
  readonly count: number;
  readonly wallMs: number;
  readonly steps: Float64Array;
  readonly values: Float64Array;
}

/** As base64: drivers turn that into bytes many times faster than their own hexadecimal. */
const packed = (column: typeof metricChunks.steps | typeof metricChunks.values) =>
  sql<string>`encode(${column}, 'base64')`;

function unpacked(text: string): Float64Array {
  const bytes = Buffer.from(text, "base64");
  return new Float64Array(new Uint8Array(bytes).buffer);
}

const KEPT_BYTES = 256e6;
const kept = new WeakMap<Core, Map<string, Map<string, Chunk>>>();

/** All chunks of a run, those seen before from memory. */
async function chunksOf(core: Core, runId: string): Promise<Chunk[]> {
  const cache = kept.get(core) ?? new Map<string, Map<string, Chunk>>();
  kept.set(core, cache);
  const { name, attempt, fromStep, toStep, count, wallMs } = metricChunks;
  const found = await core.db
    .select({ name, attempt, fromStep, toStep, count, wallMs })
    .from(metricChunks)
    .where(eq(metricChunks.runId, runId));
  const keyOf = (c: { name: string; attempt: number; fromStep: number; count: number; wallMs: number }): string =>
    `${c.attempt} ${c.fromStep} ${c.count} ${c.wallMs} ${c.name}`;
  const before = cache.get(runId) ?? new Map<string, Chunk>();
  const missing = found.filter((c) => !before.has(keyOf(c)));
  const chunks = new Map(found.flatMap((c) => (before.has(keyOf(c)) ? [[keyOf(c), under(before, keyOf(c))]] : [])));
  if (missing.length > 0) {
    // A live run is asked for its newest stretch alone; anything else for all at once.
    const isTail = before.size > 0 && missing.length <= 64;
    const rows = await core.db
      .select({
        name,
        attempt,
        fromStep,
        toStep,
        count,
        wallMs,
        steps: packed(metricChunks.steps),
        values: packed(metricChunks.values),
      })
      .from(metricChunks)
      .where(
        and(
          eq(metricChunks.runId, runId),
          isTail
            ? or(...missing.map((c) => and(eq(name, c.name), eq(attempt, c.attempt), eq(fromStep, c.fromStep))))
            : before.size > 0
              ? inArray(name, [...new Set(missing.map((c) => c.name))])
              : sql`true`,
        ),
      );
    for (const r of rows)
      chunks.set(keyOf(r), { ...r, steps: stepsOf(unpacked(r.steps), r.count), values: unpacked(r.values) });
  }
  cache.delete(runId);
  cache.set(runId, chunks);
  let bytes = 0;
  for (const [id, list] of [...cache].reverse()) {
    for (const c of list.values()) bytes += c.steps.byteLength + c.values.byteLength;
    if (bytes > KEPT_BYTES && id !== runId) cache.delete(id);
  }
  return [...chunks.values()].sort((a, b) => a.attempt - b.attempt || a.fromStep - b.fromStep);
}

export async function readCurves(core: Core, runId: string, options: CurveOptions): Promise<Curve[]> {
  const chunks = await chunksOf(core, runId);
  const clock = clockOf(chunks);
  const names = [...new Set(chunks.map((c) => c.name))].sort();
  const joined = (name: string): Joined => lineOf(chunks.filter((c) => c.name === name));
  return names
    .filter((name) => name !== CLOCK && !name.endsWith(" ±") && (!options.names || options.names.includes(name)))
    .map((name) => {
      const errors = names.includes(`${name} ±`) ? joined(`${name} ±`) : null;
      return curveOf(name, joined(name), errors, clock, options);
    });
}

interface Joined {
  readonly steps: Float64Array;
  readonly values: Float64Array;
  /** The attempt of each stretch, and its first index. */
  readonly stretches: { attempt: number; from: number; repeated: number; same: boolean | null }[];
}

/** Joined lines by their first chunk, as long as that is kept and nothing was added. */
const lines = new WeakMap<Chunk, { chunks: number; line: Joined }>();

function lineOf(chunks: readonly Chunk[]): Joined {
  const first = chunks[0];
  const before = first && lines.get(first);
  if (before?.chunks === chunks.length) return before.line;
  const line = join(chunks);
  if (first) lines.set(first, { chunks: chunks.length, line });
  return line;
}

/** One line from the attempts of a run. */
function join(chunks: readonly Chunk[]): Joined {
  let steps = new Float64Array(0);
  let values = new Float64Array(0);
  const stretches: Joined["stretches"] = [];
  for (const attempt of [...new Set(chunks.map((c) => c.attempt))].sort((a, b) => a - b)) {
    const own = chunks.filter((c) => c.attempt === attempt);
    const s = concat(own.map((c) => c.steps));
    const v = concat(own.map((c) => c.values));
    const first = s[0];
    if (first === undefined) continue;
    const from = lowerBound(steps, first);
    let [repeated, same] = [0, true];
    for (let i = from; i < steps.length; i++) {
      const at = lowerBound(s, f64At(steps, i));
      if (s[at] !== steps[i]) continue;
      repeated++;
      same &&= Object.is(v[at], values[i]);
    }
    stretches.push({ attempt, from, repeated, same: repeated > 0 ? same : null });
    steps = (from === 0 ? s : concat([steps.subarray(0, from), s])) as Float64Array<ArrayBuffer>;
    values = (from === 0 ? v : concat([values.subarray(0, from), v])) as Float64Array<ArrayBuffer>;
  }
  return { steps, values, stretches };
}

function curveOf(
  name: string,
  { steps, values, stretches }: Joined,
  errors: Joined | null,
  clock: ReadonlyMap<number, readonly [number, number][]>,
  options: CurveOptions,
): Curve {
  const shown = thin(values, options.points);
  const smoothed = movingAverage(values, options.smoothing, options.logarithmic, shown);
  const later = stretches.slice(1);
  const attemptOf = (i: number): number => stretches.findLast((s) => s.from <= i)?.attempt ?? 1;
  const notFinite: number[] = [];
  for (let i = 0; i < values.length && notFinite.length < 10; i++)
    if (!Number.isFinite(values[i])) notFinite.push(f64At(steps, i));
  const expected = options.until === undefined ? null : extrapolate(steps, values, options.until);
  return {
    name,
    count: steps.length,
    steps: shown.map((i) => f64At(steps, i)),
    values: shown.map((i) => (Number.isFinite(values[i]) ? f64At(values, i) : null)),
    smoothed,
    errors: errors
      ? shown.map((i) => {
          const at = lowerBound(errors.steps, f64At(steps, i));
          const e = errors.values[at] ?? Number.NaN;
          return errors.steps[at] === steps[i] && Number.isFinite(e) ? e : null;
        })
      : null,
    atMs: shown.map((i) => Math.round(timeOf(clock.get(attemptOf(i)) ?? [], f64At(steps, i)))),
    resumedAt: later.map((s) => f64At(steps, s.from)),
    resumptions: later.map(({ attempt, from, repeated, same }, k) => ({
      attempt,
      step: f64At(steps, from),
      repeated,
      same,
      lostAtMs: Math.round(clock.get(stretches[k]?.attempt ?? 1)?.at(-1)?.[1] ?? Number.NaN),
      resumedAtMs: Math.round(clock.get(attempt)?.[0]?.[1] ?? Number.NaN),
    })),
    notFinite,
    expected: expected && { steps: expected.x, values: expected.y, low: expected.low, high: expected.high },
  };
}

/** When a step was, between and beyond the times that are known. */
function timeOf(pairs: readonly (readonly [number, number])[], step: number): number {
  const last = pairs.length - 1;
  if (last < 0) return Number.NaN;
  let [low, high] = [0, last];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((pairs[middle]?.[0] ?? 0) < step) low = middle + 1;
    else high = middle;
  }
  const b = pairs[Math.max(1, low)] ?? pairs[0];
  const a = pairs[Math.max(1, low) - 1];
  if (!a || !b || b === a || b[0] === a[0]) return pairs[0]?.[1] ?? Number.NaN;
  return a[1] + ((step - a[0]) / (b[0] - a[0])) * (b[1] - a[1]);
}

function lowerBound(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (f64At(sorted, middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Debiased exponential moving average over all points, told at some of them; what is not finite is passed over. */
export function movingAverage(
  values: Float64Array,
  beta: number,
  logarithmic: boolean,
  at: readonly number[],
): number[] {
  const out: number[] = [];
  let mean = 0;
  let weight = 1;
  for (let i = 0; i < values.length && out.length < at.length; i++) {
    const raw = f64At(values, i);
    const v = logarithmic ? Math.log(raw) : raw;
    if (Number.isFinite(v)) {
      mean = beta * mean + (1 - beta) * v;
      weight *= beta;
    }
    if (at[out.length] !== i) continue;
    const debiased = mean / (1 - weight);
    out.push(logarithmic ? Math.exp(debiased) : debiased);
  }
  return out;
}

/** Indices of the least and greatest value of each stretch, first and last included. */
export function thin(values: Float64Array, points: number): number[] {
  const n = values.length;
  if (n <= points) return Array.from({ length: n }, (_, i) => i);
  const stretches = Math.max(1, Math.floor((points - 2) / 2));
  const chosen = new Set<number>([0, n - 1]);
  for (let s = 0; s < stretches; s++) {
    const from = Math.floor((s * n) / stretches);
    const to = Math.floor(((s + 1) * n) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (f64At(values, i) < f64At(values, low)) low = i;
      if (f64At(values, i) > f64At(values, high)) high = i;
    }
    chosen.add(low).add(high);
  }
  return [...chosen].sort((a, b) => a - b);
}
