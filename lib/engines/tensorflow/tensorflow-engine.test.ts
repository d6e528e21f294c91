/** Every op of the table on TensorFlow.js against ONNX Runtime; states, memory and failures on their own. */
import { describe, expect, test } from "vitest";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32, float32FromFloat16 } from "../../float16.ts";
import { Builder } from "../../mil/builder.ts";
import "../../mil/ops/all.ts";
import { opTable } from "../../mil/op.ts";
import type { ParamValue, Value } from "../../mil/program.ts";
import { f32, i32, type Tensor, tensor } from "../../mil/tensor.ts";
import { elementCount, fp32, int32, type Shape, stateType, tensorType } from "../../mil/types.ts";
import { createRng } from "../../random.ts";
import { createOnnxRuntimeEngine } from "../onnxruntime/onnxruntime-engine.ts";
import { loadTensorFlow } from "./backend.ts";
import { createTensorFlowEngine } from "./tensorflow-engine.ts";

const rng = createRng(7, "tensorflow engine cases");
const from = (shape: Shape, next: () => number): number[] => Array.from({ length: elementCount(shape) }, next);
const normal = (...shape: number[]): Tensor => f32(shape, from(shape, rng.normal));
const positive = (...shape: number[]): Tensor =>
  f32(
    shape,
    from(shape, () => 0.5 + 1.5 * rng.uniform()),
  );
const integers = (low: number, high: number, ...shape: number[]): Tensor =>
  i32(
    shape,
    from(shape, () => low + rng.integer(high - low)),
  );
const bools = (...shape: number[]): Tensor => tensor("bool", shape, Uint8Array.from(from(shape, () => rng.integer(2))));
const codes = (dtype: "int8" | "uint8", low: number, high: number, ...shape: number[]): Tensor => {
  const values = from(shape, () => low + rng.integer(high - low));
  return tensor(dtype, shape, dtype === "int8" ? Int8Array.from(values) : Uint8Array.from(values));
};

interface Case {
  readonly type: string;
  readonly operands: Readonly<Record<string, Tensor | readonly Tensor[]>>;
  readonly params: Readonly<Record<string, ParamValue>>;
}

const op = (type: string, operands: Case["operands"] = {}, params: Case["params"] = {}): Case => ({
  type,
  operands,
  params,
});

const over = (types: readonly string[], operands: () => Case["operands"], params: Case["params"] = {}): Case[] =>
  types.map((type) => op(type, operands(), params));

const comparisons = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"];
const reductions = ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"];
const norms = ["reduce_sum_square", "reduce_l2_norm", "reduce_l1_norm", "reduce_log_sum_exp"];
const distinct = (indices: readonly number[], ...shape: number[]): Tensor => i32(shape, indices);
const slicing = { begin: [1, -3, 0], end: [3, 4, 5], stride: [1, 2, 3], end_mask: [false, false, true] };

