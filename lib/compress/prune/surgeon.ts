/**
 * @file The order in which to remove inputs of a matrix, and the loss when the remaining ones
 * compensate as well as they can.
 *
 * References: Hassibi and Stork, "Optimal Brain Surgeon" (1993); Kurtić et al., "ZipLM" (2023) and Ling et al., "SlimGPT" (2024)
 * for groups of columns. With H = E[x xᵀ] of the inputs and F = E[g gᵀ] of the gradients at the
 * outputs, removing the columns B of W and solving for the others loses, to second order, in nats
 * per token
 *
 *   ½ tr(F W_B ((H⁻¹)_BB)⁻¹ W_Bᵀ),   W ← W − W_B ((H⁻¹)_BB)⁻¹ (H⁻¹)_B:,   H⁻¹ ← H⁻¹ − (H⁻¹)_:B ((H⁻¹)_BB)⁻¹ (H⁻¹)_B:
 *
 * F acts only through its factor: with F = R Rᵀ, the rows of Rᵀ W replace those of W. H is damped
 * by a share of its own diagonal, so that a few large inputs do not set the damping of the others.
 * Not included: interactions with inputs of other matrices.
 */
import { f32At, f64At, i32At, numberAt, under } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { cholesky, solveCholesky } from "../../stats/cholesky.ts";
import { type Products, transposed } from "./products.ts";

/** The share of the diagonal that is added to it. */
export const DAMPING = 0.05;

/** A matrix from which blocks of columns are removed. */
export class Surgeon {
  private readonly products: Products;
  private readonly outputs: number;
  /** Remaining columns, in the order of the arrays. */
  private left: number[];
  private inverse: Float32Array; // H⁻¹ (left, left)
  private weights: Float32Array; // Rᵀ W by column (left, outputs)

  private constructor(products: Products, outputs: number, inverse: Float32Array, weights: Float32Array) {
    this.products = products;
    this.outputs = outputs;
    this.inverse = inverse;
    this.weights = weights;
    this.left = Array.from({ length: weights.length / outputs }, (_, c) => c);
  }

  /** `inputs` H (n, n), `matrix` W (outputs, n), `gradients` F (outputs, outputs). */
  static async create(
    products: Products,
    inputs: Float64Array,
    matrix: Float32Array,
    gradients: Float64Array,
    damping = DAMPING,
  ): Promise<Surgeon> {
    const n = Math.sqrt(inputs.length);
    const outputs = matrix.length / n;
    // Inputs scaled to unit size: H becomes D⁻¹ H D⁻¹ and W becomes W D, which changes no loss.
    const size = inputSizes(inputs, n);
    const h = new Float32Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) h[i * n + j] = f64At(inputs, i * n + j) / (f64At(size, i) * f64At(size, j));
      h[i * n + i] = f32At(h, i * n + i) + damping;
    }
    const scaled = matrix.map((w, i) => w * f64At(size, i % n));
    const root = transposed(rootOf(gradients, outputs), outputs, outputs);
    const weighted = await products.product(root, scaled, outputs, outputs, n);
    return new Surgeon(products, outputs, await products.inverse(h, n), transposed(weighted, outputs, n));
  }

  /** Remaining columns, and the loss from removing each alone. */
  columnLosses(): { column: number; loss: number }[] {
    const n = this.left.length;
    return this.left.map((column, i) => {
      let sum = 0;
      for (let o = i * this.outputs; o < (i + 1) * this.outputs; o++) sum += f32At(this.weights, o) ** 2;
      return { column, loss: sum / 2 / f32At(this.inverse, i * n + i) };
    });
  }

  /** The loss from removing columns together. */
  loss(columns: readonly number[]): number {
    return this.solved(columns).loss;
  }

  /** Removes columns and returns the loss. */
  async remove(columns: readonly number[]): Promise<number> {
    const { loss, rows, solved, factor } = this.solved(columns);
    const { outputs } = this;
    const [k, n] = [rows.length, this.left.length];
    const gone = new Set(rows);
    const stay = Int32Array.from(this.left.keys()).filter((i) => !gone.has(i));
    const m = stay.length;
    // (H⁻¹)_BS and ((H⁻¹)_BB)⁻¹ (H⁻¹)_BS.
    const across = new Float64Array(k * m);
    for (let i = 0; i < k; i++) {
      const r = numberAt(rows, i) * n;
      for (let j = 0; j < m; j++) across[i * m + j] = f32At(this.inverse, r + i32At(stay, j));
    }
    const solvedAcross = across.slice();
    solveCholesky(factor, k, solvedAcross, m);
    const down = transposed(Float32Array.from(across), k, m);
    const [inverse, weights] = [
      await this.products.product(down, Float32Array.from(solvedAcross), m, k, m),
      await this.products.product(down, Float32Array.from(solved), m, k, outputs),
    ];
    for (let i = 0; i < m; i++) {
      const r = i32At(stay, i);
      for (let j = 0; j < m; j++)
        inverse[i * m + j] = f32At(this.inverse, r * n + i32At(stay, j)) - f32At(inverse, i * m + j);
      for (let o = 0; o < outputs; o++)
        weights[i * outputs + o] = f32At(this.weights, r * outputs + o) - f32At(weights, i * outputs + o);
    }
    this.inverse = inverse;
    this.weights = weights;
    this.left = Array.from(stay, (i) => numberAt(this.left, i));
    return loss;
  }

  /** ((H⁻¹)_BB)⁻¹ W_Bᵀ (k, outputs), and half the trace of its product with W_B. */
  private solved(columns: readonly number[]): {
    loss: number;
    rows: number[];
    solved: Float64Array;
    factor: Float64Array;
  } {
    const n = this.left.length;
    const place = new Map(this.left.map((c, i) => [c, i]));
    const rows = columns.map((c) => under(place, c));
    const k = rows.length;
    const block = new Float64Array(k * k);
    for (const [i, a] of rows.entries())
      for (const [j, z] of rows.entries()) block[i * k + j] = f32At(this.inverse, a * n + z);
    const factor = cholesky(block, k);
    if (!factor)
      throw new EspalierError("numeric/non-finite", "the inverse of the inputs' moments is not positive definite");
    const own = new Float64Array(k * this.outputs);
    for (const [i, a] of rows.entries())
      own.set(this.weights.subarray(a * this.outputs, (a + 1) * this.outputs), i * this.outputs);
    const solved = own.slice();
    solveCholesky(factor, k, solved, this.outputs);
    return { loss: own.reduce((t, v, i) => t + v * f64At(solved, i), 0) / 2, rows, solved, factor };
  }
}

/** √H_ii; an input that is always 0 counts as 1. */
export function inputSizes(inputs: Float64Array, n: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => Math.sqrt(f64At(inputs, i * n + i)) || 1);
}

/** R with F ≈ R Rᵀ (n, n); F is damped a little, because the gradients of few positions do not span
 * the stream. */
function rootOf(gradients: Float64Array, n: number): Float32Array {
  let mean = 0;
  for (let i = 0; i < n; i++) mean += f64At(gradients, i * n + i) / n;
  for (let share = 1e-6; share <= 1; share *= 10) {
    const damped = gradients.slice();
    for (let i = 0; i < n; i++) damped[i * n + i] = f64At(damped, i * n + i) + share * (mean || 1);
    const l = cholesky(damped, n);
    if (l) return Float32Array.from(l);
  }
  throw new EspalierError("numeric/non-finite", "the moments of gradients are not finite");
}
