/**
 * @file The relative error of a matrix at a width, estimated from some of its rows: cheaper than
 * storing all of them.
 *
 *   e = Σ_rc h (w_rc − ŵ_rc)² / Σ_rc h w_rc²
 *
 * where h is the weight of an error (E[x_c²] of the input channel, or Fisher information). With
 * E[x_c²], e is the share of noise in the output. Rows are taken by whole groups that share a
 * table, evenly spread over the matrix; a group is stored as it would be in the whole. One in
 * sixteen groups, at least two.
 */
import { f32At } from "../../elements.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { Granularity } from "./granularity.ts";
import { inTurns } from "./steps.ts";
import { type ErrorWeights, storeSteps, type Width } from "./width.ts";

const SHARE = 1 / 16;
const LEAST_GROUPS = 2;
/** Rows taken together where no table is shared. */
const ROWS = 16;

/** `values` (rows, columns); `granularity` must fit the shape. Throws as `storeAs` does. */
export async function sampledError(
  width: Width,
  values: Float32Array,
  shape: readonly number[],
  granularity: Granularity,
  weights: ErrorWeights = {},
  signal?: AbortSignal,
): Promise<number> {
  if (width === "fp16") return 0;
  const [rows = 1, columns = 1] = shape;
  const size = width.startsWith("palette") ? (granularity.rowsPerTable ?? rows) : Math.min(ROWS, rows);
  const groups = Math.floor(rows / size);
  const count = Math.min(groups, Math.max(LEAST_GROUPS, Math.ceil(groups * SHARE)));
  const from = Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * groups) / count) * size * columns);
  const taken = (all: Float32Array): Float32Array => {
    const part = new Float32Array(count * size * columns);
    for (const [i, at] of from.entries()) part.set(all.subarray(at, at + size * columns), i * size * columns);
    return part;
  };
  const part = taken(values);
  const own: ErrorWeights = {
    columnWeights: weights.columnWeights,
    elementWeights: weights.elementWeights && taken(weights.elementWeights),
  };
  const layout = { ...granularity, rowsPerTable: width.startsWith("palette") ? size : granularity.rowsPerTable };
  const stored = await inTurns(storeSteps(width, part, [count * size, columns], layout, own), signal);
  const decoded = decodeWeight(stored);
  let error = 0;
  let all = 0;
  for (let i = 0; i < part.length; i++) {
    const h = own.elementWeights?.[i] ?? own.columnWeights?.[i % columns] ?? 1;
    const w = f32At(part, i);
    error += h * (w - f32At(decoded, i)) ** 2;
    all += h * w * w;
  }
  return all > 0 ? error / all : 0;
}
