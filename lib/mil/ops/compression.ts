/**
 * @file Compressed constants (`constexpr_*`, the input form of iOS 18) and activation quantization.
 *
 * All arguments of a constexpr are constants or other constexprs. A sparse weight whose nonzeros are codes is two operations:
 * one gives the mask and the values of its ones, `constexpr_sparse_to_dense` lays those out.
 */
import { dim } from "../../elements.ts";
import { defineOp, isConstantOperation, type OpArguments } from "../op.ts";
import { type DType, elementCount, type Shape, showType, type TensorType, tensorType } from "../types.ts";
import { floats } from "./common.ts";

function requireConstant(op: OpArguments, name: string): void {
  const producer = op.value(name).producer;
  if (producer && !isConstantOperation(producer)) {
    op.fail(name, "a constant", `the output of ${producer.type}`);
  }
}

/** Scales, and offsets of their shape, that divide a weight of the shape `weight`. */
function requireScales(op: OpArguments, weight: TensorType): void {
  const scale = op.tensor("scale");
  const divides =
    scale.shape.length === weight.shape.length && scale.shape.every((s, i) => s > 0 && dim(weight.shape, i) % s === 0);
  if (!divides) op.fail("scale", `of rank ${weight.shape.length}, dividing data ${showType(weight)}`, showType(scale));
  if (!op.has("offset")) return;
  const offset = op.tensor("offset");
  if (showType({ ...offset, dtype: scale.dtype }) !== showType(scale))
    op.fail("offset", `shaped like scale ${showType(scale)}`, showType(offset));
}

/** The axis along which the vectors of a table lie, and their length; tables are those of indices laid out as `indices`. */
function requireTables(op: OpArguments, indices: TensorType, codes: DType): { axis: number; vector: number } {
  const lut = op.tensor("lut");
  const rank = indices.shape.length;
  if (lut.shape.length !== rank + 2) op.fail("lut", `of rank ${rank + 2}`, showType(lut));
  const entries = 2 ** entryBits[codes as keyof typeof entryBits];
  if (lut.shape[rank] !== entries) op.fail("lut", `with ${entries} entries`, showType(lut));
  lut.shape.slice(0, rank).forEach((g, i) => {
    if (g < 1 || dim(indices.shape, i) % g !== 0)
      op.fail("lut", `with groups dividing indices ${showType(indices)}`, showType(lut));
  });
  const vector = dim(lut.shape, rank + 1);
  return { axis: vector === 1 ? 0 : op.axis("vector_axis", rank), vector };
}

/** A vector of codes, one for each one of the mask. */
function requireNonzeros(op: OpArguments, codes: string, mask: string): void {
  const data = op.tensor(codes);
  const places = op.tensor(mask);
  if (data.shape.length !== 1 || elementCount(data.shape) > elementCount(places.shape))
    op.fail(codes, `a vector no longer than mask ${showType(places)}`, showType(data));
}

const entryBits = { uint1: 1, uint2: 2, uint3: 3, uint4: 4, uint6: 6, uint8: 8 } as const;

defineOp({
  type: "constexpr_blockwise_shift_scale",
  constant: true,
  inputs: {
    data: { dtypes: ["int4", "uint4", "int8", "uint8", "fp16", "fp32"] },
    scale: { dtypes: floats },
    offset: { dtypes: ["int4", "uint4", "int8", "uint8", "fp16", "fp32"], optional: true },
  },
  params: {},
  infer: (op) => {
    for (const name of ["data", "scale", "offset"]) if (op.has(name)) requireConstant(op, name);
    const data = op.tensor("data");
    requireScales(op, data);
    return [tensorType(op.tensor("scale").dtype, data.shape)];
  },
});

defineOp({
  type: "constexpr_lut_to_dense",
  constant: true,
  inputs: {
    indices: { dtypes: ["uint1", "uint2", "uint3", "uint4", "uint6", "uint8"] },
    lut: { dtypes: ["int8", "uint8", "fp16", "fp32"] },
  },
  params: { vector_axis: { kind: "int", default: null } },
  infer: (op) => {
    requireConstant(op, "indices");
    requireConstant(op, "lut");
    const indices = op.tensor("indices");
    const { axis, vector } = requireTables(op, indices, indices.dtype);
    return [tensorType(op.tensor("lut").dtype, widened(indices.shape, axis, vector))];
  },
});

