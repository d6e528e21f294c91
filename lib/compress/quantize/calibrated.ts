/**
 * @file Stores a matrix at a width so that its outputs on a calibration text change as little as
 * possible, with the best methods of this folder.
 *
 * Tables and clips are first chosen with errors weighted by ρ_r · Σ_t x_tc² (the diagonal of H).
 * GPTQ's feedback, fit and descent then use all of H (`gptq.ts`).
 */
import { f32At, f64At } from "../../elements.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { type GptqOptions, gptq } from "./gptq.ts";
import type { Granularity } from "./granularity.ts";
import type { MatrixProduct } from "./matrix-products.ts";
import { inTurns } from "./steps.ts";
import { storeSteps, type Width } from "./width.ts";

/** The inputs of a matrix (rows, columns) on a calibration text, as sums. */
export interface MatrixInputs {
  /** Σ x xᵀ, (columns, columns). */
  readonly gram: Float64Array;
  /** ρ: how much an error in each row counts, (rows); default 1. */
  readonly rowWeights?: Float32Array | undefined;
}

/** `values` (rows, columns). Throws as `storeAs` and `gptq` do. */
export async function storeCalibrated(
  width: Width,
  values: Float32Array,
  shape: readonly number[],
  granularity: Granularity,
  { gram, rowWeights }: MatrixInputs,
  product: MatrixProduct,
  options: Omit<GptqOptions, "rowWeights"> = {},
): Promise<CompressedWeight> {
  const [rows, columns] = shape as [number, number];
  const diagonal = Float32Array.from({ length: columns }, (_, c) => f64At(gram, c * (columns + 1)));
  const weights = rowWeights
    ? { elementWeights: outer(rowWeights, diagonal, rows, columns) }
    : { columnWeights: diagonal };
  const nearest = await inTurns(storeSteps(width, values, shape, granularity, weights), options.signal);
  return gptq(values, nearest, gram, product, { ...options, rowWeights });
}

function outer(left: Float32Array, right: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[i++] = f32At(left, r) * f32At(right, c);
  }
  return out;
}
