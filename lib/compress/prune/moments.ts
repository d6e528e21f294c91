/**
 * @file Sums of products over positions, on an engine: Σ w_t x_t x_tᵀ and Σ w_t x_t r_tᵀ.
 *
 * Products of a batch are made in one piece; sums over batches are kept in double precision.
 */
import { f32At, f64At, named } from "../../elements.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { Builder } from "../../mil/builder.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { fp32 } from "../../mil/types.ts";

export class MomentSums {
  private readonly engine: Engine;
  private readonly compiled = new Map<string, Executable>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Adds Σ_t w_t x_t r_tᵀ (columns of x, columns of r) to `sum`, or to a new array without one.
   * `weights` (rows). */
  async add(sum: Float64Array | null, x: Tensor, r: Tensor, weights: Float32Array): Promise<Float64Array> {
    const rows = weights.length;
    const [columns, others] = [x.data.length / rows, r.data.length / rows];
    const key = `${rows} ${columns} ${others}`;
    const exe = this.compiled.get(key) ?? (await this.engine.compile(momentProgram(rows, columns, others)));
    this.compiled.set(key, exe);
    const out = await exe.run({
      x: f32([rows, columns], float32Data(x)),
      r: f32([rows, others], float32Data(r)),
      weights: f32([rows, 1], weights),
    });
    const found = float32Data(named(out, "moment"));
    const total = sum ?? new Float64Array(columns * others);
    for (let i = 0; i < total.length; i++) total[i] = f64At(total, i) + f32At(found, i);
    return total;
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await exe.dispose();
  }
}

function momentProgram(rows: number, columns: number, others: number) {
  const b = new Builder("moment");
  const x = b.mul(b.input("x", fp32(rows, columns)), b.input("weights", fp32(rows, 1)));
  return b.build({ moment: b.matmul(x, b.input("r", fp32(rows, others)), { transposeX: true }) });
}
