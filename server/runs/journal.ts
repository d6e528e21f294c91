/**
 * @file What a run says while it works: points of curves, in chunks, and log lines.
 *
 * A resumed run repeats steps; points of a later attempt stand in for those of earlier ones from its first step on. Reading a
 * curve smooths all points first and thins afterwards, so that the smoothed line does not change with the zoom:
 *
 *   m_i = β m_{i−1} + (1 − β) v_i,   shown m_i / (1 − β^i)
 *
 * and thinning keeps the least and the greatest point of each of at most `points` stretches.
 */
import { and, asc, desc, eq, gt } from "drizzle-orm";
import type { Core } from "../core.ts";
import { logLines, metricChunks } from "../db/schema.ts";

/** Chunks of an ended run are merged up to this many points. */
const CHUNK = 16_384;

export interface Curve {
  readonly name: string;
  readonly count: number;
  /** Thinned, in the order of steps. */
  readonly steps: number[];
  readonly values: (number | null)[];
  readonly smoothed: number[];
  /** Where attempts after the first began. */
  readonly resumedAt: number[];
}

export async function appendPoints(
  core: Core,
  run: { id: string; attempt: number },
  points: readonly (readonly [string, number, number])[],
): Promise<void> {
  const byName = new Map<string, { steps: number[]; values: number[] }>();
  for (const [name, step, value] of points) {
    const list = byName.get(name) ?? { steps: [], values: [] };
    list.steps.push(step);
    list.values.push(value);
    byName.set(name, list);
  }
  const rows = [...byName].map(([name, { steps, values }]) =>
    chunkRow(run, name, Float64Array.from(steps), Float64Array.from(values), core.clock.nowMs()),
  );
  if (rows.length > 0) await core.db.insert(metricChunks).values(rows).onConflictDoNothing();
}

function chunkRow(
  run: { id: string; attempt: number },
  name: string,
  steps: Float64Array,
  values: Float64Array,
  wallMs: number,
): typeof metricChunks.$inferInsert {
  return {
    runId: run.id,
    name,
    attempt: run.attempt,
    fromStep: steps[0] ?? 0,
    toStep: steps.at(-1) ?? 0,
    count: steps.length,
    steps: bytesOf(steps),
    values: bytesOf(values),
    wallMs,
  };
}

