/**
 * @file Compressed constants (`constexpr_*`, the input form of iOS 18) and activation quantization.
 *
 * All arguments of a constexpr are constants or other constexprs. Not included: sparse compositions
 * (`constexpr_lut_to_sparse`, `constexpr_sparse_blockwise_shift_scale`).
 */
import { defineOp, isConstantOperation, type OpArguments } from "../op.ts";
import { elementCount, showType, tensorType } from "../types.ts";
import { floats } from "./common.ts";

function requireConstant(op: OpArguments, name: string): void {
  const producer = op.value(name).producer;
  if (producer && !isConstantOperation(producer)) {
    op.fail(name, "a constant", `the output of ${producer.type}`);
  }
}

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
    const scale = op.tensor("scale");
    const divides =
      scale.shape.length === data.shape.length &&
      scale.shape.every((s, i) => s > 0 && (data.shape[i] as number) % s === 0);
    if (!divides) op.fail("scale", `of rank ${data.shape.length}, dividing data ${showType(data)}`, showType(scale));
    if (op.has("offset")) {
      const offset = op.tensor("offset");
      if (showType({ ...offset, dtype: scale.dtype }) !== showType(scale))
        op.fail("offset", `shaped like scale ${showType(scale)}`, showType(offset));
    }
    return [tensorType(scale.dtype, data.shape)];
  },
});

const entryBits = { uint1: 1, uint2: 2, uint3: 3, uint4: 4, uint6: 6, uint8: 8 } as const;

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
    const lut = op.tensor("lut");
    const rank = indices.shape.length;
    if (lut.shape.length !== rank + 2) op.fail("lut", `of rank ${rank + 2}`, showType(lut));
    const entries = 2 ** entryBits[indices.dtype as keyof typeof entryBits];
    if (lut.shape[rank] !== entries) op.fail("lut", `with ${entries} entries`, showType(lut));
    lut.shape.slice(0, rank).forEach((g, i) => {
      if (g < 1 || (indices.shape[i] as number) % g !== 0)
        op.fail("lut", `with groups dividing indices ${showType(indices)}`, showType(lut));
    });
    const vector = lut.shape[rank + 1] as number;
    if (vector === 1) return [tensorType(lut.dtype, indices.shape)];
    const axis = op.axis("vector_axis", rank);
    return [
      tensorType(
        lut.dtype,
        indices.shape.map((d, i) => (i === axis ? d * vector : d)),
      ),
    ];
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
    const data = op.tensor("nonzero_data");
    const mask = op.tensor("mask");
    if (data.shape.length !== 1 || elementCount(data.shape) > elementCount(mask.shape)) {
      op.fail("nonzero_data", `a vector no longer than mask ${showType(mask)}`, showType(data));
    }
    return [tensorType(data.dtype, mask.shape)];
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
