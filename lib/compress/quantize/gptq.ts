/**
 * @file GPTQ for grids and palettes: later columns correct the error of each column, then tables
 * and scales are refitted.
 *
 * References: Frantar et al., "GPTQ" (2023); Chee et al., "QuIP" (2023), whose formulation is used
 * here (`error-feedback.ts`); Kim et al., "GuidedQuant" (2025), and Behdin et al., "QuantEase"
 * (2023), for tables and codes fitted in turns.
 *
 *   H = Σ_t x_t x_tᵀ + λ · mean(diag H) · I;  the error of a row is (w − ŵ) H (w − ŵ)ᵀ
 *   1. feedback    columns by falling diag H:  ŵ_k = Q(w_k + Σ_{i before k} (w_i − ŵ_i) F_ik)
 *   2. fit         tables, or scales, that minimise Σ_rows ρ_r · error_r for these codes: linear least squares, some steps of
 *                  conjugate gradients, all tables of the matrix at once
 *   3. descent     ŵ_k = Q(w_k + Σ_{i≠k} (w_i − ŵ_i) H_ik / H_kk), one column after the other; then 2 again
 *
 * ρ_r is what an error in output r counts, 1 unless given; palettes with row scales count s_r² on top. The products run on an
 * engine, a block of columns at a time; within a block each row is worked through alone. Input
 * channels that are always 0 count only through λ. The nearest codes are kept where they are no
 * worse on the calibration text. Offsets do not change.
 */
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { AffineWeight, CompressedWeight, PaletteWeight } from "../../weights/weight.ts";
import { upperUnitFactor } from "./error-feedback.ts";
import type { MatrixProduct } from "./matrix-products.ts";
import { inTurns, STEP_ELEMENTS, type Steps } from "./steps.ts";

export interface GptqOptions {
  /** λ; raised tenfold, up to 1, while H is not positive definite. */
  readonly damping?: number | undefined;
  /** Rounds of fit and descent after the feedback; 0 keeps tables and scales. */
  readonly rounds?: number | undefined;
  /** How much an error in each row counts, (rows). */
  readonly rowWeights?: Float32Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DAMPING = 0.01;
const ROUNDS = 0;
const GRADIENT_STEPS = 4;
/** Columns a block. */
const BLOCK = 32;

/**
 * `values` (rows, columns) in the format of `nearest`, which was made from them; `gram` is Σ x xᵀ
 * (columns, columns). Dense and sparse weights are returned unchanged. Throws `input/invalid` when
 * shapes do not fit, `run/cancelled`.
 */
export async function gptq(
  values: Float32Array,
  nearest: CompressedWeight,
  gram: Float64Array,
  product: MatrixProduct,
  options: GptqOptions = {},
): Promise<CompressedWeight> {
  const [rows, columns] = nearest.shape as [number, number];
  if (gram.length !== columns * columns || values.length !== rows * columns) {
    throw new EspalierError(
      "input/invalid",
      `${values.length} weights and ${gram.length} products do not fit [${rows}, ${columns}]`,
    );
  }
  if (nearest.kind === "scaled") {
    // Every row has the same H, so a row divided by its scale is an ordinary row whose error counts
    // s² times as much.
    const { rowScales } = nearest;
    const even = values.map((v, i) => v / (rowScales[Math.floor(i / columns)] as number));
    const rowWeights = rowScales.map((s, r) => s * s * (options.rowWeights?.[r] ?? 1));
    const inner = await gptq(even, nearest.inner, gram, product, { ...options, rowWeights });
    return inner.kind === "palette" ? { ...nearest, inner } : nearest;
  }
  if (nearest.kind !== "affine" && nearest.kind !== "palette") return nearest;
  const order = Int32Array.from({ length: columns }, (_, c) => c).sort(
    (a, b) => (gram[b * columns + b] as number) - (gram[a * columns + a] as number) || a - b,
  );
  const h = await inTurns(damped(gram, order, options.damping ?? DAMPING), options.signal);
  if (!h) return nearest;
  const problem = new Problem(values, nearest, order, h, product, options);
  const before = await problem.errorOf(nearest);
  await problem.assign(h.feedback);
  for (let round = 0; round < (options.rounds ?? ROUNDS); round++) {
    await problem.fit();
    await problem.assign(h.descent);
  }
  if ((options.rounds ?? ROUNDS) > 0) await problem.fit();
  const found = problem.result();
  return (await problem.errorOf(found)) < before ? found : nearest;
}

interface Curvature {
  /** The damped H, its columns in order. */
  readonly h: Float32Array; // (n, n)
  /** F_ik, and H_ik / H_kk: what the error of column i adds to column k. */
  readonly feedback: Float32Array; // (n, n)
  readonly descent: Float32Array; // (n, n)
}

/** Null when even heavy damping does not make H positive definite. */
function* damped(gram: Float64Array, order: Int32Array, damping: number): Steps<Curvature | null> {
  const n = order.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (gram[i * n + i] as number) / n;
  if (!(mean > 0)) return null;
  for (let share = damping; share <= Math.max(1, damping); share *= 10) {
    const h = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      const row = (order[i] as number) * n;
      for (let j = 0; j < n; j++) h[i * n + j] = (gram[row + (order[j] as number)] as number) / mean;
      // An input that is always 0 has an empty row; damping fills its diagonal.
      h[i * n + i] = (h[i * n + i] as number) + share;
    }
    const feedback = yield* upperUnitFactor(h, n);
    if (!feedback) continue;
    const descent = new Float32Array(n * n);
    for (let i = 0; i < n; i++) {
      feedback[i * n + i] = 0;
      for (let j = 0; j < n; j++)
        descent[i * n + j] = i === j ? 0 : (h[i * n + j] as number) / (h[j * n + j] as number);
    }
    return { h: Float32Array.from(h), feedback, descent };
  }
  return null;
}