const cases: Case[] = [
  ...over(["add", "sub", "mul", "real_div", "maximum", "minimum"], () => ({ x: normal(2, 1, 4), y: normal(3, 1) })),
  ...over(["floor_div", "mod"], () => ({ x: normal(40), y: positive(40) })),
  op("mod", { x: f32([4], [5, -5, 5, -5]), y: f32([4], [3, 3, -3, -3]) }),
  ...over(["floor_div", "mod"], () => ({
    x: integers(-20, 20, 30),
    y: i32([30], [...Array(15).fill(3), ...Array(15).fill(-4)]),
  })),
  ...over(["add", "sub", "mul", "maximum", "minimum"], () => ({ x: integers(-9, 9, 2, 5), y: integers(-9, 9, 5) })),
  op("mul", { x: i32([2], [123457, -7]), y: i32([2], [9, 300007]) }),
  op("pow", { x: positive(3, 4), y: normal(4) }),
  ...over(["identity", "abs", "sign", "floor", "ceil", "exp", "exp2", "erf", "square", "sin", "cos"], () => ({
    x: normal(3, 5),
  })),
  ...over(["tanh", "sigmoid", "relu", "silu"], () => ({ x: normal(3, 5) })),
  op("round", { x: f32([6], [0.5, 1.5, 2.5, -0.5, -1.5, 0.7]) }),
  ...over(["abs", "sign", "square"], () => ({ x: integers(-50000, 50000, 12) })),
  ...over(["sqrt", "log", "rsqrt", "inverse"], () => ({ x: positive(3, 5) })),
  op("log", { x: f32([2], [0, 1]) }, { epsilon: 1e-3 }),
  op("clip", { x: normal(20) }, { alpha: -0.5, beta: 0.25 }),
  ...["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"].map((mode) => op("gelu", { x: normal(4, 6) }, { mode })),
  ...["int32", "bool", "uint8", "int8", "int16", "uint16", "fp16", "fp32"].map((dtype) =>
    op("cast", { x: f32([5], [0, 1.75, 3, 90, 100]) }, { dtype }),
  ),
  op("cast", { x: integers(-3, 3, 9) }, { dtype: "bool" }),
  op("cast", { x: integers(-300, 300, 9) }, { dtype: "int8" }),
  op("cast", { x: bools(6) }, { dtype: "fp32" }),
  op("cast", { x: bools(6) }, { dtype: "int32" }),
  ...over(comparisons, () => ({ x: integers(0, 3, 4, 4), y: integers(0, 3, 4) })),
  ...over(comparisons, () => ({ x: f32([4], [0, 1, 2, 3]), y: f32([2, 1], [1, 2]) })),
  ...over(["logical_and", "logical_or", "logical_xor"], () => ({ x: bools(3, 4), y: bools(4) })),
  op("logical_not", { x: bools(7) }),
  op("select", { cond: bools(3, 1), a: normal(3, 4), b: normal(4) }),
  op("select", { cond: bools(2, 3), a: integers(0, 9, 3), b: integers(0, 9) }),
  op("select", { cond: bools(6), a: bools(6), b: bools(6) }),
  op("fill", {}, { shape: [2, 3], value: 1.25 }),
  op("fill_like", { ref_tensor: integers(0, 5, 4) }, { value: -2 }),
  op("range_1d", {}, { start: 3, end: -8, step: -4 }),
  op("shape", { x: normal(4, 1, 3) }),
  op("one_hot", { indices: integers(0, 4, 2, 3) }, { one_hot_vector_size: 4, axis: 1, on_value: 2, off_value: -1 }),
  op("band_part", { x: normal(2, 4, 5) }, { lower: 1, upper: 2 }),
  op("band_part", { x: integers(1, 9, 4, 3) }, { lower: -1, upper: 0 }),

  op("matmul", { x: normal(5, 3), y: normal(3, 4) }),
  op("matmul", { x: normal(2, 5, 3), y: normal(4, 3) }, { transpose_y: true }),
  op("matmul", { x: normal(2, 1, 5, 3), y: normal(1, 3, 3, 4) }),
  op("matmul", { x: normal(2, 3, 3, 5), y: normal(2, 3, 4, 3) }, { transpose_x: true, transpose_y: true }),
  op("matmul", { x: normal(3, 5), y: normal(4, 3, 2) }, { transpose_x: true }),
  op("matmul", { x: normal(3, 70, 65), y: normal(1, 67, 70) }, { transpose_x: true, transpose_y: true }),
  op("matmul", { x: normal(66, 70), y: normal(2, 70, 64) }),
  op("linear", { x: normal(2, 33, 70), weight: normal(65, 70) }),
  op("matmul", { x: normal(2, 0), y: normal(0, 3) }),
  op("matmul", { x: integers(-9000, 9000, 2, 3, 4), y: integers(-9000, 9000, 4, 5) }),
  op("linear", { x: normal(2, 3, 4), weight: normal(5, 4), bias: normal(5) }),
  op("linear", { x: normal(4), weight: normal(5, 4) }),
  op("linear", { x: integers(-9, 9, 3, 4), weight: integers(-9, 9, 2, 4), bias: integers(-9, 9, 2) }),
  op(
    "conv",
    { x: normal(2, 6, 1, 7), weight: normal(4, 6, 1, 1), bias: normal(4) },
    { strides: [1, 1], pad: [0, 0, 0, 0], dilations: [1, 1] },
  ),
  op(
    "conv",
    { x: normal(2, 6, 9, 8), weight: normal(4, 3, 3, 2) },
    { strides: [2, 1], pad_type: "custom", pad: [1, 0, 2, 1], dilations: [1, 2], groups: 2 },
  ),
  op(
    "conv",
    { x: normal(1, 4, 11), weight: normal(4, 1, 4), bias: normal(4) },
    { strides: [2], pad_type: "same", pad: [0, 0], dilations: [1], groups: 4 },
  ),
  op(
    "conv",
    { x: normal(1, 2, 4, 5, 3), weight: normal(3, 2, 2, 3, 1) },
    { strides: [1, 2, 1], pad_type: "same_lower", pad: [0, 0, 0, 0, 0, 0], dilations: [1, 1, 1] },
  ),
  op("scaled_dot_product_attention", {
    query: normal(2, 3, 5, 4),
    key: normal(2, 3, 6, 4),
    value: normal(2, 3, 6, 2),
    attn_mask: normal(5, 6),
  }),
  op("scaled_dot_product_attention", {
    query: normal(2, 5, 4),
    key: normal(2, 6, 4),
    value: normal(2, 6, 2),
    attn_mask: tensor(
      "bool",
      [1, 5, 6],
      Uint8Array.from({ length: 30 }, (_, i) => (i % 6 <= i / 6 ? 1 : 0)),
    ),
  }),

  op("softmax", { x: normal(2, 3, 4) }),
  op("softmax", { x: normal(2, 3, 4) }, { axis: 1 }),
  op("layer_norm", { x: normal(2, 3, 4), gamma: normal(4), beta: normal(4) }, { axes: [-1] }),
  op("layer_norm", { x: normal(2, 3, 1, 4), gamma: normal(3) }, { axes: [1], epsilon: 1e-3 }),
  op("l2_norm", { x: normal(2, 2, 3, 4) }),
  ...over([...reductions, ...norms], () => ({ x: positive(2, 3, 4) }), { axes: [0, 2] }),
  ...over([...reductions, ...norms], () => ({ x: normal(2, 3, 4) }), { axes: [-1], keep_dims: true }),
  ...over([...reductions, ...norms], () => ({ x: normal(2, 3) }), { axes: [] }),
  ...over([...reductions, ...norms], () => ({ x: normal(2, 0, 3) }), { axes: [1] }),
  ...over(["reduce_sum", "reduce_max", "reduce_min"], () => ({ x: integers(-20_000_000, 20_000_000, 3, 4, 2) }), {
    axes: [1],
  }),
  ...over(["reduce_argmax", "reduce_argmin"], () => ({ x: normal(3, 4, 2) }), { axis: 1, keep_dims: true }),
  ...over(["reduce_argmax", "reduce_argmin"], () => ({ x: integers(0, 3, 4, 6) })),
  op("topk", { x: normal(2, 5, 3) }, { k: 3, axis: 1 }),
  op("topk", { x: integers(0, 4, 3, 7) }, { k: 7, ascending: true, output_indices_dtype: "uint16" }),
  op("argsort", { x: normal(3, 6) }, { axis: 0 }),
  op("argsort", { x: integers(0, 3, 9) }, { ascending: true }),
  op("cumsum", { x: normal(3, 4) }, { axis: 1, exclusive: true }),
  op("cumsum", { x: integers(-5, 5, 3, 4) }, { reverse: true }),

  op("reshape", { x: normal(2, 6) }, { shape: [3, -1] }),
  op("transpose", { x: normal(2, 3, 1, 4) }, { perm: [3, 0, -2, 1] }),
  op("transpose", { x: bools(3, 4) }, { perm: [1, 0] }),
  op("expand_dims", { x: normal(2, 3) }, { axes: [0, -1] }),
  op("squeeze", { x: normal(1, 3, 1) }, { axes: [-1] }),
  op("concat", { values: [normal(2, 3), normal(2, 0), normal(2, 2)] }, { axis: 1 }),
  op("concat", { values: [bools(3), bools(2)] }, { axis: 0 }),
  op("stack", { values: [normal(2, 3), normal(2, 3)] }, { axis: 1 }),
  op("split", { x: normal(2, 6) }, { split_sizes: [1, 3, 2], axis: 1 }),
  op("split", { x: integers(0, 9, 4, 2) }, { num_splits: 2, axis: 0 }),
  op("tile", { x: normal(2, 3) }, { reps: [2, 3] }),
  op("tile", { x: normal(2, 1, 3) }, { reps: [1, 4, 1] }),
  op("slice_by_index", { x: normal(4, 5, 6) }, slicing),
  op("slice_by_index", { x: integers(-9, 9, 4, 5, 6) }, slicing),
  op("slice_by_index", { x: bools(4, 5, 6) }, slicing),
  op(
    "slice_by_index",
    { x: normal(4, 5, 6) },
    { begin: [1, 2, 0], end: [0, 4, -1], squeeze_mask: [true, false, false] },
  ),
  op("slice_by_index", { x: bools(5) }, { begin: [1], end: [4] }),
  op("slice_by_size", { x: normal(4, 5) }, { begin: [1, 2], size: [2, -1] }),
  op("slice_by_size", { x: normal(4, 5), begin: i32([2], [2, 1]) }, { size: [2, 3] }),
  op("slice_update", {
    x: normal(2, 6, 3),
    update: normal(2, 2, 3),
    begin: i32([3], [0, 3, 0]),
    end: i32([3], [2, 5, 3]),
  }),
  op("slice_update", { x: normal(4, 6), update: normal(2, 3) }, { begin: [1, -5], end: [4, 6], stride: [2, 2] }),
  op(
    "slice_update",
    { x: normal(4, 6), update: normal(4, 2) },
    { begin: [3, 1], end: [4, 3], begin_mask: [true, false] },
  ),
  op("pad", { x: normal(2, 3) }, { pad: [1, 0, 2, 1], constant_val: 0.5 }),
  op("pad", { x: normal(2, 3, 4) }, { pad: [2, 1], mode: "reflect" }),
  op("pad", { x: normal(2, 3) }, { pad: [1, 2, 0, 3], mode: "replicate" }),

  op("gather", { x: normal(3, 5, 2), indices: integers(0, 5, 2, 2) }, { axis: 1 }),
  op("gather", { x: normal(5, 2), indices: integers(0, 5) }),
  op("gather", { x: integers(0, 9, 5), indices: integers(0, 5, 7) }),
  op("gather", { x: normal(2, 3, 5, 2), indices: integers(0, 5, 2, 4) }, { axis: 2, batch_dims: 1 }),
  op("gather_along_axis", { x: normal(3, 5, 2), indices: integers(0, 5, 3, 7, 2) }, { axis: 1 }),
  op("gather_nd", { x: normal(3, 4, 2), indices: integers(0, 3, 5, 2) }),
  op("gather_nd", { x: normal(2, 4, 3), indices: integers(0, 4, 2, 3, 1) }, { batch_dims: 1 }),
  ...["add", "sub", "mul", "max", "min", "div"].map((mode) =>
    op(
      "scatter",
      { data: normal(3, 5, 2), indices: i32([4], [4, 0, 4, 2]), updates: positive(3, 4, 2) },
      { axis: 1, mode },
    ),
  ),
  op("scatter", { data: normal(5, 2), indices: distinct([4, 0, 2], 3), updates: normal(3, 2) }, { mode: "update" }),
  op("scatter", { data: integers(0, 9, 5), indices: i32([3], [1, 1, 4]), updates: integers(0, 9, 3) }),
  op("scatter_along_axis", { data: normal(3, 4), indices: integers(0, 4, 3, 5), updates: normal(3, 5) }, { axis: 1 }),
  op(
    "scatter_along_axis",
    { data: normal(4, 2), indices: distinct([3, 0, 1, 2], 2, 2), updates: normal(2, 2) },
    { mode: "update" },
  ),
  op("scatter_nd", { data: normal(4, 3, 2), indices: integers(0, 3, 5, 2), updates: normal(5, 2) }),

  op(
    "quantize",
    { input: normal(3, 4), scale: positive(3), zero_point: codes("uint8", 90, 130, 3) },
    { axis: 0, output_dtype: "uint8" },
  ),
  op("quantize", { input: normal(30), scale: f32([], [0.01]) }, { output_dtype: "int8" }),
  op(
    "dequantize",
    { input: codes("int8", -128, 127, 3, 4), scale: positive(4), zero_point: codes("int8", -9, 9, 4) },
    { axis: 1 },
  ),
  op("constexpr_blockwise_shift_scale", {
    data: codes("int8", -128, 127, 4, 6),
    scale: positive(4, 2),
    offset: codes("int8", -9, 9, 4, 2),
  }),
  op("constexpr_lut_to_dense", {
    indices: tensor("uint2", [4, 3], Uint8Array.from(from([4, 3], () => rng.integer(4)))),
    lut: normal(2, 1, 4, 1),
  }),
  op("constexpr_sparse_to_dense", {
    nonzero_data: normal(3),
    mask: tensor("uint1", [2, 3], Uint8Array.of(0, 1, 1, 0, 0, 1)),
  }),
  op("constexpr_lut_to_sparse", {
    indices_mask: tensor("uint1", [2, 3], Uint8Array.of(0, 1, 1, 0, 0, 1)),
    indices_nonzero_data: tensor("uint2", [3], Uint8Array.of(3, 0, 2)),
    lut: normal(2, 1, 4, 1),
  }),
  op("constexpr_sparse_blockwise_shift_scale", {
    data_mask: tensor("uint1", [2, 3], Uint8Array.of(0, 1, 1, 0, 0, 1)),
    nonzero_data: codes("int8", -128, 127, 3),
    scale: positive(2, 1),
  }),
  op("constexpr_cast", { source_val: tensor("fp16", [3], Uint16Array.of(0x3c00, 0xb800, 0x0001)) }),
];

