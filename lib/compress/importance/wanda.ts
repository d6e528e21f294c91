/**
 * @file Wanda, summed over a unit: weights times the size of their inputs.
 *
 * Reference: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (2023); the structured sum
 * as in An et al., "Fluctuation-based Adaptive Structured Pruning" (2024).
 *
 *   score_u = mean_s Σ_{c ∈ u} √(mean_t x_t,c²) · Σ_o |W_oc|
 *
 * W is the output projection (c: the channels of a head) or the down projection (c: neurons). The
 * mean over tokens replaces the sum, so that the score does not grow with the text. Not included:
 * the unstructured form, which compares weights within a row.
 */
import { f32At, f64At } from "../../elements.ts";
import type { ChannelStatistics } from "./activation-inputs.ts";

/** Σ_o |W_oc| for every column c of W (rows, columns). */
export function absoluteColumnSums(weight: Float32Array, columns: number): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < weight.length; i++) {
    const c = i % columns;
    sums[c] = f64At(sums, c) + Math.abs(f32At(weight, i));
  }
  return sums;
}

/** The score of one sequence over channels `from` … `to`. */
export function wandaScore(
  { rootMeanSquare }: ChannelStatistics,
  columnSums: Float64Array,
  from: number,
  to: number,
): number {
  let total = 0;
  for (let c = from; c < to; c++) total += f64At(rootMeanSquare, c) * f64At(columnSums, c);
  return total;
}