const bytesOf = (a: Float64Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

function doubles(bytes: Uint8Array): Float64Array {
  // A driver may hand out a view that is not aligned.
  return new Float64Array(bytes.slice().buffer);
}

/** Merges the small chunks a live run left. */
export async function compactPoints(core: Core, runId: string): Promise<void> {
  const rows = await chunksOf(core, runId);
  const groups = new Map<string, typeof rows>();
  for (const row of rows) {
    const key = `${row.attempt} ${row.name}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const merged: (typeof metricChunks.$inferInsert)[] = [];
  for (const group of groups.values()) {
    const first = group[0];
    if (!first) continue;
    const steps = concat(group.map((r) => doubles(r.steps)));
    const values = concat(group.map((r) => doubles(r.values)));
    for (let at = 0; at < steps.length; at += CHUNK)
      merged.push(
        chunkRow(
          { id: runId, attempt: first.attempt },
          first.name,
          steps.slice(at, at + CHUNK),
          values.slice(at, at + CHUNK),
          first.wallMs,
        ),
      );
  }
  if (merged.length === 0 || merged.length === rows.length) return;
  await core.db.transaction(async (tx) => {
    await tx.delete(metricChunks).where(eq(metricChunks.runId, runId));
    for (const row of merged) await tx.insert(metricChunks).values(row);
  });
}

const chunksOf = (core: Core, runId: string) =>
  core.db
    .select()
    .from(metricChunks)
    .where(eq(metricChunks.runId, runId))
    .orderBy(asc(metricChunks.name), asc(metricChunks.attempt), asc(metricChunks.fromStep));

function concat(parts: readonly Float64Array[]): Float64Array {
  const out = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export interface CurveOptions {
  /** Thinned points at most, of each curve. */
  readonly points: number;
  /** β of the debiased moving average, 0 for none. */
  readonly smoothing: number;
  /** Average the logarithms, for a logarithmic axis. */
  readonly logarithmic: boolean;
}

export async function readCurves(core: Core, runId: string, options: CurveOptions): Promise<Curve[]> {
  const byName = new Map<string, { attempt: number; steps: Float64Array; values: Float64Array }[]>();
  for (const row of await chunksOf(core, runId)) {
    const list = byName.get(row.name) ?? [];
    list.push({ attempt: row.attempt, steps: doubles(row.steps), values: doubles(row.values) });
    byName.set(row.name, list);
  }
  return [...byName].map(([name, chunks]) => curveOf(name, chunks, options));
}

function curveOf(
  name: string,
  chunks: readonly { attempt: number; steps: Float64Array; values: Float64Array }[],
  options: CurveOptions,
): Curve {
  const attempts = [...new Set(chunks.map((c) => c.attempt))].sort((a, b) => a - b);
  let steps = new Float64Array(0);
  let values = new Float64Array(0);
  const resumedAt: number[] = [];
  for (const attempt of attempts) {
    const own = chunks.filter((c) => c.attempt === attempt);
    const s = concat(own.map((c) => c.steps));
    const v = concat(own.map((c) => c.values));
    const first = s[0];
    if (first === undefined) continue;
    if (steps.length > 0) resumedAt.push(first);
    const kept = lowerBound(steps, first);
    steps = concat([steps.subarray(0, kept), s]) as Float64Array<ArrayBuffer>;
    values = concat([values.subarray(0, kept), v]) as Float64Array<ArrayBuffer>;
  }
  const smoothed = movingAverage(values, options.smoothing, options.logarithmic);
  const shown = thin(values, options.points);
  return {
    name,
    count: steps.length,
    steps: shown.map((i) => steps[i] as number),
    values: shown.map((i) => (Number.isFinite(values[i]) ? (values[i] as number) : null)),
    smoothed: shown.map((i) => smoothed[i] as number),
    resumedAt,
  };
}

function lowerBound(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Debiased exponential moving average over all points; what is not finite is passed over. */
export function movingAverage(values: Float64Array, beta: number, logarithmic: boolean): Float64Array {
  const out = new Float64Array(values.length);
  let mean = 0;
  let weight = 1;
  for (let i = 0; i < values.length; i++) {
    const raw = values[i] as number;
    const v = logarithmic ? Math.log(raw) : raw;
    if (Number.isFinite(v)) {
      mean = beta * mean + (1 - beta) * v;
      weight *= beta;
    }
    const debiased = mean / (1 - weight);
    out[i] = logarithmic ? Math.exp(debiased) : debiased;
  }
  return out;
}

/** Indices of the least and greatest value of each stretch, first and last included. */
export function thin(values: Float64Array, points: number): number[] {
  const n = values.length;
  if (n <= points) return Array.from({ length: n }, (_, i) => i);
  const stretches = Math.max(1, Math.floor((points - 2) / 2));
  const kept = new Set<number>([0, n - 1]);
  for (let s = 0; s < stretches; s++) {
    const from = Math.floor((s * n) / stretches);
    const to = Math.floor(((s + 1) * n) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if ((values[i] as number) < (values[low] as number)) low = i;
      if ((values[i] as number) > (values[high] as number)) high = i;
    }
    kept.add(low).add(high);
  }
  return [...kept].sort((a, b) => a - b);
}

export interface LogLine {
  readonly seq: number;
  readonly level: "info" | "warning" | "error";
  readonly line: string;
  readonly at: Date;
}

export async function nextLogSeq(core: Core, runId: string): Promise<number> {
  const [row] = await core.db
    .select({ seq: logLines.seq })
    .from(logLines)
    .where(eq(logLines.runId, runId))
    .orderBy(desc(logLines.seq))
    .limit(1);
  return (row?.seq ?? 0) + 1;
}

export async function appendLog(core: Core, runId: string, lines: readonly LogLine[]): Promise<void> {
  if (lines.length > 0)
    await core.db
      .insert(logLines)
      .values(lines.map((l) => ({ ...l, runId })))
      .onConflictDoNothing();
}

export const readLog = (core: Core, runId: string, after: number, limit: number): Promise<LogLine[]> =>
  core.db
    .select({ seq: logLines.seq, level: logLines.level, line: logLines.line, at: logLines.at })
    .from(logLines)
    .where(and(eq(logLines.runId, runId), gt(logLines.seq, after)))
    .orderBy(asc(logLines.seq))
    .limit(limit);