type Coded = AffineWeight | PaletteWeight;

/** A matrix being fitted; its columns are in the order of H. */
class Problem {
  private readonly rows: number;
  private readonly columns: number;
  private readonly weights: Float32Array; // (rows, columns)
  private readonly errors: Float32Array; // (rows, columns), w − ŵ
  private readonly order: Int32Array;
  private readonly coding: Coding;
  private readonly curvature: Curvature;
  private readonly product: MatrixProduct;
  private readonly options: GptqOptions;
  private coded = false;

  constructor(
    values: Float32Array,
    nearest: Coded,
    order: Int32Array,
    curvature: Curvature,
    product: MatrixProduct,
    options: GptqOptions,
  ) {
    [this.rows, this.columns] = nearest.shape as [number, number];
    this.order = order;
    this.weights = this.ordered(values);
    this.errors = new Float32Array(values.length);
    this.coding = nearest.kind === "affine" ? new AffineCoding(nearest, order) : new PaletteCoding(nearest);
    this.curvature = curvature;
    this.product = product;
    this.options = options;
  }

  private ordered(values: Float32Array): Float32Array {
    const { rows, columns, order } = this;
    const out = new Float32Array(values.length);
    for (let r = 0, i = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) out[i++] = values[r * columns + (order[c] as number)] as number;
    }
    return out;
  }

  /** Codes of all columns in order, each for its weight plus the corrections for the errors of the
   * others. */
  async assign(coefficients: Float32Array): Promise<void> {
    const { columns: n, rows, errors } = this;
    for (let from = 0; from < n; from += BLOCK) {
      const width = Math.min(BLOCK, n - from);
      const block = new Float32Array(n * width);
      for (let i = 0; i < n; i++) block.set(coefficients.subarray(i * n + from, i * n + from + width), i * width);
      const added =
        this.coded || from > 0 ? await this.product(errors, block, n, width) : new Float32Array(rows * width);
      await inTurns(this.assignBlock(block, added, from, width), this.options.signal);
    }
    this.coded = true;
  }

  private *assignBlock(block: Float32Array, added: Float32Array, from: number, width: number): Steps<void> {
    const { rows, columns: n, weights, errors, coding } = this;
    const inside = block.subarray(from * width, (from + width) * width); // (width, width)
    const rowsAStep = Math.max(1, Math.floor((4 * STEP_ELEMENTS) / width));
    for (let r = 0; r < rows; r++) {
      const row = r * n + from;
      const extra = r * width;
      for (let i = 0; i < width; i++) {
        const w = weights[row + i] as number;
        const error = w - coding.put(r, from + i, w + (added[extra + i] as number));
        const change = error - (errors[row + i] as number);
        errors[row + i] = error;
        for (let j = i + 1; j < width; j++)
          added[extra + j] = (added[extra + j] as number) + change * (inside[i * width + j] as number);
      }
      if (r % rowsAStep === rowsAStep - 1) yield;
    }
  }

  /** Tables or scales of the least error for the codes at hand, by preconditioned conjugate gradients. */
  async fit(): Promise<void> {
    const { coding, errors, curvature, product, columns: n } = this;
    const { parameters, together } = coding;
    const count = parameters.length;
    const gradient = new Float64Array(count);
    const scale = new Float64Array(count);
    const step = new Float64Array(count);
    coding.gather(this.weighted(await product(errors, curvature.h, n, n)), gradient);
    coding.curvatures(curvature.h, this.options.rowWeights, scale);
    const z = gradient.map((g, i) => ((scale[i] as number) > 0 ? g / (scale[i] as number) : 0));
    const direction = z.slice();
    const change = new Float32Array(errors.length);
    for (let round = 0; round < GRADIENT_STEPS; round++) {
      coding.spread(direction, change);
      const bent = new Float64Array(count);
      coding.gather(this.weighted(await product(change, curvature.h, n, n)), bent);
      for (let from = 0; from < count; from += together) {
        let [rz, pAp] = [0, 0];
        for (let i = from; i < from + together; i++) {
          rz += (gradient[i] as number) * (z[i] as number);
          pAp += (direction[i] as number) * (bent[i] as number);
        }
        if (!(pAp > 0) || !(rz > 0)) continue;
        let next = 0;
        for (let i = from; i < from + together; i++) {
          step[i] = (step[i] as number) + (rz / pAp) * (direction[i] as number);
          gradient[i] = (gradient[i] as number) - (rz / pAp) * (bent[i] as number);
          z[i] = (scale[i] as number) > 0 ? (gradient[i] as number) / (scale[i] as number) : 0;
          next += (gradient[i] as number) * (z[i] as number);
        }
        for (let i = from; i < from + together; i++)
          direction[i] = (z[i] as number) + (next / rz) * (direction[i] as number);
      }
    }
    coding.move(step);
    coding.decode(change);
    for (let i = 0; i < errors.length; i++) errors[i] = (this.weights[i] as number) - (change[i] as number);
  }

  private weighted(residual: Float32Array): Float32Array {
    const { rowWeights } = this.options;
    if (!rowWeights) return residual;
    const { columns } = this;
    for (let r = 0; r < rowWeights.length; r++) {
      const weight = rowWeights[r] as number;
      for (let i = r * columns; i < (r + 1) * columns; i++) residual[i] = weight * (residual[i] as number);
    }
    return residual;
  }

  /** Σ ρ (w − ŵ) H (w − ŵ)ᵀ. */
  async errorOf(stored: Coded): Promise<number> {
    const decoded = this.ordered(decodeWeight(stored));
    for (let i = 0; i < decoded.length; i++) decoded[i] = (this.weights[i] as number) - (decoded[i] as number);
    const residual = this.weighted(await this.product(decoded, this.curvature.h, this.columns, this.columns));
    let total = 0;
    for (let i = 0; i < decoded.length; i++) total += (decoded[i] as number) * (residual[i] as number);
    return total;
  }

  result(): Coded {
    return this.coding.result(this.order);
  }
}

