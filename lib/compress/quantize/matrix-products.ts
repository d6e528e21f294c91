/**
 * @file Matrix products on an engine, compiled once per shape, some rows at a time.
 *
 * Not included: products of fp16 or of more than two axes.
 */
import { named } from "../../elements.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { Builder } from "../../mil/builder.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { fp32 } from "../../mil/types.ts";

/** a (rows, inner) · b (inner, columns) → (rows, columns). */
export type MatrixProduct = (a: Float32Array, b: Float32Array, inner: number, columns: number) => Promise<Float32Array>;

/** Rows of a product done at once; its time is that of one step. */
const MOST_ROWS = 4096;

export class MatrixProducts {
  private readonly engine: Engine;
  private readonly compiled = new Map<string, Promise<Executable>>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  readonly product: MatrixProduct = async (a, b, inner, columns) => {
    const rows = a.length / inner;
    const right = f32([inner, columns], b);
    if (rows <= MOST_ROWS) return this.run("product", f32([rows, inner], a), right, false);
    const out = new Float32Array(rows * columns);
    for (let from = 0; from < rows; from += MOST_ROWS) {
      const count = Math.min(MOST_ROWS, rows - from);
      const part = f32([count, inner], a.subarray(from * inner, (from + count) * inner));
      out.set(await this.run("product", part, right, false), from * columns);
    }
    return out;
  };

  /** aᵀ b: a (rows, p), b (rows, q) → (p, q). */
  transposed(a: Tensor, b: Tensor): Promise<Float32Array> {
    return this.run("transposed", a, b, true);
  }

  private async run(name: string, a: Tensor, b: Tensor, transposeX: boolean): Promise<Float32Array> {
    const key = `${name} ${a.shape.join("x")} ${b.shape.join("x")}`;
    let exe = this.compiled.get(key);
    if (!exe) {
      const builder = new Builder(name);
      const [x, y] = [builder.input("a", fp32(...a.shape)), builder.input("b", fp32(...b.shape))];
      exe = this.engine.compile(builder.build({ y: builder.matmul(x, y, { transposeX }) }));
      this.compiled.set(key, exe);
    }
    return float32Data(named(await (await exe).run({ a, b }), "y"));
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await (await exe).dispose();
    this.compiled.clear();
  }
}
