/**
 * @file The weights of a decoder as constants of a function in the Neural Engine layout.
 *
 * Matrices become (out, in, 1, 1) kernels, gains (1, C, 1, 1) or (1, 1, 1, D) with Gemma's 1 + w folded in. Codes, scales
 * and tables stay what they were, so a package has the numbers that were evaluated. Every function of a package asks
 * the same source, which keeps one copy of each.
 */
import { weightConstant } from "../../compress/constants.ts";
import type { CompressedWeight } from "../../compress/weight.ts";
import { asPointwise, rowsOf, timesPowerOfTwo } from "../../compress/weight-views.ts";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import type { Builder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { f32, type Tensor, tensor } from "../../mil/tensor.ts";
import type { FloatDType } from "../../mil/types.ts";
import { FLOAT16_MAX } from "./scaling.ts";

/** Weights by flat name; shared by all functions of a package. */
export class LayoutWeights {
  private readonly weights: ReadonlyMap<string, CompressedWeight>;
  private readonly dtype: FloatDType;
  private readonly normOffset: number;
  private readonly views = new Map<string, CompressedWeight>();
  private readonly gains = new Map<string, Tensor>();

  constructor(weights: ReadonlyMap<string, CompressedWeight>, dtype: FloatDType, normOffset: number) {
    this.weights = weights;
    this.dtype = dtype;
    this.normOffset = normOffset;
  }

  /** `factor` · the matrix, (out, in, 1, 1). The factor is a power of two. */
  pointwise(b: Builder, name: string, factor = 1): Value {
    return this.constant(b, name, `pointwise ${factor}`, (w) => asPointwise(timesPowerOfTwo(w, factor)));
  }

  /** The rows `from` … `to` − 1 of a matrix as a kernel, times a power of two. */
  pointwiseRows(b: Builder, name: string, label: string, from: number, to: number, factor = 1): Value {
    const view = (w: CompressedWeight): CompressedWeight => asPointwise(timesPowerOfTwo(rowsOf(w, from, to), factor));
    return this.constant(b, name, `rows ${from} ${to} ${factor}`, view, label);
  }

  /** The matrix as it is, (rows, columns). */
  table(b: Builder, name: string): Value {
    return this.constant(b, name, "table", (w) => w);
  }

  /** The value of a weight that is a single number. */
  scalar(name: string): number {
    const w = this.find(name);
    if (w.kind !== "dense") throw new EspalierError("export/unsupported", `the number ${name} is ${w.kind}`);
    return w.values[0] as number;
  }

  /** `factor` · (offset + gain) in `shape`, rounded once. */
  gain(b: Builder, name: string, shape: readonly number[], factor = 1): Value {
    const key = `${name} ${factor}`;
    let values = this.gains.get(key);
    if (!values) {
      const w = this.find(name);
      if (w.kind !== "dense") throw new EspalierError("export/unsupported", `the norm gain ${name} is ${w.kind}`);
      const folded = w.values.map((v) => (v + this.normOffset) * factor);
      if (this.dtype === "fp16" && folded.some((v) => Math.abs(v) > FLOAT16_MAX))
        throw new EspalierError("export/unsupported", `the norm gain ${name} is beyond fp16's largest number`);
      values = this.dtype === "fp16" ? tensor("fp16", shape, float16FromFloat32(folded)) : f32(shape, folded);
      this.gains.set(key, values);
    }
    const found = values;
    return b.outside(() => b.constant(found, name));
  }

  private constant(
    b: Builder,
    name: string,
    key: string,
    view: (w: CompressedWeight) => CompressedWeight,
    label = name,
  ): Value {
    const full = `${name} ${key}`;
    let w = this.views.get(full);
    if (!w) {
      w = view(this.find(name));
      this.views.set(full, w);
    }
    const found = w;
    return b.outside(() => weightConstant(b, label, found, this.dtype));
  }

  private find(name: string): CompressedWeight {
    const w = this.weights.get(name);
    if (!w) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
    return w;
  }
}