const widened = (t: Tensor): number[] =>
  t.dtype === "fp16" && t.data instanceof Uint16Array ? [...float32FromFloat16(t.data)] : [...t.data];

function expectClose(found: Tensor, expected: Tensor, absolute: number, relative: number, where: string): void {
  expect([found.dtype, found.shape], where).toEqual([expected.dtype, expected.shape]);
  const [a, b] = [widened(found), widened(expected)];
  b.forEach((want, i) => {
    const got = a[i] as number;
    const same = Object.is(got, want) || got === want || Math.abs(got - want) <= absolute + relative * Math.abs(want);
    if (!same) expect.fail(`${where}: element ${i} is ${got}, expected ${want}`);
  });
}

/** fp32 operands as fp16 ones. */
const halved = (t: Tensor): Tensor =>
  t.dtype === "fp32" && t.data instanceof Float32Array ? tensor("fp16", t.shape, float16FromFloat32(t.data)) : t;

function functionOf(c: Case, change: (t: Tensor) => Tensor) {
  const b = new Builder("main");
  const inputs: Record<string, Tensor> = {};
  const constant = c.type.startsWith("constexpr_");
  const value = (name: string, given: Tensor): Value => {
    const t = change(given);
    if (constant) return b.constant(t);
    inputs[name] = t;
    return b.input(name, tensorType(t.dtype, t.shape));
  };
  const operands: Record<string, Value | readonly Value[]> = {};
  for (const [name, given] of Object.entries(c.operands)) {
    operands[name] = isList(given) ? given.map((t, i) => value(`${name}_${i}`, t)) : value(name, given);
  }
  const results = b.op(c.type, operands, c.params);
  return { fn: b.build(Object.fromEntries(results.map((v, i) => [`out${i}`, v]))), inputs };
}

