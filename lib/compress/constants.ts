/**
 * @file A compressed weight as constants of a MIL program: the very codes, scales and tables, as constexpr ops.
 *
 * Reference: Core ML's iOS 18 `constexpr_*` operations. Shapes for a (rows, columns) weight: affine scale
 * (rows, columns / group); palette table (rows / rowsPerTable, 1, 2^bits, 1).
 */
import { EspalierError } from "../errors.ts";
import { float16FromFloat32 } from "../float16.ts";
import type { Builder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { f32, tensor } from "../mil/tensor.ts";
import type { FloatDType } from "../mil/types.ts";
import type { CompressedWeight } from "./weight.ts";

/** The value of `weight` in a program whose floats are `dtype`. Throws `export/unsupported` for fp32 with codes. */
export function weightConstant(b: Builder, name: string, weight: CompressedWeight, dtype: FloatDType): Value {
  const half = (shape: readonly number[], values: Float32Array, label: string): Value =>
    b.constant(tensor("fp16", shape, float16FromFloat32(values)), label);
  if (weight.kind === "dense") {
    return dtype === "fp16"
      ? half(weight.shape, weight.values, name)
      : b.constant(f32(weight.shape, weight.values), name);
  }
  if (dtype === "fp32") {
    throw new EspalierError(
      "export/unsupported",
      `${name} is a ${weight.kind} weight, which an fp32 program cannot hold`,
      {
        hint: "Build the program in fp16.",
      },
    );
  }
  if (weight.kind === "affine") {
    const codes = weight.bits === 4 ? "int4" : "int8";
    const data = b.constant(tensor(codes, weight.shape, weight.codes), `${name}_codes`);
    const scale = half(weight.scaleShape, weight.scales, `${name}_scale`);
    const offset = weight.offsets
      ? { offset: b.constant(tensor(codes, weight.scaleShape, weight.offsets), `${name}_offset`) }
      : {};
    return b.op("constexpr_blockwise_shift_scale", { data, scale, ...offset }, {}, name)[0] as Value;
  }
  if (weight.kind === "palette") {
    const indices = b.constant(tensor(`uint${weight.bits}`, weight.shape, weight.indices), `${name}_indices`);
    const rows = weight.shape[0] as number;
    const rest = weight.shape.slice(1).map(() => 1);
    const lut = half([rows / weight.rowsPerTable, ...rest, 2 ** weight.bits, 1], weight.tables, `${name}_table`);
    return b.op("constexpr_lut_to_dense", { indices, lut }, {}, name)[0] as Value;
  }
  const mask = b.constant(tensor("uint1", weight.shape, weight.mask), `${name}_mask`);
  const nonzero = half([weight.nonzeros.length], weight.nonzeros, `${name}_nonzeros`);
  return b.op("constexpr_sparse_to_dense", { nonzero_data: nonzero, mask }, {}, name)[0] as Value;
}
