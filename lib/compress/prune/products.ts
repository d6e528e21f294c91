/**
 * @file Products and inverses of large matrices on an engine, in single precision.
 *
 * The inverse of a symmetric positive definite matrix by halves: with A = [P Qᵀ; Q R] and S = R − Q P⁻¹ Qᵀ,
 *
 *   A⁻¹ = [P⁻¹ + P⁻¹ Qᵀ S⁻¹ Q P⁻¹   −P⁻¹ Qᵀ S⁻¹;   −S⁻¹ Q P⁻¹   S⁻¹]
 *
 * and small ones by Cholesky in double precision. The caller scales the diagonal to about 1 and
 * damps it.
 */
import { f32At, named } from "../../elements.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { EspalierError } from "../../errors.ts";
import { Builder } from "../../mil/builder.ts";
import { f32, float32Data } from "../../mil/tensor.ts";
import { fp32 } from "../../mil/types.ts";
import { cholesky, inverseOfCholesky } from "../../stats/cholesky.ts";

const SMALL = 192;

export class Products {
  private readonly engine: Engine;
  private readonly compiled = new Map<string, Executable>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** x (rows, inner) · y (inner, columns). */
  async product(x: Float32Array, y: Float32Array, rows: number, inner: number, columns: number): Promise<Float32Array> {
    const key = `${rows} ${inner} ${columns}`;
    const exe = this.compiled.get(key) ?? (await this.engine.compile(productProgram(rows, inner, columns)));
    this.compiled.set(key, exe);
    const out = await exe.run({ x: f32([rows, inner], x), y: f32([inner, columns], y) });
    return float32Data(named(out, "product"));
  }

  /** Throws `numeric/non-finite` when `a` (n, n) is not positive definite. */
  async inverse(a: Float32Array, n: number): Promise<Float32Array> {
    if (n <= SMALL) {
      const l = cholesky(Float64Array.from(a), n);
      if (!l) throw new EspalierError("numeric/non-finite", "the moments of inputs are not positive definite");
      return Float32Array.from(inverseOfCholesky(l, n));
    }
    const h = n >> 1;
    const t = n - h;
    const p = await this.inverse(part(a, n, 0, h, 0, h), h);
    const q = part(a, n, h, n, 0, h);
    const qp = await this.product(q, p, t, h, h);
    const s = part(a, n, h, n, h, n);
    subtract(s, await this.product(qp, transposed(q, t, h), t, h, t));
    const si = await this.inverse(s, t);
    const sqp = await this.product(si, qp, t, t, h);
    const added = await this.product(transposed(qp, t, h), sqp, h, t, h);
    const out = new Float32Array(n * n);
    for (let r = 0; r < h; r++)
      for (let c = 0; c < h; c++) out[r * n + c] = f32At(p, r * h + c) + f32At(added, r * h + c);
    for (let r = 0; r < t; r++) {
      for (let c = 0; c < h; c++) {
        out[(h + r) * n + c] = -f32At(sqp, r * h + c);
        out[c * n + h + r] = -f32At(sqp, r * h + c);
      }
      for (let c = 0; c < t; c++) out[(h + r) * n + h + c] = f32At(si, r * t + c);
    }
    return out;
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await exe.dispose();
  }
}

function part(a: Float32Array, n: number, r0: number, r1: number, c0: number, c1: number): Float32Array {
  const out = new Float32Array((r1 - r0) * (c1 - c0));
  for (let r = r0; r < r1; r++) out.set(a.subarray(r * n + c0, r * n + c1), (r - r0) * (c1 - c0));
  return out;
}

export function transposed(a: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(a.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = f32At(a, r * columns + c);
  return out;
}

function subtract(a: Float32Array, b: Float32Array): void {
  for (let i = 0; i < a.length; i++) a[i] = f32At(a, i) - f32At(b, i);
}

function productProgram(rows: number, inner: number, columns: number) {
  const b = new Builder("product");
  return b.build({ product: b.matmul(b.input("x", fp32(rows, inner)), b.input("y", fp32(inner, columns))) });
}
