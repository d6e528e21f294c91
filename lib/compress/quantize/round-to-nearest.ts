/**
 * @file Round-to-nearest affine quantization, int4 or int8, per channel or per group of columns.
 *
 *   symmetric   s = c · max(−lo / 2^(b−1), hi / (2^(b−1) − 1));  q = clip(round(w / s), −2^(b−1), 2^(b−1) − 1)
 *   asymmetric  s = c · (hi − lo) / (2^b − 1), 0 ∈ [lo, hi];  q = clip(round(w / s) + z, −2^(b−1), 2^(b−1) − 1)
 *
 * The clip c is 1, or searched on a grid (Frantar et al., GPTQ's code: the share with the least Σ ω
 * |w − ŵ|^2.4). Scales are rounded to fp16 before codes are chosen. Not included: error feedback
 * (GPTQ) and learned rounding.
 */
import { f32At, f64At } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import type { AffineWeight } from "../../weights/weight.ts";
import { checkFinite } from "./palettize.ts";
import { finish, STEP_ELEMENTS, type Steps } from "./steps.ts";

export interface AffineOptions {
  readonly bits: 4 | 8;
  /** Columns that share a scale; null for a whole row. Must divide the columns. */
  readonly groupSize: number | null;
  readonly symmetric: boolean;
  /** Searches for the best clip; otherwise the range covers the extremes. */
  readonly clipSearch: boolean;
  readonly columnWeights?: Float32Array | undefined;
  /** How much an error in each weight counts, (rows, columns); replaces `columnWeights`. */
  readonly elementWeights?: Float32Array | undefined;
}

const CLIP_STEPS = 40;
const CLIP_LEAST = 0.3;
const COARSE_STEPS = 5;
/** The least scale: the smallest normal fp16, because device arithmetic may flush smaller numbers
 * to zero. */
const LEAST_SCALE = 2 ** -14;

/** `values` (rows, columns). Throws `input/invalid` when groups do not divide the columns, `numeric/non-finite`. */
export const quantizeAffine = (values: Float32Array, shape: readonly number[], options: AffineOptions): AffineWeight =>
  finish(quantizeAffineSteps(values, shape, options));

/** As `quantizeAffine`, some rows per step. */
export function* quantizeAffineSteps(
  values: Float32Array,
  shape: readonly number[],
  options: AffineOptions,
): Steps<AffineWeight> {
  const [rows, columns] = shape as [number, number];
  const groupSize = options.groupSize ?? columns;
  if (!Number.isInteger(groupSize) || groupSize < 1 || columns % groupSize !== 0) {
    throw new EspalierError("input/invalid", `groups of ${groupSize} do not divide ${columns} columns`, {
      hint: "Choose a divisor, such as 32 or 64, or no group size for one scale a row.",
    });
  }
  checkFinite(values, columns);
  const groups = columns / groupSize;
  const codes = new Int8Array(values.length);
  const scales = new Float32Array(rows * groups);
  const offsets = options.symmetric ? null : new Int8Array(rows * groups);
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const from = r * columns + g * groupSize;
      const part = values.subarray(from, from + groupSize);
      const weights =
        options.elementWeights?.subarray(from, from + groupSize) ??
        options.columnWeights?.subarray(g * groupSize, (g + 1) * groupSize);
      const grid = options.clipSearch ? bestGrid(part, options, weights) : gridAt(rangeOf(part), options, 1);
      scales[r * groups + g] = grid.scale;
      if (offsets) offsets[r * groups + g] = grid.offset;
      for (let i = 0; i < groupSize; i++) codes[from + i] = encode(f32At(part, i), grid);
    }
    if (Math.floor(((r + 1) * columns) / STEP_ELEMENTS) > Math.floor((r * columns) / STEP_ELEMENTS)) yield;
  }
  return {
    kind: "affine",
    bits: options.bits,
    shape: [rows, columns],
    codes,
    scales,
    scaleShape: [rows, groups],
    offsets,
  };
}

interface Grid {
  readonly scale: number;
  readonly offset: number;
  readonly least: number;
  readonly most: number;
}

