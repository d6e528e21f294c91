/**
 * @file The weights of a decoder as constants of a function in the Neural Engine layout.
 *
 * Matrices become (out, in, 1, 1) kernels, gains (1, C, 1, 1) or (1, 1, 1, D) with Gemma's 1 + w
 * folded in. Codes, scales and tables do not change, so a package holds the numbers that were
 * evaluated. All functions of a package share one source, which keeps one copy of each weight.
 */

import { f32At, numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import type { Builder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { withShape } from "../../mil/tensor.ts";
import type { FloatDType } from "../../mil/types.ts";
import { formParts } from "../../weights/form.ts";
import type { CompressedWeight, DeferredWeight, RowRange } from "../../weights/weight.ts";
import { type WeightTensors, weightConstant, weightTensors } from "../../weights/weight-constants.ts";
import { pointwiseForm, rowsOf, timesPowerOfTwo } from "../../weights/weight-views.ts";
import { FLOAT16_MAX } from "./scaling.ts";

/** What a gain or a bias becomes: factor · (offset + v). */
interface VectorChange {
  readonly factor: number;
  readonly offset: number;
}

/** Weights by flat name; shared by all functions of a package. */
export class LayoutWeights {
  private readonly weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>;
  private readonly dtype: FloatDType;
  private readonly normOffset: number;
  private readonly views = new Map<string, WeightTensors>();
  private readonly kernels = new Map<WeightTensors, WeightTensors>();

  constructor(weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>, dtype: FloatDType, normOffset: number) {
    this.weights = weights;
    this.dtype = dtype;
    this.normOffset = normOffset;
  }

  /** `factor` · the matrix, (out, in, 1, 1). The factor is a power of two. */
  pointwise(b: Builder, name: string, factor = 1): Value {
    return this.constant(b, name, this.matrix(name, factor), true);
  }

  /** The rows `from` … `to` − 1 of a matrix as a kernel, times a power of two. */
  pointwiseRows(b: Builder, name: string, label: string, from: number, to: number, factor = 1): Value {
    return this.constant(b, label, this.matrix(name, factor, { from, to }), true);
  }

  /** The unchanged matrix, (rows, columns). */
  table(b: Builder, name: string): Value {
    return this.constant(b, name, this.matrix(name), false);
  }

  /** The value of a weight that is a single number. */
  scalar(name: string): number {
    const w = this.find(name);
    if (w.kind !== "dense") throw new EspalierError("export/unsupported", `the number ${name} is ${w.kind}`);
    return f32At(w.values, 0);
  }

  /** `factor` · a bias, (out), rounded once. */
  bias(b: Builder, name: string, factor = 1): Value {
    const w = this.find(name);
    return this.vector(b, name, w.kind === "deferred" ? w.form.shape : w.shape, { factor, offset: 0 });
  }

  /** `factor` · (offset + gain) in `shape`, rounded once. */
  gain(b: Builder, name: string, shape: readonly number[], factor = 1): Value {
    return this.vector(b, name, shape, { factor, offset: this.normOffset });
  }

  private vector(b: Builder, name: string, shape: readonly number[], change: VectorChange): Value {
    const key = `${name} vector ${change.factor}`;
    let tensors = this.views.get(key);
    if (!tensors) {
      tensors = weightTensors(this.folded(name, shape, change));
      this.views.set(key, tensors);
    }
    const found = tensors;
    return b.outside(() => weightConstant(b, name, found, this.dtype));
  }

  private folded(
    name: string,
    shape: readonly number[],
    { factor, offset }: VectorChange,
  ): CompressedWeight | DeferredWeight {
    const { dtype } = this;
    const fold = (piece: CompressedWeight): CompressedWeight => {
      if (piece.kind !== "dense") throw new EspalierError("export/unsupported", `the vector ${name} is ${piece.kind}`);
      const values = piece.values.map((v) => (v + offset) * factor);
      if (dtype === "fp16" && values.some((v) => Math.abs(v) > FLOAT16_MAX))
        throw new EspalierError("export/unsupported", `the vector ${name} is beyond fp16's largest number`);
      return { kind: "dense", dtype, shape, values };
    };
    const w = this.find(name);
    if (w.kind !== "deferred") return fold(w);
    return {
      kind: "deferred",
      form: { kind: "dense", dtype, shape },
      async *pieces(rows) {
        for await (const piece of w.pieces(rows)) yield fold(piece);
      },
    };
  }

  /** The tensors of a matrix or some of its rows, made once: a table and a kernel of it are the same bytes. */
  private matrix(name: string, factor = 1, rows?: RowRange): WeightTensors {
    const whole = this.find(name);
    const count = numberAt(whole.kind === "deferred" ? whole.form.shape : whole.shape, 0);
    const part = rows && rows.to - rows.from < count ? rows : null;
    const key = `${name} ${factor} ${part ? `${part.from} ${part.to}` : ""}`;
    let tensors = this.views.get(key);
    if (!tensors) {
      const seen = timesPowerOfTwo(part ? rowsOf(whole, part.from, part.to) : whole, factor);
      tensors = weightTensors(seen.kind === "dense" ? { ...seen, dtype: this.dtype } : seen);
      this.views.set(key, tensors);
    }
    return tensors;
  }

  private constant(b: Builder, label: string, tensors: WeightTensors, pointwise: boolean): Value {
    const found = pointwise ? this.kernel(tensors) : tensors;
    return b.outside(() => weightConstant(b, label, found, this.dtype));
  }

  /** The same data under the shapes of a kernel; functions get the same tensors. */
  private kernel(tensors: WeightTensors): WeightTensors {
    let made = this.kernels.get(tensors);
    if (!made) {
      const form = pointwiseForm(tensors.form);
      const parts = formParts(form).flatMap(({ name, shape }) => {
        const t = tensors.parts.get(name);
        return t ? [[name, withShape(t, shape)] as const] : [];
      });
      made = { form, parts: new Map(parts) };
      this.kernels.set(tensors, made);
    }
    return made;
  }

  private find(name: string): CompressedWeight | DeferredWeight {
    const w = this.weights.get(name);
    if (!w) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
    return w;
  }
}
