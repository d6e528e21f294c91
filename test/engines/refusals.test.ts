/** @file Wrong types and shapes are refused when an op is built, with the op, parameter, expectation and finding. */
import { describe, expect, it } from "vitest";
import { EspalierError } from "../../lib/errors.ts";
import { Builder } from "../../lib/mil/builder.ts";
import type { OpInputs } from "../../lib/mil/op.ts";
import type { ParamValue } from "../../lib/mil/program.ts";
import { bool, fp16, fp32, int32, stateType, tensorType, type ValueType } from "../../lib/mil/types.ts";

type Refusal = readonly [
  op: string,
  inputs: Record<string, ValueType | readonly ValueType[]>,
  params: Record<string, ParamValue>,
  /** What the message must hold besides the op: parameter, expected, found. */
  parts: readonly [string, string, string],
];

const families: Record<string, readonly Refusal[]> = {
  "elementwise arithmetic": [
    ["add", { x: fp32(2), y: fp16(2) }, {}, ["y", "fp32", "fp16[2]"]],
    ["mul", { x: fp32(2, 3), y: fp32(2) }, {}, ["y", "broadcastable with x fp32[2, 3]", "fp32[2]"]],
    ["real_div", { x: int32(2), y: int32(2) }, {}, ["x", "fp16 or fp32", "int32[2]"]],
    ["pow", { x: fp32(2) }, {}, ["y", "given", "nothing"]],
    ["exp", { x: bool(2) }, {}, ["x", "fp16 or fp32", "bool[2]"]],
    ["exp", { x: stateType(fp32(2)) }, {}, ["x", "a tensor", "state<fp32[2]>"]],
    ["rsqrt", { x: fp32(2) }, { epsilon: "small" }, ["epsilon", "float", '"small"']],
    ["clip", { x: fp32(2) }, { alpha: 1, beta: 0 }, ["alpha", "at most beta 0", "1"]],
    ["gelu", { x: fp32(2) }, { mode: "FAST" }, ["mode", "EXACT", '"FAST"']],
    ["cast", { x: fp32(2) }, { dtype: "int64" }, ["dtype", "int8", '"int64"']],
    ["tanh", { x: fp32(2) }, { slope: 2 }, ["slope", "a known parameter", "2"]],
    ["tanh", { x: fp32(2), z: fp32(2) }, {}, ["z", "a known input", "a value"]],
  ],
  "logic and selection": [
    ["equal", { x: bool(2), y: bool(2) }, {}, ["x", "int32", "bool[2]"]],
    ["less", { x: int32(2), y: int32(3) }, {}, ["y", "broadcastable", "int32[3]"]],
    ["logical_and", { x: fp32(2), y: bool(2) }, {}, ["x", "bool", "fp32[2]"]],
    ["select", { cond: fp32(2), a: fp32(2), b: fp32(2) }, {}, ["cond", "bool", "fp32[2]"]],
    ["select", { cond: bool(2), a: fp32(2), b: int32(2) }, {}, ["b", "fp32", "int32[2]"]],
    ["select", { cond: bool(3), a: fp32(2), b: fp32(2) }, {}, ["cond", "broadcastable with [2]", "bool[3]"]],
  ],
  products: [
    ["matmul", { x: fp32(2, 3), y: fp32(4, 2) }, {}, ["y", "with 3 rows", "fp32[4, 2]"]],
    ["matmul", { x: fp32(3), y: fp32(3, 2) }, {}, ["x", "of rank 2 or more", "fp32[3]"]],
    ["matmul", { x: fp32(2, 2, 3), y: fp32(5, 3, 2) }, {}, ["y", "batch dimensions", "fp32[5, 3, 2]"]],
    ["matmul", { x: fp32(2, 3), y: fp16(3, 2) }, {}, ["y", "fp32", "fp16[3, 2]"]],
    ["linear", { x: fp32(2, 3), weight: fp32(3, 4) }, {}, ["weight", "(out, 3)", "fp32[3, 4]"]],
    ["linear", { x: fp32(2, 3), weight: fp32(4, 3), bias: fp32(3) }, {}, ["bias", "[4]", "fp32[3]"]],
    ["linear", { x: fp32(1, 1, 1, 3), weight: fp32(4, 3) }, {}, ["x", "rank 1 to 3", "fp32[1, 1, 1, 3]"]],
    [
      "conv",
      { x: fp32(1, 3, 4), weight: fp32(2, 2, 1) },
      { strides: [1], pad: [0, 0], dilations: [1] },
      ["weight", "(out, 3", "fp32[2, 2, 1]"],
    ],
    [
      "conv",
      { x: fp32(1, 2, 4), weight: fp32(2, 2, 1) },
      { strides: [1, 1], pad: [0, 0], dilations: [1] },
      ["strides", "1 integers", "[1,1]"],
    ],
    [
      "conv",
      { x: fp32(1, 2, 2), weight: fp32(2, 2, 5) },
      { strides: [1], pad: [0, 0], dilations: [1] },
      ["weight", "no larger", "fp32[2, 2, 5]"],
    ],
    [
      "scaled_dot_product_attention",
      { query: fp32(2, 3, 4), key: fp32(1, 3, 4), value: fp32(2, 3, 4) },
      {},
      ["key", "[2, S, 4]", "fp32[1, 3, 4]"],
    ],
    [
      "scaled_dot_product_attention",
      { query: fp32(2, 3, 4), key: fp32(2, 3, 4), value: fp32(2, 3, 4), attn_mask: fp32(4, 3) },
      {},
      ["attn_mask", "[2, 3, 3]", "fp32[4, 3]"],
    ],
  ],
  "normalization and reduction": [
    ["softmax", { x: fp32(2, 3) }, { axis: 2 }, ["axis", "rank-2", "2"]],
    ["layer_norm", { x: fp32(2, 3), gamma: fp32(2) }, { axes: [1] }, ["gamma", "[3]", "fp32[2]"]],
    ["l2_norm", { x: fp32(2, 3) }, {}, ["x", "of rank 3", "fp32[2, 3]"]],
    ["reduce_sum", { x: fp32(2, 3) }, { axes: [0, -2] }, ["axes", "distinct", "[0,0]"]],
    ["reduce_mean", { x: int32(2, 3) }, { axes: [0] }, ["x", "fp32", "int32[2, 3]"]],
    ["reduce_max", { x: fp32(2) }, {}, ["axes", "given", "nothing"]],
    ["reduce_argmax", { x: fp32(2) }, { axis: 0, output_dtype: "int8" }, ["output_dtype", "int32", '"int8"']],
    ["topk", { x: fp32(4) }, { k: 5 }, ["k", "from 1 to 4", "5"]],
    ["cumsum", { x: fp32(4) }, { axis: 1.5 }, ["axis", "int", "1.5"]],
  ],
  "shape and movement": [
    ["reshape", { x: fp32(2, 3) }, { shape: [4, -1] }, ["shape", "6 elements", "[4, -1]"]],
    ["transpose", { x: fp32(2, 3) }, { perm: [0, 0] }, ["perm", "a permutation of 2", "[0, 0]"]],
    ["squeeze", { x: fp32(2, 3) }, { axes: [0] }, ["axes", "size 1", "0"]],
    ["expand_dims", { x: fp32(2) }, { axes: [3] }, ["axes", "rank-2", "3"]],
    ["concat", { values: [fp32(2, 3), fp32(2, 4)] }, { axis: 0 }, ["values", "[2, 3]", "[2, 4]"]],
    ["concat", { values: [fp32(2), int32(2)] }, { axis: 0 }, ["values", "fp32", "int32[2]"]],
    ["concat", { values: fp32(2) }, { axis: 0 }, ["values", "a list", "the other"]],
    ["stack", { values: [fp32(2), fp32(3)] }, { axis: 0 }, ["values", "[2]", "[3]"]],
    ["split", { x: fp32(5) }, { num_splits: 2, axis: 0 }, ["num_splits", "divisor of 5", "2"]],
    ["split", { x: fp32(5) }, { split_sizes: [2, 2], axis: 0 }, ["split_sizes", "5", "[2, 2]"]],
    ["tile", { x: fp32(2) }, { reps: [1, 2] }, ["reps", "1 integers", "[1, 2]"]],
    ["slice_by_index", { x: fp32(4) }, { begin: [0, 0], end: [1, 1] }, ["begin", "1 integers", "[0, 0]"]],
    ["slice_by_size", { x: fp32(4) }, { begin: [2], size: [3] }, ["size", "fp32[4]", "[3]"]],
    ["slice_update", { x: fp32(4), update: fp32(5) }, { begin: [0], end: [5] }, ["update", "fp32[4]", "fp32[5]"]],
    ["slice_update", { x: fp32(4), update: int32(2) }, { begin: [0], end: [2] }, ["update", "fp32", "int32[2]"]],
    ["pad", { x: fp32(4) }, { pad: [1, 1, 1] }, ["pad", "in pairs", "[1, 1, 1]"]],
    ["band_part", { x: fp32(4) }, {}, ["x", "of rank 2", "fp32[4]"]],
    ["range_1d", {}, { start: 0, end: 4, step: -1 }, ["step", "towards end", "-1"]],
    ["one_hot", { indices: fp32(4) }, { one_hot_vector_size: 3 }, ["indices", "int32", "fp32[4]"]],
  ],
  indexing: [
    ["gather", { x: fp32(4), indices: fp32(2) }, {}, ["indices", "int32", "fp32[2]"]],
    ["gather", { x: fp32(4, 2), indices: int32(3, 2) }, { axis: 1, batch_dims: 1 }, ["batch_dims", "share", "1"]],
    ["gather_along_axis", { x: fp32(4, 2), indices: int32(4) }, { axis: 0 }, ["indices", "fp32[4, 2]", "int32[4]"]],
    ["gather_nd", { x: fp32(4), indices: int32(3, 2) }, {}, ["indices", "1 to 1", "int32[3, 2]"]],
    ["scatter", { data: fp32(4, 2), indices: int32(3), updates: fp32(3) }, {}, ["updates", "[3, 2]", "fp32[3]"]],
    ["scatter_along_axis", { data: fp32(4), indices: int32(3), updates: fp32(2) }, {}, ["updates", "[3]", "fp32[2]"]],
    ["scatter_nd", { data: fp32(4, 2), indices: int32(3, 1), updates: fp32(3) }, {}, ["updates", "[3, 2]", "fp32[3]"]],
    ["scatter", { data: fp32(4), indices: int32(3), updates: fp32(3) }, { mode: "mean" }, ["mode", "add", '"mean"']],
  ],
  "compressed constants": [
    ["constexpr_blockwise_shift_scale", { data: int32(2), scale: fp16(2) }, {}, ["data", "int4", "int32[2]"]],
    [
      "constexpr_lut_to_dense",
      { indices: tensorType("uint4", [2, 2]), lut: fp16(1, 1, 8, 1) },
      {},
      ["lut", "16 entries", "fp16[1, 1, 8, 1]"],
    ],
    [
      "constexpr_lut_to_dense",
      { indices: tensorType("uint4", [3, 2]), lut: fp16(2, 1, 16, 1) },
      {},
      ["lut", "dividing indices", "fp16[2, 1, 16, 1]"],
    ],
    [
      "constexpr_sparse_to_dense",
      { nonzero_data: fp16(5), mask: tensorType("uint1", [2, 2]) },
      {},
      ["nonzero_data", "no longer than mask", "fp16[5]"],
    ],
    [
      "constexpr_lut_to_sparse",
      {
        indices_mask: tensorType("uint1", [2, 2]),
        indices_nonzero_data: tensorType("uint4", [5]),
        lut: fp16(1, 1, 16, 1),
      },
      {},
      ["indices_nonzero_data", "no longer than mask", "uint4[5]"],
    ],
    [
      "constexpr_lut_to_sparse",
      {
        indices_mask: tensorType("uint1", [2, 2]),
        indices_nonzero_data: tensorType("uint4", [3]),
        lut: fp16(1, 1, 8, 1),
      },
      {},
      ["lut", "16 entries", "fp16[1, 1, 8, 1]"],
    ],
    [
      "constexpr_sparse_blockwise_shift_scale",
      { data_mask: tensorType("uint1", [3, 2]), nonzero_data: tensorType("int8", [3]), scale: fp16(2, 1) },
      {},
      ["scale", "dividing data", "fp16[2, 1]"],
    ],
    ["constexpr_cast", { source_val: fp32(2) }, {}, ["source_val", "fp16", "fp32[2]"]],
    ["quantize", { input: fp32(2), scale: fp32() }, { output_dtype: "int16" }, ["output_dtype", "int8", '"int16"']],
    ["dequantize", { input: fp32(2), scale: fp32() }, {}, ["input", "int8 or uint8", "fp32[2]"]],
  ],
  states: [
    ["read_state", { input: fp32(2) }, {}, ["input", "a state", "fp32[2]"]],
    ["write_state", { input: stateType(fp16(2)), data: fp16(3) }, {}, ["data", "fp16[2]", "fp16[3]"]],
  ],
};

