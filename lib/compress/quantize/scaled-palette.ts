/**
 * @file Palettes over rows of equal size: each output channel is divided by its scale, then the rows share tables.
 *
 * Reference: the per-channel scale of coremltools' palettization; here per output channel, and applied to the output.
 *
 *   s_r = rms(w_r) / rms(w), in fp16;   w_r / s_r ≈ table[index];   ŵ_r = s_r · table[index]
 *
 * One table fits rows of unequal size badly; divided by s they have one distribution. An error ε in
 * w_r / s_r is an error s_r ε in w_r, so k-means weighs row r by s_r². The scales are relative:
 * their mean square is 1, so outputs before scaling are on average no larger than after it, which
 * matters in fp16.
 */

import { dim, f32At, f64At } from "../../elements.ts";
import { roundToFloat16 } from "../../float16.ts";
import { elementCount } from "../../mil/types.ts";
import type { ScaledWeight } from "../../weights/weight.ts";
import { type PaletteOptions, palettizeSteps } from "./palettize.ts";
import { finish, type Steps } from "./steps.ts";

/** Rows smaller than this, relative to the rest and zero included, are scaled as if they were this
 * large. */
const LEAST_SCALE = 2 ** -10;

/** `values` (rows, columns). Throws as `palettize` does. */
export const palettizeScaled = (
  values: Float32Array,
  shape: readonly number[],
  options: PaletteOptions,
): ScaledWeight => finish(palettizeScaledSteps(values, shape, options));

/** As `palettizeScaled`, with the steps of `palettize`. */
export function* palettizeScaledSteps(
  values: Float32Array,
  shape: readonly number[],
  options: PaletteOptions,
): Steps<ScaledWeight> {
  const rows = dim(shape, 0);
  const columns = elementCount(shape.slice(1));
  const squares = new Float64Array(rows);
  for (let i = 0; i < values.length; i++) {
    const r = Math.floor(i / columns);
    squares[r] = f64At(squares, r) + f32At(values, i) ** 2;
  }
  const mean = squares.reduce((n, v) => n + v, 0) / rows;
  const rowScales = Float32Array.from(squares, (v) =>
    mean > 0 && Number.isFinite(mean) ? roundToFloat16(Math.max(LEAST_SCALE, Math.sqrt(v / mean))) : 1,
  );
  const even = values.map((v, i) => v / f32At(rowScales, Math.floor(i / columns)));
  const elementWeights = values.map((_, i) => {
    const given = options.elementWeights?.[i] ?? options.columnWeights?.[i % columns] ?? 1;
    return given * f32At(rowScales, Math.floor(i / columns)) ** 2;
  });
  const inner = yield* palettizeSteps(even, shape, { ...options, elementWeights });
  return { kind: "scaled", shape: [...shape], inner, rowScales };
}
