/**
 * @file What a run says while it works: points of curves, in chunks, and log lines.
 *
 * Chunks carry the time they were written. Merging them keeps those times as a curve of its own, `CLOCK`, from steps to
 * milliseconds, so that an ended run can still be drawn over time.
 */

import { and, asc, desc, eq, gt, sql } from "drizzle-orm";
import { f64At, numberAt } from "../../lib/elements.ts";
import type { Core } from "../core.ts";
import { logLines, metricChunks } from "../db/schema.ts";

/** Chunks of an ended run are merged up to this many points. */
const CHUNK = 16_384;
/** The reserved name of the curve that says when a step was. */
export const CLOCK = "@clock";
/** Times kept of an attempt. */
const CLOCK_POINTS = 4_096;

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
  if (rows.length === 0) return;
  // Written already when a connection broke before it said so; told again, a chunk may have grown.
  await core.db
    .insert(metricChunks)
    .values(rows)
    .onConflictDoUpdate({
      target: [metricChunks.runId, metricChunks.name, metricChunks.attempt, metricChunks.fromStep],
      set: {
        toStep: sql`excluded.to_step`,
        count: sql`excluded.count`,
        steps: sql`excluded.steps`,
        values: sql`excluded.values`,
      },
      setWhere: sql`excluded.count > ${metricChunks.count}`,
    });
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
    steps: bytesOf(stepsKept(steps)),
    values: bytesOf(values),
    wallMs,
  };
}

/** Steps at equal distances are kept as the first and the distance: half of a long curve. */
function stepsKept(steps: Float64Array): Float64Array {
  const [first = 0, second = 0] = steps;
  if (steps.length <= 2) return steps;
  const stride = second - first;
  return steps.every((s, i) => s === first + i * stride) ? Float64Array.of(first, stride) : steps;
}

/** The steps of a chunk of `count` points. */
export function stepsOf(kept: Float64Array, count: number): Float64Array {
  const [first = 0, stride = 0] = kept;
  return kept.length === 2 && count > 2 ? Float64Array.from({ length: count }, (_, i) => first + i * stride) : kept;
}

const bytesOf = (a: Float64Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

export function doubles(bytes: Uint8Array | Float64Array): Float64Array {
  if (bytes instanceof Float64Array) return bytes;
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
    const steps = concat(group.map((r) => stepsOf(doubles(r.steps), r.count)));
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
  for (const [attempt, pairs] of clockOf(rows)) {
    const every = Math.max(1, Math.ceil(pairs.length / CLOCK_POINTS));
    const kept = pairs.filter((_, i) => i % every === 0 || i === pairs.length - 1);
    if (groups.has(`${attempt} ${CLOCK}`)) continue;
    const [steps, times] = [0, 1].map((k) => Float64Array.from(kept, (p) => numberAt(p, k))) as [
      Float64Array,
      Float64Array,
    ];
    merged.push(chunkRow({ id: runId, attempt }, CLOCK, steps, times, times[0] ?? 0));
  }
  await core.db.transaction(async (tx) => {
    await tx.delete(metricChunks).where(eq(metricChunks.runId, runId));
    for (const row of merged) await tx.insert(metricChunks).values(row);
  });
}

/** Of each attempt: steps and when they were written, both rising. */
export function clockOf(
  rows: readonly {
    name: string;
    attempt: number;
    toStep: number;
    count: number;
    wallMs: number;
    steps: Uint8Array | Float64Array;
    values: Uint8Array | Float64Array;
  }[],
): Map<number, [step: number, wallMs: number][]> {
  const found = new Map<number, [number, number][]>();
  for (const attempt of new Set(rows.map((r) => r.attempt))) {
    const own = rows.filter((r) => r.attempt === attempt);
    const kept = own.filter((r) => r.name === CLOCK);
    const pairs =
      kept.length > 0
        ? kept.flatMap((r) => {
            const times = doubles(r.values);
            return Array.from(stepsOf(doubles(r.steps), r.count), (s, i): [number, number] => [s, f64At(times, i)]);
          })
        : own.map((r): [number, number] => [r.toStep, r.wallMs]);
    const rising: [number, number][] = [];
    for (const pair of pairs.sort((a, b) => a[1] - b[1] || a[0] - b[0])) {
      const last = rising.at(-1);
      if (last && pair[0] <= last[0]) continue;
      if (last && pair[1] <= last[1]) last[0] = pair[0];
      else rising.push(pair);
    }
    found.set(attempt, rising);
  }
  return found;
}

const chunksOf = (core: Core, runId: string) =>
  core.db
    .select()
    .from(metricChunks)
    .where(eq(metricChunks.runId, runId))
    .orderBy(asc(metricChunks.name), asc(metricChunks.attempt), asc(metricChunks.fromStep));

export function concat(parts: readonly Float64Array[]): Float64Array {
  const out = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
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