function refusalOf([op, inputs, params]: Refusal): EspalierError {
  const b = new Builder("refused");
  const args: OpInputs = Object.fromEntries(
    Object.entries(inputs).map(([name, v]) => [
      name,
      "kind" in v ? b.input(name, v) : v.map((t, i) => b.input(`${name}_${i}`, t)),
    ]),
  );
  try {
    b.op(op, args, params);
  } catch (thrown) {
    if (thrown instanceof EspalierError) return thrown;
    throw thrown;
  }
  return expect.fail(`${op} was built with ${JSON.stringify(inputs)} ${JSON.stringify(params)}`);
}

describe.each(Object.entries(families))("%s", (_, refusals) => {
  it.each(refusals)("%s refuses what does not fit (%#)", (...refusal) => {
    const error = refusalOf(refusal);
    expect(error.code).toBe("program/type");
    const [parameter, expected, found] = refusal[3];
    expect(error.message.startsWith(`${refusal[0]}: ${parameter} must be `)).toBe(true);
    const [wanted = "", got = ""] = error.message.slice(error.message.indexOf(" must be ")).split(", found ");
    expect(wanted).toContain(expected);
    expect(got).toContain(found);
  });
});

describe("the builder", () => {
  it("refuses an op it does not know, and a compressed constant of an input", () => {
    const b = new Builder("refused");
    const data = b.input("data", tensorType("int8", [2]));
    const scale = b.input("scale", fp16(2));
    expect(() => b.op("while_loop", {})).toThrow(/no op "while_loop"/);
    const relued = b.op("relu", { x: scale })[0] as typeof scale;
    expect(() => b.op("constexpr_blockwise_shift_scale", { data, scale: relued })).toThrow(
      /constexpr_blockwise_shift_scale: scale must be a constant, found the output of relu/,
    );
  });
});