const encode = (w: number, { scale, offset, least, most }: Grid): number =>
  Math.min(most, Math.max(least, Math.round(w / scale) + offset));

interface Range {
  readonly low: number;
  readonly high: number;
}

/** Of a group, with 0 inside. */
function rangeOf(part: Float32Array): Range {
  let low = 0;
  let high = 0;
  for (let i = 0; i < part.length; i++) {
    const w = f32At(part, i);
    if (w < low) low = w;
    if (w > high) high = w;
  }
  return { low, high };
}

function gridAt({ low, high }: Range, { bits, symmetric }: AffineOptions, clip: number): Grid {
  const half = 2 ** (bits - 1);
  if (symmetric) {
    const scale = Math.max(LEAST_SCALE, roundToFloat16(clip * Math.max(-low / half, high / (half - 1))));
    return { scale, offset: 0, least: -half, most: half - 1 };
  }
  const scale = Math.max(LEAST_SCALE, roundToFloat16((clip * (high - low)) / (2 * half - 1)));
  const offset = Math.min(half - 1, Math.max(-half, Math.round((-clip * low) / scale) - half));
  return { scale, offset, least: -half, most: half - 1 };
}

/**
 * The clip with the least error: the best of every fifth, then the best of those between its
 * neighbours. The narrower the range, the more the weights outside it lose. Once they alone cost as
 * much as the best clip so far, no narrower clip can win.
 */
function bestGrid(part: Float32Array, options: AffineOptions, weights: Float32Array | undefined): Grid {
  const range = rangeOf(part);
  const at = (step: number): Grid => gridAt(range, options, 1 - ((1 - CLIP_LEAST) * step) / CLIP_STEPS);
  let best = at(0);
  let bestStep = 0;
  let least = errorOf(part, best, weights, Number.POSITIVE_INFINITY).total;
  const tryFrom = (from: number, to: number, stride: number): void => {
    for (let step = from; step < to; step += stride) {
      const grid = at(step);
      const { total, outside } = errorOf(part, grid, weights, least);
      if (total < least) [best, bestStep, least] = [grid, step, total];
      else if (outside >= least) break;
    }
  };
  tryFrom(COARSE_STEPS, CLIP_STEPS, COARSE_STEPS);
  const around = bestStep;
  tryFrom(Math.max(1, around - COARSE_STEPS + 1), around, 1);
  tryFrom(around + 1, Math.min(CLIP_STEPS, around + COARSE_STEPS), 1);
  return best;
}

/** t^2.4 at the middle of equal steps of t from 0 to ½, where t is the rounding error in units of
 * the scale. */
const ROUNDING_STEPS = 1024;
const roundingErrors = Float64Array.from(
  { length: ROUNDING_STEPS + 1 },
  (_, i) => ((i + 0.5) / (2 * ROUNDING_STEPS)) ** 2.4,
);

/**
 * Σ ω |w − ŵ|^2.4, and the part of it outside the range; both sums stop once they pass `enough`.
 * The rounding error is read from a table, to a few parts in ten thousand.
 */
function errorOf(
  part: Float32Array,
  { scale, offset, least, most }: Grid,
  weights: Float32Array | undefined,
  enough: number,
): { total: number; outside: number } {
  const unit = scale ** 2.4;
  const limit = enough / unit;
  const inverse = 1 / scale;
  const [low, high] = [least - offset, most - offset];
  let inside = 0;
  let outside = 0;
  for (let i = 0; i < part.length; i++) {
    const w = f32At(part, i) * inverse;
    const weight = weights === undefined ? 1 : f32At(weights, i);
    const code = Math.floor(w + 0.5);
    if (code >= low && code <= high) {
      inside += weight * f64At(roundingErrors, (Math.abs(w - code) * (2 * ROUNDING_STEPS)) | 0);
    } else {
      outside += weight * Math.abs(w - (code < low ? low : high)) ** 2.4;
    }
    if ((i & 7) === 7 && inside + outside >= limit) break;
  }
  return { total: (inside + outside) * unit, outside: outside * unit };
}
