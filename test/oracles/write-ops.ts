/** Writes packages that use every operation of the table, in fp16 and in fp32. Usage: write-ops.ts FOLDER */
import { join } from "node:path";
import { writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { Builder } from "../../lib/mil/builder.ts";
import { opTable } from "../../lib/mil/op.ts";
import type { ParamValue, Value } from "../../lib/mil/program.ts";
import { newData, tensor } from "../../lib/mil/tensor.ts";
import { type DType, elementCount, int32, stateType, tensorType } from "../../lib/mil/types.ts";

const folder = process.argv[2] ?? ".";

for (const float of ["fp16", "fp32"] as const) {
  const b = new Builder("main");
  const outputs: Record<string, Value> = {};
  const used = new Set<string>();
  const type = (...shape: number[]) => tensorType(float, shape);
  const constant = (dtype: DType, ...shape: number[]): Value =>
    b.constant(tensor(dtype, shape, newData(dtype, elementCount(shape)).fill(1)), `c_${dtype}`);
  /** Uses an op; what cannot cross the boundary leaves as int32. */
  const use = (
    op: string,
    inputs: Record<string, Value | readonly Value[]>,
    params: Record<string, ParamValue> = {},
  ): void => {
    used.add(op);
    b.op(op, inputs, params).forEach((v, i) => {
      const dtype = v.type.kind === "tensor" ? v.type.dtype : float;
      const legal = dtype === float || dtype === "int32" || dtype === "fp32";
      outputs[`out_${op}_${used.size}_${i}`] = legal ? b.op("identity", { x: v })[0]! : b.cast(v, "int32");
    });
  };
  const x = b.input("x", type(2, 3, 4));
  const y = b.input("y", type(2, 3, 4));
  const image = b.input("image", type(1, 4, 1, 6));
  const ids = b.input("ids", int32(3));
  const i = b.input("i", int32(2, 3, 4));
  for (const op of "add sub mul real_div pow maximum minimum floor_div mod".split(" ")) use(op, { x, y });
  for (const op of "add sub mul maximum minimum floor_div mod".split(" ")) use(op, { x: i, y: i });
  for (const op of "equal not_equal less less_equal greater greater_equal".split(" ")) use(op, { x, y });
  for (const op of "identity abs sign floor ceil round exp exp2 erf sqrt square sin cos tanh sigmoid relu silu".split(
    " ",
  ))
    use(op, { x });
  for (const op of ["rsqrt", "inverse", "log"]) use(op, { x }, { epsilon: 1e-4 });
  use("clip", { x }, { alpha: Number.NEGATIVE_INFINITY, beta: 2 });
  for (const mode of ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]) use("gelu", { x }, { mode });
  for (const dtype of ["int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool"])
    if (dtype !== float) use("cast", { x }, { dtype });
  const cond = b.greater(x, y);
  for (const op of ["logical_and", "logical_or", "logical_xor"]) use(op, { x: cond, y: b.less(x, 0) });
  use("logical_not", { x: cond });
  use("select", { cond, a: x, b: y });
  use("softmax", { x });
  use("layer_norm", { x, gamma: constant(float, 4), beta: constant(float, 4) }, { axes: [2] });
  use("layer_norm", { x }, { axes: [1] });
  use("l2_norm", { x });
  for (const op of [...opTable.keys()].filter((k) => k.startsWith("reduce_") && !k.includes("arg"))) {
    use(op, { x }, { axes: [-1], keep_dims: true });
    use(op, { x }, { axes: [0, 2] });
  }
  for (const op of ["reduce_argmax", "reduce_argmin"])
    for (const output_dtype of ["int32", "uint16"]) use(op, { x }, { axis: 1, output_dtype });
  use("topk", { x }, { k: 2 });
  use("topk", { x }, { k: 2, output_indices_dtype: "uint16" });
  use("topk", { x }, { k: 2, return_indices: false });
  use("argsort", { x });
  use("cumsum", { x }, { axis: 1, exclusive: true });
  use("matmul", { x, y }, { transpose_y: true });
  use("linear", { x, weight: constant(float, 5, 4) });
  use("linear", { x, weight: constant(float, 5, 4), bias: constant(float, 5) });
  const conv = { strides: [1, 1], dilations: [1, 1], pad: [0, 0, 0, 0] };
  use("conv", { x: image, weight: constant(float, 8, 4, 1, 1) }, conv);
  use(
    "conv",
    { x: image, weight: constant(float, 8, 2, 1, 3), bias: constant(float, 8) },
    { ...conv, groups: 2, pad_type: "same" },
  );
  use(
    "conv",
    { x: image, weight: constant(float, 8, 4, 1, 3) },
    { ...conv, pad_type: "custom", pad: [0, 0, 1, 2], strides: [1, 2] },
  );
  use("reshape", { x }, { shape: [6, -1] });
  use("transpose", { x }, { perm: [2, 0, 1] });
  use("expand_dims", { x }, { axes: [0, -1] });
  use("squeeze", { x: image }, { axes: [0, 2] });
  use("concat", { values: [x, y, x] }, { axis: -1 });
  use("stack", { values: [x, y] }, { axis: 1 });
  use("split", { x }, { num_splits: 2, axis: 2 });
  use("split", { x }, { split_sizes: [1, 2], axis: 1 });
  use("tile", { x }, { reps: [1, 2, 3] });
  use("slice_by_index", { x }, { begin: [0, 1, 0], end: [2, 3, 4] });
  use(
    "slice_by_index",
    { x },
    { begin: [0, 1, -2], end: [1, 0, 0], end_mask: [false, true, true], squeeze_mask: [true, false, false] },
  );
  use("slice_by_size", { x }, { begin: [0, 1, 0], size: [2, 2, -1] });
  use("slice_update", { x, update: b.slice(y, [0, 0, 0], [1, 3, 4]) }, { begin: [0, 0, 0], end: [1, 3, 4] });
  use(
    "slice_update",
    { x, update: b.slice(y, [0, 0, 0], [1, 3, 4]), begin: ids, end: b.add(ids, 1) },
    { begin_mask: [false, true, true], end_mask: [false, true, true] },
  );
  use("pad", { x }, { pad: [0, 0, 1, 2], constant_val: 3 });
  use("pad", { x }, { pad: [1, 1], mode: "reflect" });
  use("gather", { x, indices: ids }, { axis: 1 });
  use("gather_along_axis", { x, indices: i }, { axis: 1 });
  use("gather_nd", { x, indices: b.op("stack", { values: [ids, ids] }, { axis: 1 })[0]! });
  for (const mode of ["add", "update", "max"]) {
    use(
      "scatter",
      { data: x, indices: ids, updates: b.concat([y, b.slice(y, [0, 0, 0], [1, 3, 4])], 0) },
      { axis: 0, mode },
    );
    use("scatter_along_axis", { data: x, indices: i, updates: y }, { axis: 1, mode });
    use(
      "scatter_nd",
      { data: x, indices: b.expandDims(ids, [1]), updates: b.concat([y, b.slice(y, [0, 0, 0], [1, 3, 4])], 0) },
      { mode },
    );
  }
  use("fill", {}, { shape: [2, 3], value: 1.5 });
  use("fill_like", { ref_tensor: i }, { value: 2 });
  use("range_1d", {}, { start: 1, end: 9, step: 2 });
  use("shape", { x });
  use("one_hot", { indices: ids }, { one_hot_vector_size: 5 });
  use("band_part", { x }, { lower: 1, upper: 0 });
  use("scaled_dot_product_attention", { query: x, key: y, value: y });
  use("scaled_dot_product_attention", { query: x, key: y, value: y, attn_mask: b.input("mask", type(3, 3)) });
  const scale = constant(float);
  const zero = b.constant(tensor("int8", [], Int8Array.of(0)), "zero");
  const q = b.op("quantize", { input: x, scale, zero_point: zero }, { output_dtype: "int8" })[0]!;
  used.add("quantize");
  use("dequantize", { input: q, scale, zero_point: zero });
  const codes = constant("int4", 8, 4);
  use("constexpr_blockwise_shift_scale", { data: codes, scale: constant(float, 8, 2), offset: constant("int4", 8, 2) });
  use(
    "constexpr_lut_to_dense",
    { indices: constant("uint3", 4, 4), lut: constant(float, 2, 1, 8, 2) },
    { vector_axis: 0 },
  );
  const table = b.op("constexpr_blockwise_shift_scale", {
    data: constant("int8", 1, 1, 16, 1),
    scale: constant(float, 1, 1, 1, 1),
  })[0]!;
  use("constexpr_lut_to_dense", { indices: constant("uint4", 4, 4), lut: table });
  use("constexpr_sparse_to_dense", { nonzero_data: constant(float, 33), mask: constant("uint1", 33) });
  const places = tensor(
    "uint1",
    [4, 6],
    Uint8Array.from({ length: 24 }, (_, i) => Number(i % 3 === 0)),
  );
  const sparse = {
    constexpr_lut_to_sparse: {
      indices_mask: b.constant(places, "places"),
      indices_nonzero_data: constant("uint4", 8),
      lut: constant(float, 2, 1, 16, 1),
    },
    constexpr_sparse_blockwise_shift_scale: {
      data_mask: b.constant(places, "places"),
      nonzero_data: constant("int8", 8),
      scale: constant(float, 4, 1),
    },
  };
  for (const [op, inputs] of Object.entries(sparse)) {
    const [mask, values] = b.op(op, inputs);
    used.add(op);
    use("constexpr_sparse_to_dense", { nonzero_data: values!, mask: mask! });
  }
  if (float === "fp32") use("constexpr_cast", { source_val: constant("fp16", 12) });
  if (float === "fp16") {
    const state = b.input("cache", stateType(type(2, 3, 4)));
    b.writeState(state, b.add(b.readState(state), x));
    use("read_state", { input: state });
    used.add("write_state");
  }
  const missing = [...opTable.keys()].filter((k) => k !== "const" && !used.has(k));
  console.log(`${float}: ${used.size} operations; not used here: ${missing.join(", ") || "none"}`);
  await writePackage(
    join(folder, `ops_${float}.mlpackage`),
    { opset: "CoreML8", functions: [b.build(outputs)], defaultFunction: "main" },
    { shortDescription: "every operation", author: "Espalier", license: "", version: "1", userDefined: {} },
  );
}
