/**
 * @file A compressed weight as constants of a MIL program: its unchanged codes, scales and tables,
 * as constexpr ops.
 *
 * Reference: Core ML's iOS 18 `constexpr_*` operations. The tensors of a weight are made once and shared by every function
 * that holds it, so they are written once. A scaled palette is written down as palette · scale; `scaleOutputs`
 * (lib/mil/passes) then moves the scale behind the operation that reads the weight.
 */
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import type { Builder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { DeferredTensor, type Tensor, type TensorData, tensor } from "../mil/tensor.ts";
import type { FloatDType } from "../mil/types.ts";
import { formOf, formParts, type PartName, partData } from "./form.ts";
import type { CompressedWeight, DeferredWeight, WeightForm } from "./weight.ts";

export interface WeightTensors {
  readonly form: WeightForm;
  readonly parts: ReadonlyMap<PartName, Tensor>;
}

/** The tensors of a weight; those of a deferred one are deferred too. */
export function weightTensors(weight: CompressedWeight | DeferredWeight): WeightTensors {
  if (weight.kind === "deferred") {
    const { form } = weight;
    const split = new PieceSplitter(weight);
    const parts = formParts(form).map(
      ({ name, dtype, shape }) => [name, new DeferredTensor(dtype, shape, () => split.pieces(name))] as const,
    );
    return { form, parts: new Map(parts) };
  }
  const form = formOf(weight);
  const parts = formParts(form).map(({ name, dtype, shape }) => {
    const data = partData(weight, name);
    if (!data) throw new EspalierError("format/malformed", `a ${weight.kind} weight has no ${name}`);
    return [name, tensor(dtype, shape, data)] as const;
  });
  return { form, parts: new Map(parts) };
}

/**
 * One pass over a deferred weight gives all its parts, but a file takes them one after the other: the part asked for first
 * streams through, the others are kept until they are asked for. A part asked for again costs another pass.
 */
class PieceSplitter {
  private readonly weight: DeferredWeight;
  private kept = new Map<PartName, TensorData[]>();

  constructor(weight: DeferredWeight) {
    this.weight = weight;
  }

  async *pieces(wanted: PartName): AsyncGenerator<TensorData> {
    const kept = this.kept.get(wanted);
    if (kept) {
      this.kept.delete(wanted);
      yield* kept;
      return;
    }
    const others = formParts(this.weight.form).filter((p) => p.name !== wanted);
    const found = new Map<PartName, TensorData[]>(others.map((p) => [p.name, []]));
    for await (const piece of this.weight.pieces()) {
      for (const { name } of others) {
        const data = partData(piece, name);
        if (data) found.get(name)?.push(data.slice());
      }
      const data = partData(piece, wanted);
      if (data) yield data;
    }
    this.kept = found;
  }
}

/**
 * The value of `weight` in a program whose floats are `dtype`, which a dense weight in memory takes. Throws
 * `export/unsupported` for fp32 with codes.
 */
export function weightConstant(
  b: Builder,
  name: string,
  weight: CompressedWeight | DeferredWeight | WeightTensors,
  dtype: FloatDType,
): Value {
  const whole = "kind" in weight && weight.kind === "dense" ? { ...weight, dtype } : weight;
  const { form, parts } = "parts" in whole ? whole : weightTensors(whole);
  if (form.kind === "dense" && form.dtype !== dtype)
    throw new EspalierError("export/unsupported", `${name} is ${form.dtype}, the program ${dtype}`, {
      hint: "Convert the weight, or build the program in its type.",
    });
  if (form.kind !== "dense" && dtype === "fp32") {
    throw new EspalierError(
      "export/unsupported",
      `${name} is a ${form.kind} weight, which an fp32 program cannot hold`,
      {
        hint: "Build the program in fp16.",
      },
    );
  }
  const constant = (part: PartName, label: string): Value => {
    const t = parts.get(part);
    if (!t) throw new EspalierError("internal/invariant", `internal: ${name} has no ${part}`);
    return b.constant(t, label);
  };
  const decoded = (type: string, inputs: Record<string, Value>): Value => itemAt(b.op(type, inputs, {}, name), 0);
  if (form.kind === "dense") return constant("values", name);
  if (form.kind === "affine") {
    const data = constant("codes", `${name}_codes`);
    const scale = constant("scales", `${name}_scale`);
    const offset = form.offsets ? { offset: constant("offsets", `${name}_offset`) } : {};
    return decoded("constexpr_blockwise_shift_scale", { data, scale, ...offset });
  }
  if (form.kind === "sparse") {
    const mask = constant("mask", `${name}_mask`);
    return decoded("constexpr_sparse_to_dense", { nonzero_data: constant("nonzeros", `${name}_nonzeros`), mask });
  }
  const indices = constant("indices", `${name}_indices`);
  const palette = decoded("constexpr_lut_to_dense", { indices, lut: constant("tables", `${name}_table`) });
  if (form.kind === "palette") return palette;
  return b.mul(palette, constant("rowScales", `${name}_row_scale`));
}