/** How codes become weights: linear in `parameters`, of which each run of `together` shares rows. */
interface Coding {
  readonly parameters: Float32Array;
  readonly together: number;
  /** Codes `value` in a row and an ordered column; returns the decoded value. */
  put(row: number, column: number, value: number): number;
  /** out_p = Σ residual · ∂ŵ/∂p. */
  gather(residual: Float32Array, out: Float64Array): void;
  /** out_p = Σ ρ · (∂ŵ/∂p)² · H_kk: the diagonal of the least-squares problem, about. */
  curvatures(h: Float32Array, rowWeights: Float32Array | undefined, out: Float64Array): void;
  /** change = Σ_p direction_p · ∂ŵ/∂p. */
  spread(direction: Float64Array, change: Float32Array): void;
  /** Adds to the parameters and rounds them to fp16. */
  move(step: Float64Array): void;
  decode(out: Float32Array): void;
  result(order: Int32Array): Coded;
}

class PaletteCoding implements Coding {
  readonly parameters: Float32Array; // (tables, entries)
  readonly together: number;
  private readonly nearest: PaletteWeight;
  private readonly columns: number;
  private readonly codes: Uint8Array; // (rows, columns)
  /** By table: entries in ascending order, and halfway between them. */
  private readonly ascending: Uint8Array; // (tables, entries)
  private readonly limits: Float64Array; // (tables, entries)

