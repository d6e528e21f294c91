/**
 * @file Widths: what a tensor can be stored as, by name, and the one function that stores it so.
 *
 * `palette4` is a table of 2⁴ values a group of rows, `affine8` codes of 8 bits times a scale, `fp16` the tensor itself.
 * How finely tables and scales are laid out, and what errors are weighted by, holds for all widths of a recipe or a width map.
 */
import { roundToFloat16 } from "../../float16.ts";
import type { CompressedWeight, PaletteWeight } from "../../weights/weight.ts";
import type { Granularity } from "./granularity.ts";
import { type PaletteOptions, palettizeSteps } from "./palettize.ts";
import { quantizeAffineSteps } from "./round-to-nearest.ts";
import { palettizeScaledSteps } from "./scaled-palette.ts";
import { finish, type Steps } from "./steps.ts";

export const widths = [
  "palette1",
  "palette2",
  "palette3",
  "palette4",
  "palette6",
  "palette8",
  "affine4",
  "affine8",
  "fp16",
] as const;
export type Width = (typeof widths)[number];

/** How much an error in each weight counts: by input channel, (columns), or by weight, (rows,
 * columns). */
export type ErrorWeights = Pick<PaletteOptions, "columnWeights" | "elementWeights">;

const paletteBits: Partial<Record<Width, PaletteWeight["bits"]>> = {
  palette1: 1,
  palette2: 2,
  palette3: 3,
  palette4: 4,
  palette6: 6,
  palette8: 8,
};

/** Bits of a code, without tables and scales. */
export const bitsOf = (width: Width): number => (width === "fp16" ? 16 : Number(width.replace(/^[a-z]+/, "")));

/** `values` (rows, columns). Throws `input/invalid` when tables or groups do not fit, `numeric/non-finite`. */
export const storeAs = (
  width: Width,
  values: Float32Array,
  shape: readonly number[],
  granularity: Granularity,
  weights: ErrorWeights = {},
): CompressedWeight => finish(storeSteps(width, values, shape, granularity, weights));

/** As `storeAs`, in steps short enough for a thread that must stay responsive: `await
 * inTurns(storeSteps(…), signal)`. */
export function* storeSteps(
  width: Width,
  values: Float32Array,
  shape: readonly number[],
  granularity: Granularity,
  weights: ErrorWeights = {},
): Steps<CompressedWeight> {
  if (width === "fp16") return { kind: "dense", dtype: "fp16", shape: [...shape], values: values.map(roundToFloat16) };
  const bits = paletteBits[width];
  if (bits !== undefined) {
    const options = { bits, rowsPerTable: granularity.rowsPerTable, ...weights };
    return granularity.rowScales
      ? yield* palettizeScaledSteps(values, shape, options)
      : yield* palettizeSteps(values, shape, options);
  }
  return yield* quantizeAffineSteps(values, shape, {
    bits: width === "affine4" ? 4 : 8,
    groupSize: granularity.groupSize,
    symmetric: !granularity.asymmetric,
    clipSearch: !granularity.keepExtremes,
    ...weights,
  });
}
