/**
 * @file Percentile bootstrap: the spread of a statistic when the sequences are drawn again, with replacement.
 *
 *   [q_{α/2}, q_{1−α/2}] of θ(resample 1), …, θ(resample B)
 *
 * Reference: Efron 1979. Resample whole sequences (or documents), never tokens, which are not independent.
 * Left out: bias correction (BCa), studentized intervals.
 */
import { EspalierError } from "../errors.ts";
import type { Rng } from "../random.ts";
import type { Interval } from "./proportion.ts";

export interface BootstrapOptions {
  readonly draws?: number | undefined;
  readonly confidence?: number | undefined;
}

/** The quantile at `share` of ascending `sorted`, linear between neighbours. */
export function quantileOfSorted(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below] as number;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] as number;
  return low + (at - below) * (high - low);
}

/**
 * The interval of `statistic`, called with `count` indices of a resample (the array is used again for each draw).
 * Throws `input/empty`, `numeric/non-finite` when a resample has no finite statistic.
 */
export function bootstrapInterval(
  count: number,
  statistic: (indices: Int32Array) => number,
  rng: Rng,
  options: BootstrapOptions = {},
): Interval {
  const { draws = 1000, confidence = 0.95 } = options;
  if (count < 1) throw new EspalierError("input/empty", "nothing to resample");
  if (!(draws >= 1 && confidence > 0 && confidence < 1)) {
    throw new EspalierError("input/invalid", `bootstrap with ${draws} draws at confidence ${confidence}`);
  }
  const indices = new Int32Array(count);
  const values = new Float64Array(draws);
  for (let d = 0; d < draws; d++) {
    for (let i = 0; i < count; i++) indices[i] = rng.integer(count);
    const value = statistic(indices);
    if (!Number.isFinite(value)) {
      throw new EspalierError("numeric/non-finite", `bootstrap draw ${d} of ${draws}: the statistic is ${value}`);
    }
    values[d] = value;
  }
  values.sort();
  const tail = (1 - confidence) / 2;
  return { low: quantileOfSorted(values, tail), high: quantileOfSorted(values, 1 - tail) };
}