  constructor(nearest: PaletteWeight) {
    this.nearest = nearest;
    this.columns = nearest.shape[1] as number;
    this.parameters = nearest.tables.slice();
    this.together = 2 ** nearest.bits;
    this.codes = new Uint8Array(nearest.indices.length);
    this.ascending = new Uint8Array(this.parameters.length);
    this.limits = new Float64Array(this.parameters.length);
    this.sort();
  }

  private sort(): void {
    const { parameters, together, ascending, limits } = this;
    for (let from = 0; from < parameters.length; from += together) {
      const value = (e: number): number => parameters[from + e] as number;
      const order = Array.from({ length: together }, (_, e) => e).sort((a, b) => value(a) - value(b) || a - b);
      ascending.set(order, from);
      for (let e = 0; e + 1 < together; e++)
        limits[from + e] = (value(order[e] as number) + value(order[e + 1] as number)) / 2;
    }
  }

  put(row: number, column: number, value: number): number {
    const { together, limits } = this;
    const table = Math.floor(row / this.nearest.rowsPerTable) * together;
    let low = 0;
    let high = together - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((limits[table + middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    const entry = this.ascending[table + low] as number;
    this.codes[row * this.columns + column] = entry;
    return this.parameters[table + entry] as number;
  }

  /** Calls with the first code and the first entry of every table. */
  private eachTable(visit: (from: number, to: number, table: number) => void): void {
    const size = this.nearest.rowsPerTable * this.columns;
    for (let from = 0, table = 0; from < this.codes.length; from += size, table += this.together)
      visit(from, from + size, table);
  }

  gather(residual: Float32Array, out: Float64Array): void {
    const { codes } = this;
    this.eachTable((from, to, table) => {
      for (let i = from; i < to; i++) {
        const p = table + (codes[i] as number);
        out[p] = (out[p] as number) + (residual[i] as number);
      }
    });
  }

  curvatures(h: Float32Array, rowWeights: Float32Array | undefined, out: Float64Array): void {
    const { codes, columns: n } = this;
    this.eachTable((from, to, table) => {
      for (let i = from; i < to; i += n) {
        const weight = rowWeights ? (rowWeights[i / n] as number) : 1;
        for (let c = 0; c < n; c++) {
          const p = table + (codes[i + c] as number);
          out[p] = (out[p] as number) + weight * (h[c * n + c] as number);
        }
      }
    });
  }

  spread(direction: Float64Array, change: Float32Array): void {
    const { codes } = this;
    this.eachTable((from, to, table) => {
      for (let i = from; i < to; i++) change[i] = direction[table + (codes[i] as number)] as number;
    });
  }

  move(step: Float64Array): void {
    const { parameters } = this;
    for (let p = 0; p < step.length; p++)
      parameters[p] = roundToFloat16((parameters[p] as number) + (step[p] as number));
    this.sort();
  }

  decode(out: Float32Array): void {
    this.spread(Float64Array.from(this.parameters), out);
  }

  result(order: Int32Array): PaletteWeight {
    const { columns, codes, parameters, together, ascending } = this;
    const place = new Uint8Array(parameters.length);
    const tables = new Float32Array(parameters.length);
    for (let table = 0; table < parameters.length; table += together) {
      for (let e = 0; e < together; e++) {
        const entry = ascending[table + e] as number;
        place[table + entry] = e;
        tables[table + e] = parameters[table + entry] as number;
      }
    }
    const indices = new Uint8Array(codes.length);
    this.eachTable((from, to, table) => {
      for (let i = from; i < to; i += columns) {
        for (let c = 0; c < columns; c++)
          indices[i + (order[c] as number)] = place[table + (codes[i + c] as number)] as number;
      }
    });
    return { ...this.nearest, indices, tables };
  }
}

class AffineCoding implements Coding {
  readonly parameters: Float32Array; // scaleShape
  readonly together: number;
  private readonly nearest: AffineWeight;
  private readonly columns: number;
  private readonly codes: Int8Array; // (rows, columns)
  private readonly rowsPerScale: number;
  /** The group of an ordered column. */
  private readonly group: Int32Array; // (columns)

  constructor(nearest: AffineWeight, order: Int32Array) {
    const [rows, columns] = nearest.shape as [number, number];
    const [scaleRows, groups] = nearest.scaleShape as [number, number];
    this.nearest = nearest;
    this.columns = columns;
    this.parameters = nearest.scales.slice();
    this.together = groups;
    this.codes = new Int8Array(nearest.codes.length);
    this.rowsPerScale = rows / scaleRows;
    this.group = order.map((c) => Math.floor(c / (columns / groups)));
  }

  private offsetOf(p: number): number {
    const { offsets } = this.nearest;
    return offsets ? (offsets[p] as number) : 0;
  }

  put(row: number, column: number, value: number): number {
    const p = Math.floor(row / this.rowsPerScale) * this.together + (this.group[column] as number);
    const scale = this.parameters[p] as number;
    const half = 2 ** (this.nearest.bits - 1);
    const offset = this.offsetOf(p);
    const code = Math.min(half - 1, Math.max(-half, Math.round(value / scale) + offset));
    this.codes[row * this.columns + column] = code;
    return scale * (code - offset);
  }

  /** Calls with every place, its scale, and its code minus the offset. */
  private eachCode(visit: (place: number, p: number, code: number) => void): void {
    const { codes, columns, group } = this;
    for (let r = 0, i = 0; i < codes.length; r++) {
      const first = Math.floor(r / this.rowsPerScale) * this.together;
      for (let c = 0; c < columns; c++, i++) {
        const p = first + (group[c] as number);
        visit(i, p, (codes[i] as number) - this.offsetOf(p));
      }
    }
  }

  gather(residual: Float32Array, out: Float64Array): void {
    this.eachCode((i, p, code) => {
      out[p] = (out[p] as number) + code * (residual[i] as number);
    });
  }

  curvatures(h: Float32Array, rowWeights: Float32Array | undefined, out: Float64Array): void {
    const n = this.columns;
    this.eachCode((i, p, code) => {
      const weight = rowWeights ? (rowWeights[Math.floor(i / n)] as number) : 1;
      out[p] = (out[p] as number) + weight * code * code * (h[(i % n) * (n + 1)] as number);
    });
  }

  spread(direction: Float64Array, change: Float32Array): void {
    this.eachCode((i, p, code) => {
      change[i] = code * (direction[p] as number);
    });
  }

  move(step: Float64Array): void {
    const { parameters } = this;
    for (let p = 0; p < step.length; p++) {
      // A scale that would vanish or change sign is kept: its codes are about to be chosen again.
      const moved = roundToFloat16((parameters[p] as number) + (step[p] as number));
      if (moved > (parameters[p] as number) / 4) parameters[p] = moved;
    }
  }

  decode(out: Float32Array): void {
    this.spread(Float64Array.from(this.parameters), out);
  }

  result(order: Int32Array): AffineWeight {
    const { codes, columns } = this;
    const found = new Int8Array(codes.length);
    for (let i = 0; i < codes.length; i += columns) {
      for (let c = 0; c < columns; c++) found[i + (order[c] as number)] = codes[i + c] as number;
    }
    return { ...this.nearest, codes: found, scales: this.parameters };
  }
}