/** `shape` with `vector` elements for each along `axis`. */
const widened = (shape: Shape, axis: number, vector: number): number[] =>
  shape.map((d, i) => (i === axis ? d * vector : d));

defineOp({
  type: "constexpr_lut_to_sparse",
  constant: true,
  inputs: {
    indices_mask: { dtypes: ["uint1"] },
    indices_nonzero_data: { dtypes: ["uint1", "uint2", "uint3", "uint4", "uint6", "uint8"] },
    lut: { dtypes: ["int8", "uint8", "fp16", "fp32"] },
  },
  params: { vector_axis: { kind: "int", default: null } },
  infer: (op) => {
    for (const name of ["indices_mask", "indices_nonzero_data", "lut"]) requireConstant(op, name);
    requireNonzeros(op, "indices_nonzero_data", "indices_mask");
    const mask = op.tensor("indices_mask");
    const codes = op.tensor("indices_nonzero_data");
    const { axis, vector } = requireTables(op, mask, codes.dtype);
    const count = elementCount(codes.shape) * vector;
    return [tensorType("uint1", widened(mask.shape, axis, vector)), tensorType(op.tensor("lut").dtype, [count])];
  },
});

defineOp({
  type: "constexpr_sparse_blockwise_shift_scale",
  constant: true,
  inputs: {
    data_mask: { dtypes: ["uint1"] },
    nonzero_data: { dtypes: ["int4", "uint4", "int8", "uint8", "fp16", "fp32"] },
    scale: { dtypes: floats },
    offset: { dtypes: ["int4", "uint4", "int8", "uint8", "fp16", "fp32"], optional: true },
  },
  params: {},
  infer: (op) => {
    for (const name of ["data_mask", "nonzero_data", "scale", "offset"]) if (op.has(name)) requireConstant(op, name);
    requireNonzeros(op, "nonzero_data", "data_mask");
    const mask = op.tensor("data_mask");
    requireScales(op, mask);
    return [mask, tensorType(op.tensor("scale").dtype, op.shape("nonzero_data"))];
  },
});

defineOp({
  type: "constexpr_sparse_to_dense",
  constant: true,
  inputs: {
    nonzero_data: { dtypes: ["int4", "uint4", "int8", "uint8", "fp16", "fp32"] },
    mask: { dtypes: ["uint1"] },
  },
  params: {},
  infer: (op) => {
    requireConstant(op, "nonzero_data");
    requireConstant(op, "mask");
    requireNonzeros(op, "nonzero_data", "mask");
    return [tensorType(op.tensor("nonzero_data").dtype, op.shape("mask"))];
  },
});

defineOp({
  type: "constexpr_cast",
  constant: true,
  inputs: { source_val: { dtypes: ["fp16"] } },
  params: { output_dtype: { kind: "string", default: "fp32", choices: ["fp32"] } },
  infer: (op) => {
    requireConstant(op, "source_val");
    return [tensorType("fp32", op.shape("source_val"))];
  },
});

defineOp({
  type: "quantize",
  inputs: {
    input: { dtypes: floats },
    scale: { dtypes: floats },
    zero_point: { dtypes: ["int8", "uint8"], optional: true },
  },
  params: { axis: { kind: "int", default: null }, output_dtype: { kind: "string", choices: ["int8", "uint8"] } },
  infer: (op) => [tensorType(op.string("output_dtype") === "int8" ? "int8" : "uint8", op.shape("input"))],
});

defineOp({
  type: "dequantize",
  inputs: {
    input: { dtypes: ["int8", "uint8"] },
    scale: { dtypes: floats },
    zero_point: { dtypes: ["int8", "uint8"], optional: true },
  },
  params: { axis: { kind: "int", default: null } },
  infer: (op) => [tensorType(op.tensor("scale").dtype, op.shape("input"))],
});
