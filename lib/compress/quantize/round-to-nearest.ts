/**
 * @file Round-to-nearest affine quantization, int4 or int8, per channel or per group of columns.
 *
 *   symmetric   s = c · max|w| / (2^(b−1) − 1);  q = clip(round(w / s), ±(2^(b−1) − 1))
 *   asymmetric  s = c · (hi − lo) / (2^b − 1), 0 ∈ [lo, hi];  q = clip(round(w / s) + z, −2^(b−1), 2^(b−1) − 1)
 *
 * The clip c is 1, or searched on a grid (Frantar et al., GPTQ's code: the share with the least Σ ω |w − ŵ|^2.4). Scales are
 * rounded to fp16 before codes are chosen. Left out: error feedback (GPTQ) and learned rounding.
 */
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import type { AffineWeight } from "../../weights/weight.ts";
import { checkFinite } from "./palettize.ts";

export interface AffineOptions {
  readonly bits: 4 | 8;
  /** Columns that share a scale; null for a whole row. Must divide the columns. */
  readonly groupSize: number | null;
  readonly symmetric: boolean;
  /** Search the clip instead of keeping the extremes. */
  readonly clipSearch: boolean;
  readonly columnWeights?: Float32Array | undefined;
  /** How much an error in each weight counts, (rows, columns); instead of `columnWeights`. */
  readonly elementWeights?: Float32Array | undefined;
}

const CLIP_STEPS = 40;
const CLIP_LEAST = 0.3;
/** The least scale: the smallest normal fp16, because device arithmetic may flush what is below. */
const LEAST_SCALE = 2 ** -14;

/** `values` (rows, columns). Throws `input/invalid` when groups do not divide the columns, `numeric/non-finite`. */
export function quantizeAffine(values: Float32Array, shape: readonly number[], options: AffineOptions): AffineWeight {
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
      const grid = options.clipSearch ? bestGrid(part, options, weights) : gridAt(part, options, 1);
      scales[r * groups + g] = grid.scale;
      if (offsets) offsets[r * groups + g] = grid.offset;
      for (let i = 0; i < groupSize; i++) codes[from + i] = encode(part[i] as number, grid);
    }
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

function gridAt(part: Float32Array, { bits, symmetric }: AffineOptions, clip: number): Grid {
  let low = 0;
  let high = 0;
  for (const w of part) {
    if (w < low) low = w;
    if (w > high) high = w;
  }
  const half = 2 ** (bits - 1);
  if (symmetric) {
    const scale = Math.max(LEAST_SCALE, roundToFloat16((clip * Math.max(-low, high)) / (half - 1)));
    return { scale, offset: 0, least: -(half - 1), most: half - 1 };
  }
  const scale = Math.max(LEAST_SCALE, roundToFloat16((clip * (high - low)) / (2 * half - 1)));
  const offset = Math.min(half - 1, Math.max(-half, Math.round((-clip * low) / scale) - half));
  return { scale, offset, least: -half, most: half - 1 };
}

function bestGrid(part: Float32Array, options: AffineOptions, weights: Float32Array | undefined): Grid {
  let best = gridAt(part, options, 1);
  let least = errorOf(part, best, weights);
  for (let step = 1; step < CLIP_STEPS; step++) {
    const grid = gridAt(part, options, 1 - ((1 - CLIP_LEAST) * step) / CLIP_STEPS);
    const error = errorOf(part, grid, weights);
    if (error < least) [best, least] = [grid, error];
  }
  return best;
}

function errorOf(part: Float32Array, grid: Grid, weights: Float32Array | undefined): number {
  let total = 0;
  for (let i = 0; i < part.length; i++) {
    const w = part[i] as number;
    const difference = Math.abs(w - (encode(w, grid) - grid.offset) * grid.scale);
    total += (weights ? (weights[i] as number) : 1) * difference ** 2.4;
  }
  return total;
}
