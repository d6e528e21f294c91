/**
 * @file GPTQ: columns are quantized one after the other, and the error of each is made good by the columns still to come.
 *
 * Reference: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2023).
 *
 *   H = Σ_t x_t x_tᵀ + λ · mean(diag H) · I,  H⁻¹ = Uᵀ U with U upper triangular
 *   for every column c:  e = (w_c − q_c) / U_cc;  w_j ← w_j − e · U_cj for all j > c
 *
 * which leaves, greedily, the least ‖(W − Ŵ) X‖². Grids and tables are those of the unchanged weights ("static groups"), so
 * columns may go in order of falling diag H ("act-order"); what the input never fills counts for nothing. Rows are
 * independent. The nearest codes are kept where they are no worse on the calibration text.
 * Left out: tables fitted again afterwards, blocks for weights larger than a cache.
 */
import { EspalierError } from "../../errors.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";

export interface GptqOptions {
  /** λ; ten times as much, up to 1, when H is not positive definite even so. */
  readonly damping?: number | undefined;
}

const DAMPING = 0.01;

/**
 * `values` (rows, columns) onto the grid or table of `nearest`, which was made from them; `gram` Σ x xᵀ (columns, columns).
 * Dense weights come back as they are. Throws `input/invalid` when shapes do not fit.
 */
export function gptq(
  values: Float32Array,
  nearest: CompressedWeight,
  gram: Float64Array,
  options: GptqOptions = {},
): CompressedWeight {
  const [rows, columns] = nearest.shape as [number, number];
  if (gram.length !== columns * columns || values.length !== rows * columns) {
    throw new EspalierError(
      "input/invalid",
      `${values.length} weights and ${gram.length} products do not fit [${rows}, ${columns}]`,
    );
  }
  if (nearest.kind !== "affine" && nearest.kind !== "palette") return nearest;
  const order = Array.from({ length: columns }, (_, c) => c).sort(
    (a, b) => (gram[b * columns + b] as number) - (gram[a * columns + a] as number) || a - b,
  );
  const upper = damped(gram, order, options.damping ?? DAMPING);
  if (!upper) return nearest;
  const found =
    nearest.kind === "affine"
      ? { ...nearest, codes: nearest.codes.slice() }
      : { ...nearest, indices: nearest.indices.slice() };
  const work = new Float64Array(columns);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < columns; i++) work[i] = values[r * columns + (order[i] as number)] as number;
    const put = found.kind === "affine" ? affineRow(found, r) : paletteRow(found, r);
    for (let i = 0; i < columns; i++) {
      const w = work[i] as number;
      const error = (w - put(order[i] as number, w)) / (upper[i * columns + i] as number);
      for (let j = i + 1; j < columns; j++) work[j] = (work[j] as number) - error * (upper[i * columns + j] as number);
    }
  }
  return outputError(values, found, gram) < outputError(values, nearest, gram) ? found : nearest;
}

type AffineCodes = Extract<CompressedWeight, { kind: "affine" }>;
type PaletteIndices = Extract<CompressedWeight, { kind: "palette" }>;

/** Writes the nearest code of a column and gives what it stands for. */
function affineRow(w: AffineCodes, row: number): (column: number, value: number) => number {
  const [, columns] = w.shape as [number, number];
  const [scaleRows, groups] = w.scaleShape as [number, number];
  const scaleRow = Math.floor(row / ((w.shape[0] as number) / scaleRows));
  const half = 2 ** (w.bits - 1);
  return (column, value) => {
    const block = scaleRow * groups + Math.floor(column / (columns / groups));
    const scale = w.scales[block] as number;
    const offset = w.offsets ? (w.offsets[block] as number) : 0;
    const code = Math.min(half - 1, Math.max(-half, Math.round(value / scale) + offset));
    w.codes[row * columns + column] = code;
    return scale * (code - offset);
  };
}

function paletteRow(w: PaletteIndices, row: number): (column: number, value: number) => number {
  const columns = w.shape[1] as number;
  const entries = 2 ** w.bits;
  const from = Math.floor(row / w.rowsPerTable) * entries;
  return (column, value) => {
    let best = 0;
    for (let e = 1; e < entries; e++) {
      if (Math.abs(value - (w.tables[from + e] as number)) < Math.abs(value - (w.tables[from + best] as number)))
        best = e;
    }
    w.indices[row * columns + column] = best;
    return w.tables[from + best] as number;
  };
}

/** U of the damped, permuted H; null when even heavy damping does not make it positive definite. */
function damped(gram: Float64Array, order: readonly number[], damping: number): Float64Array | null {
  const n = order.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (gram[i * n + i] as number) / n;
  if (!(mean > 0)) return null;
  for (let share = damping; share <= Math.max(1, damping); share *= 10) {
    const h = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      const row = order[i] as number;
      for (let j = 0; j < n; j++) h[i * n + j] = gram[row * n + (order[j] as number)] as number;
      // An input that is always 0 has no row of its own; the damping gives it one.
      h[i * n + i] = (h[i * n + i] as number) + share * mean;
    }
    const upper = upperOfInverse(h, n);
    if (upper) return upper;
  }
  return null;
}

/** U with H⁻¹ = Uᵀ U: invert through Cholesky, then factor the inverse. Null when H is not positive definite. */
export function upperOfInverse(h: Float64Array, n: number): Float64Array | null {
  const l = cholesky(h, n);
  if (!l) return null;
  // Columns of L⁻¹, by forward substitution.
  const inverseL = new Float64Array(n * n);
  for (let c = 0; c < n; c++) {
    for (let r = c; r < n; r++) {
      let v = r === c ? 1 : 0;
      for (let k = c; k < r; k++) v -= (l[r * n + k] as number) * (inverseL[k * n + c] as number);
      inverseL[r * n + c] = v / (l[r * n + r] as number);
    }
  }
  const inverse = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i <= k; i++) {
      const a = inverseL[k * n + i] as number;
      for (let j = 0; j <= i; j++)
        inverse[i * n + j] = (inverse[i * n + j] as number) + a * (inverseL[k * n + j] as number);
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) inverse[j * n + i] = inverse[i * n + j] as number;
  const lower = cholesky(inverse, n);
  if (!lower) return null;
  const upper = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) upper[j * n + i] = lower[i * n + j] as number;
  return upper;
}

/** Lower triangular L with L Lᵀ = a (n, n); null when a is not positive definite. */
function cholesky(a: Float64Array, n: number): Float64Array | null {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let v = a[i * n + j] as number;
      for (let k = 0; k < j; k++) v -= (l[i * n + k] as number) * (l[j * n + k] as number);
      if (i === j) {
        if (!(v > 0)) return null;
        l[i * n + i] = Math.sqrt(v);
      } else l[i * n + j] = v / (l[j * n + j] as number);
    }
  }
  return l;
}

/** ‖(W − Ŵ) X‖² = Σ_r d_r H d_rᵀ with d = W − Ŵ. */
export function outputError(values: Float32Array, stored: CompressedWeight, gram: Float64Array): number {
  const [rows, n] = stored.shape as [number, number];
  const decoded = decodeWeight(stored);
  const d = new Float64Array(n);
  let total = 0;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < n; c++) d[c] = (values[r * n + c] as number) - (decoded[r * n + c] as number);
    for (let i = 0; i < n; i++) {
      let product = 0;
      for (let j = 0; j < n; j++) product += (gram[i * n + j] as number) * (d[j] as number);
      total += (d[i] as number) * product;
    }
  }
  return total;
}