const isList = (given: Tensor | readonly Tensor[]): given is readonly Tensor[] => Array.isArray(given);

const native = process.env.ESPALIER_TFJS_NODE;
const backends = [
  { name: "wasm", options: { backend: "wasm" } as const },
  ...(native ? [{ name: "node", options: { backend: "node", tfjsNodePath: native } as const }] : []),
];

test("the cases cover the whole op table", () => {
  const tried = new Set([...cases.map((c) => c.type), "const", "read_state", "write_state"]);
  expect([...opTable.keys()].filter((type) => !tried.has(type))).toEqual([]);
});

describe.each(backends)("tensorflow on $name", ({ options }) => {
  const engines = Promise.all([createTensorFlowEngine(options), createOnnxRuntimeEngine({ threads: 1 })]);

  test.each(cases.map((c, i) => ({ label: `${c.type} #${i}`, c })))(
    "$label agrees with ONNX Runtime",
    async ({ c }) => {
      const { fn, inputs } = functionOf(c, (t) => t);
      const [found, expected] = await Promise.all((await engines).map(async (e) => (await e.compile(fn)).run(inputs)));
      for (const [name, want] of Object.entries(expected as Record<string, Tensor>)) {
        const got = found?.[name];
        if (!got) throw new Error(`no ${name}`);
        const integer = want.dtype !== "fp32" && want.dtype !== "fp16";
        expectClose(got, want, integer ? 0 : 4e-6, integer ? 0 : 4e-6, name);
      }
    },
  );

  const halfCases = cases.filter(
    (c) =>
      ["add", "mul", "gelu", "matmul", "linear", "softmax", "layer_norm", "reduce_mean", "scatter", "sigmoid"].includes(
        c.type,
      ) &&
      Object.values(c.operands).every((t) => !isList(t) && (t.dtype === "fp32" || t.shape.length === 1)) &&
      Object.values(c.operands).some((t) => !isList(t) && t.dtype === "fp32" && t.data.length > 0),
  );
  test.each(halfCases.map((c, i) => ({ label: `${c.type} #${i}`, c })))(
    "$label rounds fp16 as ONNX Runtime does",
    async ({ c }) => {
      const { fn, inputs } = functionOf(c, halved);
      const [found, expected] = await Promise.all(
        (await engines).map(async (e) => (await e.compile(fn, { float16: "round" })).run(inputs)),
      );
      const [got, want] = [found?.out0, expected?.out0];
      if (!got || !want) throw new Error("no out0");
      // One unit in the last place, where f32 sums in another order fall on either side of a tie.
      expectClose(got, want, 6e-8, 2 ** -10, c.type);
    },
  );

  test("a run frees all it made, and a failing one too", async () => {
    const { tf } = await loadTensorFlow(options);
    const b = new Builder("main");
    const x = b.input("x", fp32(4, 8));
    const at = b.input("at", int32(3));
    const h = b.silu(b.matmul(x, b.constant(normal(8, 8))));
    const fn = b.build({ y: b.gather(b.add(h, x), at), same: x, unused_sum: b.sum(h) });
    const executable = await (await engines)[0].compile(fn);
    const inputs = { x: normal(4, 8), at: i32([3], [0, 3, 1]) };
    const first = await executable.run(inputs);
    const before = tf.memory().numTensors;
    expect(await executable.run(inputs)).toEqual(first);
    await expect(executable.run({ ...inputs, at: i32([3], [0, 4, 1]) })).rejects.toThrow(
      "gather: index 4 is outside 0 to 3",
    );
    await expect(executable.run({ ...inputs, at: i32([3], [0, -1, 1]) })).rejects.toMatchObject({
      code: "engine/failed",
    });
    expect(tf.memory().numTensors).toBe(before);
    expect(first.same?.data).not.toBe(inputs.x.data);
    expect(first.same?.data).toEqual(inputs.x.data);
    await executable.dispose();
    expect(tf.memory().numTensors).toBe(before - 1);
  });

  test("a state starts at zero, follows its writes within a run and stays as it was when a run fails", async () => {
    const b = new Builder("main");
    const cache = b.input("cache", stateType(fp32(4, 2)));
    const row = b.input("row", fp32(1, 2));
    const begin = b.input("begin", int32(2));
    const end = b.input("end", int32(2));
    const before = b.readState(cache);
    b.writeState(cache, b.op("slice_update", { x: before, update: row, begin, end })[0] as Value);
    const after = b.readState(cache);
    const fn = b.build({ total: b.sum(after), was: b.sum(before) });
    const engine = (await engines)[0];
    const executable = await engine.compile(fn);
    const state = executable.makeState();
    const step = (at: number, values: number[]) =>
      executable.run({ row: f32([1, 2], values), begin: i32([2], [at, 0]), end: i32([2], [at + 1, 2]) }, state);
    expect(await step(1, [1, 2])).toMatchObject({
      total: { data: Float32Array.of(3) },
      was: { data: Float32Array.of(0) },
    });
    expect(await step(3, [5, 6])).toMatchObject({
      total: { data: Float32Array.of(14) },
      was: { data: Float32Array.of(3) },
    });
    await expect(step(4, [9, 9])).rejects.toThrow(EspalierError);
    expect((await state.read()).cache?.data).toEqual(Float32Array.of(0, 0, 1, 2, 0, 0, 5, 6));
    // Another executable with the same state goes on with it; one without it, or none at all, is refused.
    const other = await engine.compile(fn);
    const more = { row: f32([1, 2], [0, 0]), begin: i32([2], [0, 0]), end: i32([2], [1, 2]) };
    expect(await other.run(more, state)).toMatchObject({ total: { data: Float32Array.of(14) } });
    await expect(other.run(more)).rejects.toThrow("keeps state (cache), found none");
    state.dispose();
    await expect(other.run(more, state)).rejects.toThrow("found a disposed one");
  });

  test("an input of another shape or type is refused by name", async () => {
    const b = new Builder("main");
    const x = b.input("x", fp32(2));
    const executable = await (await engines)[0].compile(b.build({ y: b.exp(x) }));
    await expect(executable.run({ x: f32([3], [1, 2, 3]) })).rejects.toThrow("input x must be fp32[2], found fp32[3]");
    await expect(executable.run({ x: i32([2], [1, 2]) })).rejects.toThrow("input x must be fp32[2], found int32[2]");
    await expect(executable.run({})).rejects.toThrow("input x fp32[2] is missing");
    await expect(executable.run({ x: f32([2], [1, 2]), z: f32([1], [1]) })).rejects.toThrow('has no input "z"');
  });
});
