/**
 * @file The compressed constants of iOS 16 and 17, whose parts are attributes; programs here hold the form of iOS 18.
 *
 *   constexpr_affine_dequantize  quantized_data, scale and zero_point scalar or along `axis`   ↔ blockwise_shift_scale
 *   constexpr_lut_to_dense       indices as packed bytes, one table, shape                     ↔ lut_to_dense
 *   constexpr_sparse_to_dense    nonzero_data, mask as packed bytes, shape                     ↔ sparse_to_dense
 *   constexpr_cast               source_val, output_dtype
 *
 * `checkTarget` has refused what this form cannot say.
 */
import { numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { argumentsOf } from "../../mil/op.ts";
import type { Operation, ParamValue } from "../../mil/program.ts";
import { DeferredTensor, type Tensor, tensor, withShape, zeros } from "../../mil/tensor.ts";
import { elementCount, showType, tensorType } from "../../mil/types.ts";
import { type PackedBits, packedSizeBytes, unpackBits, unpackPieces } from "../bit-packing.ts";
import { bad, type ConstantReader, StoredTensor, uint32Values } from "./constant-reader.ts";
import { storedBytes, storedPieces, storedSizeBytes } from "./element-types.ts";
import type * as mil from "./generated/mil_pb.ts";
import { paramValue, uint32Vector } from "./protobuf-values.ts";

export const AFFINE = "constexpr_affine_dequantize";

/** Deferred tensors are remembered by what makes them, so a packed one must come from the same maker again. */
const packedMakers = new WeakMap<DeferredTensor["pieces"], DeferredTensor["pieces"]>();

/** Sub-byte elements as a vector of bytes. */
function packed(t: Tensor): Tensor {
  const shape = [storedSizeBytes(t.dtype, elementCount(t.shape))];
  if (!(t instanceof DeferredTensor)) return tensor("uint8", shape, storedBytes(t));
  let maker = packedMakers.get(t.pieces);
  if (!maker) {
    maker = () => storedPieces(t);
    packedMakers.set(t.pieces, maker);
  }
  return new DeferredTensor("uint8", shape, maker);
}

/** The attributes of a constexpr operation; `value` stores a tensor. */
export async function attributesOf(
  op: Operation,
  value: (t: Tensor) => Promise<mil.Value>,
): Promise<Record<string, mil.Value>> {
  const args = argumentsOf(op);
  const constant = (name: string): Tensor => {
    const data = args.value(name).producer?.constant;
    return data ?? args.fail(name, "a constant", "another compressed constant");
  };
  if (op.type === "constexpr_blockwise_shift_scale") {
    const scale = constant("scale");
    const axis = scale.shape.findIndex((d) => d > 1);
    const flat = (t: Tensor): Tensor => withShape(t, axis < 0 ? [] : [elementCount(t.shape)]);
    const data = constant("data");
    const zeroPoint = args.has("offset") ? flat(constant("offset")) : zeros({ dtype: data.dtype, shape: [] });
    return {
      quantized_data: await value(data),
      scale: await value(flat(scale)),
      zero_point: await value(zeroPoint),
      axis: paramValue(Math.max(0, axis), "int32"),
    };
  }
  if (op.type === "constexpr_lut_to_dense") {
    const indices = constant("indices");
    return {
      indices: await value(packed(indices)),
      lut: await value(withShape(constant("lut"), [elementCount(constant("lut").shape)])),
      shape: uint32Vector(indices.shape),
    };
  }
  if (op.type === "constexpr_sparse_to_dense") {
    const mask = constant("mask");
    return {
      mask: await value(packed(mask)),
      nonzero_data: await value(constant("nonzero_data")),
      shape: uint32Vector(mask.shape),
    };
  }
  if (op.type === "constexpr_cast")
    return { source_val: await value(constant("source_val")), output_dtype: paramValue("fp32", "int32") };
  throw new EspalierError("export/unsupported", `${op.type} ${op.name} has no form before iOS 18`, {
    hint: "Target iOS 18.",
  });
}

/** Attributes of each operation in that form, its name aside. */
export const formAttributes: ReadonlyMap<string, readonly string[]> = new Map([
  [AFFINE, ["quantized_data", "scale", "zero_point", "axis"]],
  ["constexpr_lut_to_dense", ["indices", "lut", "shape"]],
  ["constexpr_sparse_to_dense", ["nonzero_data", "mask", "shape"]],
  ["constexpr_cast", ["source_val", "output_dtype"]],
]);

/** The same constant in the form of iOS 18: operation, tensors, parameters. Throws `format/malformed`. */
export function readAttributeForm(
  op: mil.Operation,
  stored: ConstantReader,
  where: string,
): { type: string; inputs: Record<string, Tensor>; params: Record<string, ParamValue> } {
  const expected = formAttributes.get(op.type);
  if (!expected) throw new EspalierError("program/unsupported-op", `${where}: there is no ${op.type} before iOS 18`);
  for (const name of Object.keys(op.attributes))
    if (name !== "name" && !expected.includes(name)) throw bad(`${where} has the attribute ${name}`);
  /** Codes may stay in the file; tables, scales and masks are looked at here. */
  const attribute = (name: string, whole = true): Tensor => {
    const constant = stored.read(op.attributes[name], `${where}: ${name}`, whole);
    return constant.kind === "tensor" ? constant.tensor : fail(`${name} is a string`);
  };
  const fail = (what: string): never => {
    throw bad(`${where}: ${what}`);
  };
  const vector = (name: string, whole = true): Tensor => {
    const t = attribute(name, whole);
    return t.shape.length === 1 ? t : fail(`${name} has rank ${t.shape.length}, 1 was expected`);
  };
  const unpacked = (name: string, bits: PackedBits, shape: readonly number[], whole: boolean): Tensor => {
    const bytes = vector(name, whole);
    const count = elementCount(shape);
    if (bytes.dtype !== "uint8" || elementCount(bytes.shape) !== packedSizeBytes(count, bits))
      fail(`${name} is ${bytes.dtype}[${bytes.shape.join()}], ${count} elements of ${bits} bits are needed`);
    if (bytes instanceof DeferredTensor)
      return new DeferredTensor(`uint${bits}`, shape, () => unpackPieces(bytes.pieces(), bits, count));
    const packedBytes = (): Uint8Array => bytes.data as Uint8Array;
    const type = tensorType(`uint${bits}`, shape);
    return new StoredTensor(type, () => unpackBits(packedBytes(), bits, count, false), packedBytes);
  };
  if (op.type === "constexpr_lut_to_dense") {
    const lut = vector("lut");
    const bits = paletteBits.find((b) => 2 ** b === lut.shape[0]);
    if (bits === undefined) return fail(`a palette of ${lut.shape[0]} values`);
    const shape = uint32Values(op.attributes.shape, `${where}: shape`);
    const tables = [...shape.map(() => 1), 2 ** bits, 1];
    return {
      type: op.type,
      inputs: { indices: unpacked("indices", bits, shape, false), lut: withLazyShape(lut, tables) },
      params: {},
    };
  }
  if (op.type === "constexpr_sparse_to_dense") {
    const shape = uint32Values(op.attributes.shape, `${where}: shape`);
    return {
      type: op.type,
      inputs: { nonzero_data: vector("nonzero_data", false), mask: unpacked("mask", 1, shape, true) },
      params: {},
    };
  }
  if (op.type === "constexpr_cast")
    return { type: op.type, inputs: { source_val: attribute("source_val", false) }, params: { output_dtype: "fp32" } };
  const [data, scale, zeroPoint] = [attribute("quantized_data", false), attribute("scale"), attribute("zero_point")];
  const rank = data.shape.length;
  const axisData = attribute("axis");
  const axis = Number(axisData.data[0]) + (Number(axisData.data[0]) < 0 ? rank : 0);
  if (elementCount(axisData.shape) !== 1 || axis < 0 || axis >= rank) fail(`axis ${axisData.data[0]} of rank ${rank}`);
  const channels = numberAt(data.shape, axis);
  for (const [name, t] of [
    ["scale", scale],
    ["zero_point", zeroPoint],
  ] as const) {
    if (t.shape.length > 1 || (t.shape.length === 1 && t.shape[0] !== channels))
      fail(`${name} is ${showType(tensorType(t.dtype, t.shape))} for ${channels} channels`);
  }
  const symmetric = zeroPoint.data.every((z) => z === 0);
  const wide = scale.shape.length === 1 || (!symmetric && zeroPoint.shape.length === 1);
  const along = data.shape.map((d, i) => (i === axis && wide ? d : 1));
  const spread = (t: Tensor): Tensor => {
    if (elementCount(t.shape) === elementCount(along)) return withShape(t, along);
    const out = zeros({ dtype: t.dtype, shape: along });
    out.data.fill(numberAt(t.data, 0));
    return out;
  };
  const offset = symmetric ? {} : { offset: spread(zeroPoint) };
  return { type: "constexpr_blockwise_shift_scale", inputs: { data, scale: spread(scale), ...offset }, params: {} };
}

/** Another shape for a tensor of a file, whose data stays unread. */
function withLazyShape(t: Tensor, shape: readonly number[]): Tensor {
  const bytes = (): Uint8Array => (t instanceof StoredTensor ? t.packed() : storedBytes(t));
  return new StoredTensor(tensorType(t.dtype, shape), () => t.data, bytes);
}

const paletteBits: readonly PackedBits[] = [1, 2, 4, 6, 8];
