/**
 * @file Cases for every op of the table: arguments with random data on shapes with axes of size 1 and 0 where
 * they are legal, chosen away from ties, poles and jumps so that finite differences mean something.
 */
import type { ParamValue } from "../../lib/mil/program.ts";
import { type DType, elementCount, isFloat, type Shape } from "../../lib/mil/types.ts";
import { createRng, type Rng } from "../../lib/random.ts";
import type { Naive } from "./naive.ts";

export interface OpCase {
  readonly op: string;
  readonly label: string;
  readonly inputs: Readonly<Record<string, Naive | readonly Naive[]>>;
  readonly params: Readonly<Record<string, ParamValue>>;
  /** Inputs that are constants of the program. */
  readonly constant?: readonly string[];
  /** Inputs not to differentiate although they are floats: the op has no gradient for them here. */
  readonly fixed?: readonly string[];
  /** False where the op has no gradient for these arguments. */
  readonly gradient?: false;
  /** False where the arguments do not exist in fp16. */
  readonly float16?: false;
}

const naive = (dtype: DType, shape: Shape, value: (i: number) => number): Naive => ({
  dtype,
  shape,
  data: Float64Array.from({ length: elementCount(shape) }, (_, i) =>
    isFloat(dtype) ? Math.fround(value(i)) : value(i),
  ),
});

/** Every shape an elementwise op should bear. */
const plainShapes: readonly Shape[] = [[], [1], [5], [2, 1, 3], [2, 3, 4], [0], [2, 0, 3], [1, 2, 1, 2, 2]];
const broadcasts: readonly (readonly [Shape, Shape])[] = [
  [[], []],
  [[3], []],
  [
    [2, 3],
    [2, 3],
  ],
  [
    [2, 1, 3],
    [4, 1],
  ],
  [[4], [2, 3, 4]],
  [[1, 1], [1]],
  [
    [0, 3],
    [1, 3],
  ],
  [[2, 0], []],
];

const show = (shape: Shape): string => `[${shape.join(", ")}]`;

class Cases {
  readonly all: OpCase[] = [];
  readonly rng: Rng;

  constructor(rng: Rng) {
    this.rng = rng;
  }

  add(op: string, label: string, inputs: OpCase["inputs"], params: OpCase["params"] = {}, more: Partial<OpCase> = {}) {
    this.all.push({ op, label, inputs, params, ...more });
  }

  normal = (...shape: number[]): Naive => naive("fp32", shape, () => this.rng.normal());
  /** Values of either sign at least `gap` from zero. */
  apart = (shape: Shape, gap = 0.2): Naive =>
    naive("fp32", shape, () => (this.rng.uniform() < 0.5 ? -1 : 1) * (gap + this.rng.uniform()));
  uniform = (shape: Shape, low: number, high: number): Naive =>
    naive("fp32", shape, () => low + (high - low) * this.rng.uniform());
  /** Distinct values in random order, at least 0.1 apart. */
  distinct = (dtype: DType, shape: Shape): Naive => {
    const count = elementCount(shape);
    const order = this.rng.shuffle(Array.from({ length: count }, (_, i) => i - Math.floor(count / 2)));
    return naive(dtype, shape, (i) => (isFloat(dtype) ? (order[i] as number) * 0.125 + 0.0625 : (order[i] as number)));
  };
  integer = (shape: Shape, low: number, high: number, dtype: DType = "int32"): Naive =>
    naive(dtype, shape, () => low + this.rng.integer(high - low));
  bool = (shape: Shape): Naive => naive("bool", shape, () => this.rng.integer(2));
  /** Any type with some spread, for ops that only move elements. */
  of = (dtype: DType, shape: Shape): Naive => {
    if (isFloat(dtype)) return naive(dtype, shape, () => this.rng.normal());
    return dtype === "bool" ? this.bool(shape) : this.integer(shape, dtype.startsWith("u") ? 0 : -9, 10, dtype);
  };
}

function arithmetic(c: Cases): void {
  for (const op of ["add", "sub", "mul", "real_div", "maximum", "minimum"]) {
    for (const [x, y] of broadcasts) {
      const spread = c.distinct("fp32", x);
      // A shift keeps x and y apart, and y from zero.
      const y0 = c.apart(y);
      c.add(op, `${show(x)} and ${show(y)}`, {
        x: spread,
        y: { ...y0, data: y0.data.map((v) => Math.fround(v + 0.031)) },
      });
    }
    if (op !== "real_div") {
      c.add(op, "int32", { x: c.integer([2, 3], -9, 10), y: c.integer([3], 1, 5) }, {});
    }
  }
  for (const [x, y] of broadcasts) {
    c.add("pow", `${show(x)} and ${show(y)}`, { x: c.uniform(x, 0.3, 2), y: c.uniform(y, -1.5, 1.5) });
    for (const op of ["floor_div", "mod"]) {
      const divisor = c.apart(y, 0.6);
      c.add(op, `${show(x)} and ${show(y)}`, { x: c.uniform(x, -4, 4), y: divisor });
      const nonzero = c.integer(y, 1, 5);
      const signed = { ...nonzero, data: nonzero.data.map((v, i) => (i % 2 ? -v : v)) };
      c.add(op, `int32 ${show(x)} and ${show(y)}`, { x: c.integer(x, -9, 10), y: signed });
    }
    for (const op of ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]) {
      c.add(op, `${show(x)} and ${show(y)}`, { x: c.normal(...x), y: c.normal(...y) });
      c.add(op, `int32 ${show(x)} and ${show(y)}`, { x: c.integer(x, 0, 3), y: c.integer(y, 0, 3) });
    }
    for (const op of ["logical_and", "logical_or", "logical_xor"]) {
      c.add(op, `${show(x)} and ${show(y)}`, { x: c.bool(x), y: c.bool(y) });
    }
  }
  c.add(
    "pow",
    "negative base, whole exponent",
    { x: c.apart([6]), y: naive("fp32", [6], (i) => [1, 2, 3, -1, -2, 0][i] as number) },
    {},
    { fixed: ["y"] },
  );
  c.add("equal", "of infinities", {
    x: naive("fp32", [3], (i) => [Infinity, -Infinity, Infinity][i] as number),
    y: naive("fp32", [3], (i) => [Infinity, Infinity, 1][i] as number),
  });
}

function activations(c: Cases): void {
  for (const shape of plainShapes) {
    const label = show(shape);
    for (const op of ["identity", "erf", "square", "sin", "cos", "tanh", "sigmoid", "silu"]) {
      c.add(op, label, { x: c.normal(...shape) });
    }
    for (const op of ["exp", "exp2"]) c.add(op, label, { x: c.uniform(shape, -3, 2) });
    for (const op of ["abs", "sign", "relu"]) c.add(op, label, { x: c.apart(shape) });
    for (const op of ["floor", "ceil", "round"]) {
      c.add(op, label, { x: naive("fp32", shape, () => c.rng.integer(9) - 4 + 0.1 + 0.3 * c.rng.uniform()) });
    }
    c.add("sqrt", label, { x: c.uniform(shape, 0.1, 4) });
    for (const op of ["rsqrt", "inverse", "log"]) {
      c.add(op, label, { x: c.uniform(shape, 0.1, 4) }, { epsilon: 0.01 });
    }
    c.add("clip", label, { x: c.distinct("fp32", shape) }, { alpha: -0.5, beta: 0.75 });
    for (const mode of ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]) {
      c.add("gelu", `${mode} ${label}`, { x: c.normal(...shape) }, { mode });
    }
    for (const op of ["abs", "sign", "square"]) c.add(op, `int32 ${label}`, { x: c.integer(shape, -5, 6) });
    c.add("logical_not", label, { x: c.bool(shape) });
    for (const dtype of ["int32", "bool", "int8", "uint16"] as const) {
      c.add("identity", `${dtype} ${label}`, { x: c.of(dtype, shape) });
    }
  }
  const halves = naive("fp32", [6], (i) => [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5][i] as number);
  c.add("round", "half to even", { x: halves });
  for (const op of ["rsqrt", "inverse", "log"])
    c.add(op, "default epsilon", { x: c.uniform([4], 0.1, 4) }, {}, { float16: false });
  for (const op of ["silu", "sigmoid", "tanh", "erf", "gelu"]) {
    c.add(op, "saturated", { x: naive("fp32", [4], (i) => [-40, -12, 12, 40][i] as number) });
  }
  for (const to of ["int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool"]) {
    const low = to.startsWith("u") ? 0 : -4;
    c.add(
      "cast",
      `fp32 to ${to}`,
      { x: naive("fp32", [2, 3], (i) => low + i * 1.3 + 0.2) },
      { dtype: to },
      { float16: false },
    );
    c.add("cast", `int32 to ${to}`, { x: c.integer([3], 0, 9) }, { dtype: to });
    c.add("cast", `bool to ${to}`, { x: c.bool([4]) }, { dtype: to });
    c.add("cast", `uint8 to ${to}`, { x: c.integer([4], 0, 100, "uint8") }, { dtype: to });
    c.add("cast", `nothing to ${to}`, { x: c.normal(0, 2) }, { dtype: to }, { float16: false });
  }
  c.add(
    "cast",
    "to int32 truncates",
    { x: naive("fp32", [4], (i) => [-1.7, -0.3, 0.9, 2.5][i] as number) },
    { dtype: "int32" },
  );
  c.add("cast", "to bool is not zero", { x: naive("fp32", [3], (i) => [0, 0.25, -3][i] as number) }, { dtype: "bool" });
  for (const [cond, a, b] of [
    [
      [2, 3],
      [2, 3],
      [2, 3],
    ],
    [[3], [2, 1], []],
    [[], [2], [1]],
    [
      [2, 0],
      [2, 0],
      [1, 1],
    ],
    [[1, 3, 1], [2, 1, 1], [4]],
  ] as const) {
    const label = `${show(cond)} ${show(a)} ${show(b)}`;
    c.add("select", label, { cond: c.bool(cond), a: c.normal(...a), b: c.normal(...b) });
    for (const dtype of ["int32", "bool"] as const) {
      c.add("select", `${dtype} ${label}`, { cond: c.bool(cond), a: c.of(dtype, a), b: c.of(dtype, b) });
    }
  }
}

function products(c: Cases): void {
  for (const tx of [false, true]) {
    for (const ty of [false, true]) {
      for (const [batchX, batchY, m, k, n] of [
        [[], [], 3, 4, 2],
        [[2], [], 3, 4, 2],
        [[2, 3], [], 2, 3, 2],
        [[2, 3], [2, 3], 2, 3, 1],
        [[2, 1], [3], 1, 2, 3],
        [[], [2], 3, 1, 2],
        [[1], [2], 2, 2, 2],
        [[2], [2], 2, 0, 2],
        [[], [], 2, 0, 3],
        [[0], [0], 2, 3, 2],
        [[], [], 0, 3, 2],
        [[2], [], 3, 0, 2],
      ] as const) {
        const x = tx ? [...batchX, k, m] : [...batchX, m, k];
        const y = ty ? [...batchY, n, k] : [...batchY, k, n];
        const label = `${show(x)}${tx ? "ᵀ" : ""} ${show(y)}${ty ? "ᵀ" : ""}`;
        // The gradient of a product over no elements flows into tensors without elements.
        c.add("matmul", label, { x: c.normal(...x), y: c.normal(...y) }, { transpose_x: tx, transpose_y: ty });
      }
      const shape: [Shape, Shape] = [tx ? [2, 4, 3] : [2, 3, 4], ty ? [2, 4] : [4, 2]];
      c.add(
        "matmul",
        `int32 ${tx} ${ty}`,
        { x: c.integer(shape[0], -3, 4), y: c.integer(shape[1], -3, 4) },
        { transpose_x: tx, transpose_y: ty },
      );
    }
  }
  for (const x of [[4], [3, 4], [2, 3, 4], [1, 1, 4], [0, 4], [2, 0]] as const) {
    const width = x.at(-1) as number;
    c.add("linear", show(x), { x: c.normal(...x), weight: c.normal(3, width) });
    c.add("linear", `${show(x)} with bias`, { x: c.normal(...x), weight: c.normal(3, width), bias: c.normal(3) });
  }
  c.add("linear", "int32", {
    x: c.integer([2, 3], -3, 4),
    weight: c.integer([2, 3], -3, 4),
    bias: c.integer([2], -3, 4),
  });

  const pointwise = { strides: [1, 1], pad: [0, 0, 0, 0], dilations: [1, 1] };
  for (const bias of [false, true]) {
    c.add(
      "conv",
      `pointwise${bias ? " with bias" : ""}`,
      { x: c.normal(2, 3, 1, 4), weight: c.normal(5, 3, 1, 1), ...(bias ? { bias: c.normal(5) } : {}) },
      pointwise,
    );
    c.add(
      "conv",
      `grouped${bias ? " with bias" : ""}`,
      { x: c.normal(1, 4, 3, 5), weight: c.normal(6, 2, 2, 3), ...(bias ? { bias: c.normal(6) } : {}) },
      { ...pointwise, groups: 2 },
      { gradient: false },
    );
  }
  c.add(
    "conv",
    "depthwise, one axis, causal",
    { x: c.normal(2, 3, 6), weight: c.normal(3, 1, 4) },
    { strides: [1], pad: [3, 0], dilations: [1], groups: 3, pad_type: "custom" },
    { gradient: false },
  );
  for (const pad_type of ["same", "same_lower", "valid"]) {
    c.add(
      "conv",
      `${pad_type} with strides and dilations`,
      { x: c.normal(1, 2, 7, 6), weight: c.normal(2, 2, 3, 2) },
      { strides: [2, 1], pad: [0, 0, 0, 0], dilations: [1, 2], pad_type },
      { gradient: false },
    );
  }
  c.add(
    "conv",
    "three axes",
    { x: c.normal(1, 1, 2, 3, 3), weight: c.normal(2, 1, 1, 2, 2) },
    { strides: [1, 1, 1], pad: [0, 0, 0, 0, 0, 0], dilations: [1, 1, 1] },
    { gradient: false },
  );

  const q = [2, 3, 4];
  for (const [label, mask] of [
    ["no mask", null],
    ["mask", c.normal(3, 5)],
    ["boolean mask", naive("bool", [2, 3, 5], (i) => Number(i % 3 !== 1))],
  ] as const) {
    const inputs = { query: c.normal(...q), key: c.normal(2, 5, 4), value: c.normal(2, 5, 6) };
    c.add(
      "scaled_dot_product_attention",
      label,
      { ...inputs, ...(mask ? { attn_mask: mask } : {}) },
      {},
      { fixed: ["attn_mask"] },
    );
  }
  c.add("scaled_dot_product_attention", "rank 4, one position", {
    query: c.normal(1, 2, 1, 2),
    key: c.normal(1, 2, 3, 2),
    value: c.normal(1, 2, 3, 1),
  });
  c.add("scaled_dot_product_attention", "no queries", {
    query: c.normal(1, 0, 2),
    key: c.normal(1, 3, 2),
    value: c.normal(1, 3, 2),
  });
}

function norms(c: Cases): void {
  for (const [shape, axis] of [
    [[5], 0],
    [[2, 3], -1],
    [[2, 3, 4], 1],
    [[2, 1], -1],
    [[3, 2, 2], 0],
    [[0, 3], -1],
  ] as const) {
    c.add("softmax", `${show(shape)} axis ${axis}`, { x: c.normal(...shape) }, { axis });
  }
  c.add("softmax", "of large scores", {
    x: naive("fp32", [2, 3], (i) => [1000, 999, -1000, -30000, 0, -1][i] as number),
  });
  for (const [shape, axes] of [
    [[2, 5], [-1]],
    [
      [2, 3, 4],
      [1, 2],
    ],
    [[2, 3, 4], [1]],
    [
      [2, 3, 4],
      [0, 2],
    ],
    [[4, 1], [0]],
    [[0, 3], [1]],
  ] as const) {
    const inner = axes.map((a) => shape.at(a) as number);
    const label = `${show(shape)} axes ${show(axes)}`;
    c.add("layer_norm", label, { x: c.normal(...shape) }, { axes, epsilon: 0.01 });
    c.add(
      "layer_norm",
      `${label}, gamma and beta`,
      { x: c.normal(...shape), gamma: c.normal(...inner), beta: c.normal(...inner) },
      { axes, epsilon: 0.01 },
    );
  }
  c.add("layer_norm", "beta alone", { x: c.normal(2, 4), beta: c.normal(4) }, { axes: [1] });
  for (const shape of [
    [2, 2, 3],
    [2, 3, 1, 4],
    [1, 1, 1],
    [0, 1, 2, 3],
  ] as const) {
    c.add("l2_norm", show(shape), { x: c.normal(...shape) }, { epsilon: 0.01 });
  }
}

function reductions(c: Cases): void {
  const sums = [
    "reduce_sum",
    "reduce_mean",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_sum_square",
    "reduce_l2_norm",
    "reduce_l1_norm",
    "reduce_log_sum_exp",
  ];
  for (const op of sums) {
    for (const keep_dims of [false, true]) {
      for (const [shape, axes] of [
        [[3], [0]],
        [[2, 3, 4], [1]],
        [
          [2, 3, 4],
          [-1, 0],
        ],
        [[2, 1, 3], [1]],
        [
          [2, 3],
          [0, 1],
        ],
        [[0, 3], [1]],
        [[2, 3], []],
        [[], []],
      ] as const) {
        const x = op === "reduce_max" || op === "reduce_min" ? c.distinct("fp32", shape) : c.apart(shape);
        c.add(op, `${show(shape)} axes ${show(axes)} keep ${keep_dims}`, { x }, { axes, keep_dims });
      }
    }
  }
  const scores = [1000, 999, -1000, -30000, Number.NEGATIVE_INFINITY, -1];
  const large = naive("fp32", [scores.length], (i) => scores[i] as number);
  c.add("reduce_log_sum_exp", "of large and masked scores", { x: large }, { axes: [0] }, { gradient: false });
  for (const op of ["reduce_sum", "reduce_prod", "reduce_sum_square", "reduce_l1_norm"]) {
    c.add(op, "of nothing", { x: c.normal(2, 0, 3) }, { axes: [1] }, { gradient: false });
  }
  for (const op of ["reduce_sum", "reduce_max", "reduce_min"])
    c.add(op, "int32", { x: c.distinct("int32", [2, 3]) }, { axes: [0] });

  for (const op of ["reduce_argmax", "reduce_argmin"]) {
    for (const dtype of ["fp32", "int32"] as const) {
      for (const [shape, axis, keep_dims] of [
        [[4], 0, false],
        [[2, 3, 4], 1, true],
        [[2, 3], -1, false],
        [[0, 3], 1, false],
        [[2, 1], 1, true],
      ] as const) {
        c.add(op, `${dtype} ${show(shape)} axis ${axis}`, { x: c.distinct(dtype, shape) }, { axis, keep_dims });
      }
    }
    c.add(op, "uint16", { x: c.distinct("fp32", [2, 3]) }, { output_dtype: "uint16" });
  }
  for (const dtype of ["fp32", "int32"] as const) {
    for (const [shape, axis, k] of [
      [[5], 0, 3],
      [[2, 4], -1, 1],
      [[3, 2, 2], 0, 3],
      [[1, 1], 1, 1],
      [[0, 3], 1, 2],
    ] as const) {
      for (const ascending of [false, true]) {
        c.add(
          "topk",
          `${dtype} ${show(shape)} k ${k} ascending ${ascending}`,
          { x: c.distinct(dtype, shape) },
          { axis, k, ascending },
        );
      }
      c.add(
        "argsort",
        `${dtype} ${show(shape)} axis ${axis}`,
        { x: c.distinct(dtype, shape) },
        { axis, ascending: k % 2 === 0 },
      );
    }
  }
  c.add("topk", "values alone", { x: c.distinct("fp32", [4]) }, { k: 2, return_indices: false });
  c.add("topk", "uint16 indices", { x: c.distinct("fp32", [4]) }, { k: 2, output_indices_dtype: "uint16" });
  for (const exclusive of [false, true]) {
    for (const reverse of [false, true]) {
      for (const [shape, axis] of [
        [[4], 0],
        [[2, 3, 2], 1],
        [[2, 1], -1],
        [[0, 2], 1],
      ] as const) {
        c.add(
          "cumsum",
          `${show(shape)} axis ${axis} ${exclusive} ${reverse}`,
          { x: c.normal(...shape) },
          { axis, exclusive, reverse },
        );
      }
      c.add("cumsum", `int32 ${exclusive} ${reverse}`, { x: c.integer([5], -4, 5) }, { exclusive, reverse });
    }
  }
}

function movement(c: Cases): void {
  for (const dtype of ["fp32", "int32", "bool", "uint8"] as const) {
    const x = (...shape: number[]): Naive => c.of(dtype, shape);
    // What never took the narrow integers.
    const basic = dtype !== "uint8";
    const add = (
      op: string,
      label: string,
      inputs: OpCase["inputs"],
      params: OpCase["params"],
      more: Partial<OpCase> = {},
    ): void => c.add(op, `${dtype} ${label}`, inputs, params, more);
    for (const [from, to] of [
      [[2, 3], [6]],
      [
        [2, 3],
        [3, -1],
      ],
      [
        [4, 6],
        [0, 2, 12],
      ],
      [[1], []],
      [[], [1, 1]],
      [
        [0, 3],
        [3, 0],
      ],
      [
        [2, 3, 4],
        [2, 0, 4],
      ],
    ] as const) {
      if (from.length === 2 && to.length === 3) {
        add("reshape", "[6, 4] to [3, 2, 0]: 0 copies from the right", { x: x(6, 4) }, { shape: [3, 2, 0] });
      } else add("reshape", `${show(from)} to ${show(to)}`, { x: x(...from) }, { shape: to });
    }
    for (const [shape, perm] of [
      [
        [2, 3],
        [1, 0],
      ],
      [
        [2, 3, 4],
        [2, 0, 1],
      ],
      [
        [2, 1, 3, 2],
        [0, 2, -3, -1],
      ],
      [[3], [0]],
      [[], []],
      [
        [0, 2],
        [1, 0],
      ],
    ] as const) {
      add("transpose", `${show(shape)} by ${show(perm)}`, { x: x(...shape) }, { perm });
    }
    for (const [shape, axes] of [
      [[2, 3], [0]],
      [
        [2, 3],
        [-1, 1],
      ],
      [[], [0, 1]],
      [[0], [1]],
    ] as const) {
      add("expand_dims", `${show(shape)} at ${show(axes)}`, { x: x(...shape) }, { axes });
    }
    for (const [shape, axes] of [
      [[1, 3], [0]],
      [
        [1, 2, 1],
        [0, -1],
      ],
      [[1], [0]],
      [[0, 1], [1]],
    ] as const) {
      add("squeeze", `${show(shape)} at ${show(axes)}`, { x: x(...shape) }, { axes });
    }
    add("concat", "rows", { values: [x(2, 3), x(1, 3), x(0, 3)] }, { axis: 0 });
    add("concat", "last axis", { values: [x(2, 1, 2), x(2, 1, 3)] }, { axis: -1 });
    add("concat", "one", { values: [x(3)] }, { axis: 0 });
    add("concat", "nothing", { values: [x(0, 2), x(0, 3)] }, { axis: 1 });
    add("stack", "front", { values: [x(2, 3), x(2, 3)] }, { axis: 0 });
    add("stack", "back", { values: [x(2), x(2), x(2)] }, { axis: -1 });
    add("stack", "scalars", { values: [x(), x()] }, { axis: 0 });
    if (basic) {
      add("split", "even", { x: x(2, 6) }, { num_splits: 3, axis: 1 });
      add("split", "uneven", { x: x(6, 2) }, { split_sizes: [1, 0, 5], axis: -2 });
      add("split", "one", { x: x(3) }, { num_splits: 1, axis: 0 });
    }
    for (const [shape, reps] of [
      [
        [2, 3],
        [2, 1],
      ],
      [
        [1, 3],
        [4, 1],
      ],
      [[2], [3]],
      [
        [2, 3],
        [2, 2],
      ],
      [
        [1, 1],
        [1, 1],
      ],
      [
        [0, 2],
        [2, 3],
      ],
      [
        [2, 2],
        [0, 1],
      ],
    ] as const) {
      if (basic) add("tile", `${show(shape)} by ${show(reps)}`, { x: x(...shape) }, { reps });
    }
    const t = (): Naive => x(4, 5, 3);
    add("slice_by_index", "plain", { x: t() }, { begin: [1, 0, 0], end: [3, 5, 2] });
    add("slice_by_index", "all", { x: t() }, { begin: [0, 0, 0], end: [4, 5, 3] });
    add("slice_by_index", "from the end", { x: t() }, { begin: [-2, 0, -3], end: [4, -1, 3] });
    add(
      "slice_by_index",
      "stride",
      { x: t() },
      { begin: [0, 1, 0], end: [4, 5, 3], stride: [2, 3, 1] },
      { gradient: false },
    );
    add(
      "slice_by_index",
      "masks",
      { x: t() },
      { begin: [2, 3, 1], end: [1, 1, 2], begin_mask: [true, true, false], end_mask: [true, true, false] },
    );
    add(
      "slice_by_index",
      "squeezed",
      { x: t() },
      { begin: [2, 0, -1], end: [0, 5, 0], squeeze_mask: [true, false, true] },
    );
    add("slice_by_index", "nothing", { x: t() }, { begin: [2, 0, 0], end: [2, 5, 3] });
    const begin = naive("int32", [3], (i) => [1, 2, 0][i] as number);
    add("slice_by_size", "known", { x: t() }, { begin: [1, 2, 0], size: [2, -1, 3] }, { gradient: false });
    add("slice_by_size", "at run time", { x: t(), begin }, { size: [2, 1, 3] }, { gradient: false });
    const end = naive("int32", [3], (i) => [3, 4, 3][i] as number);
    add(
      "slice_update",
      "known",
      { x: t(), update: x(2, 2, 3) },
      { begin: [1, 2, 0], end: [3, 4, 3] },
      { gradient: false },
    );
    add("slice_update", "at run time", { x: t(), update: x(2, 2, 3), begin, end }, {}, { gradient: false });
    add(
      "slice_update",
      "inner axis",
      {
        x: t(),
        update: x(4, 5, 1),
        begin: naive("int32", [3], (i) => [0, 0, 2][i] as number),
        end: naive("int32", [3], (i) => [4, 5, 3][i] as number),
      },
      {},
      { gradient: false },
    );
    add(
      "slice_update",
      "masked",
      { x: t(), update: x(4, 2, 3), begin, end },
      { begin_mask: [true, false, true], end_mask: [true, false, true] },
      { gradient: false },
    );
    add("slice_update", "whole", { x: t(), update: t() }, { begin: [0, 0, 0], end: [4, 5, 3] }, { gradient: false });
    add(
      "slice_update",
      "from the end",
      { x: t(), update: x(1, 5, 3) },
      { begin: [-1, 0, 0], end: [4, 5, 3] },
      { gradient: false },
    );
    add(
      "slice_update",
      "from the end at run time",
      {
        x: t(),
        update: x(1, 5, 3),
        begin: naive("int32", [3], (i) => [-1, 0, 0][i] as number),
        end: naive("int32", [3], (i) => [4, 5, 3][i] as number),
      },
      {},
      { gradient: false },
    );
    add(
      "slice_update",
      "stride",
      { x: t(), update: x(2, 2, 3) },
      { begin: [0, 1, 0], end: [4, 5, 3], stride: [2, 3, 1] },
      { gradient: false },
    );
    add(
      "slice_update",
      "nothing",
      { x: t(), update: x(0, 5, 3) },
      { begin: [1, 0, 0], end: [1, 5, 3] },
      { gradient: false },
    );
    if (dtype === "fp32") {
      add("pad", "constant", { x: x(2, 3) }, { pad: [1, 0, 0, 2], constant_val: -1.5 });
      add("pad", "last axis", { x: x(2, 2, 2) }, { pad: [0, 3] });
      add("pad", "none", { x: x(2) }, { pad: [0, 0] });
      add("pad", "nothing", { x: x(0, 2) }, { pad: [1, 1, 0, 0] });
      add("pad", "reflect", { x: x(3, 4) }, { pad: [1, 2, 3, 0], mode: "reflect" }, { gradient: false });
      add("pad", "replicate", { x: x(2, 3) }, { pad: [1, 2, 0, 3], mode: "replicate" }, { gradient: false });
    }
  }
  c.add("fill", "matrix", {}, { shape: [2, 3], value: 1.5 });
  c.add("fill", "scalar", {}, { shape: [], value: -2 });
  c.add("fill", "nothing", {}, { shape: [0, 2] });
  c.add("fill_like", "of integers", { ref_tensor: c.integer([2, 1], 0, 5) }, { value: 0.5 });
  c.add("range_1d", "up", {}, { start: 2, end: 9, step: 3 });
  c.add("range_1d", "down", {}, { start: 3, end: -3, step: -2 });
  c.add("range_1d", "nothing", {}, { start: 2, end: 2 });
  c.add("shape", "of a tensor", { x: c.normal(2, 0, 3) });
  c.add("shape", "of a scalar", { x: c.normal() });
  for (const axis of [-1, 0, 1]) {
    c.add(
      "one_hot",
      `axis ${axis}`,
      { indices: c.integer([2, 3], -1, 5) },
      { one_hot_vector_size: 4, axis, on_value: 2, off_value: -1 },
    );
  }
  for (const [lower, upper] of [
    [-1, 0],
    [0, -1],
    [1, 1],
    [-1, -1],
    [0, 0],
    [2, 0],
  ] as const) {
    c.add("band_part", `${lower} ${upper}`, { x: c.normal(2, 4, 3) }, { lower, upper });
    c.add("band_part", `int32 ${lower} ${upper}`, { x: c.integer([3, 4], 1, 9) }, { lower, upper });
  }
}

function indexing(c: Cases): void {
  for (const dtype of ["fp32", "int32", "uint8"] as const) {
    for (const [shape, indices, axis] of [
      [[4], [3], 0],
      [[4, 2], [2, 3], 0],
      [[2, 5, 3], [4], 1],
      [[2, 3], [], -1],
      [[2, 3], [0], 0],
      [[3, 1], [2], -1],
      [[3, 0], [2], 0],
    ] as const) {
      const label = `${dtype} ${show(shape)} at ${show(indices)} axis ${axis}`;
      c.add(
        "gather",
        label,
        { x: c.of(dtype, shape), indices: c.integer(indices, 0, shape.at(axis) as number) },
        { axis },
      );
    }
    c.add(
      "gather",
      `${dtype} batch`,
      { x: c.of(dtype, [2, 4, 3]), indices: c.integer([2, 5], 0, 4) },
      { axis: 1, batch_dims: 1 },
      { gradient: false },
    );
    c.add(
      "gather",
      `${dtype} batch, later axis`,
      { x: c.of(dtype, [2, 3, 4, 2]), indices: c.integer([2, 5], 0, 4) },
      { axis: 2, batch_dims: 1 },
      { gradient: false },
    );
    c.add(
      "gather",
      `${dtype} batch, one index each`,
      { x: c.of(dtype, [3, 4]), indices: c.integer([3], 0, 4) },
      { axis: 1, batch_dims: 1 },
      { gradient: false },
    );
    for (const [shape, indices, axis] of [
      [[4], [6], 0],
      [[3, 4], [3, 2], 1],
      [[3, 2, 2], [1, 2, 2], 0],
      [[2, 3], [2, 0], -1],
    ] as const) {
      c.add(
        "gather_along_axis",
        `${dtype} ${show(shape)} at ${show(indices)} axis ${axis}`,
        { x: c.of(dtype, shape), indices: c.integer(indices, 0, shape.at(axis) as number) },
        { axis },
      );
    }
    c.add("gather_nd", `${dtype} rows`, { x: c.of(dtype, [3, 2]), indices: c.integer([4, 1], 0, 3) });
    c.add("gather_nd", `${dtype} elements`, { x: c.of(dtype, [3, 2]), indices: c.integer([2, 2, 2], 0, 2) });
    c.add(
      "gather_nd",
      `${dtype} batch`,
      { x: c.of(dtype, [2, 3, 2]), indices: c.integer([2, 4, 1], 0, 3) },
      { batch_dims: 1 },
      { gradient: false },
    );
    c.add("gather_nd", `${dtype} none`, { x: c.of(dtype, [3, 2]), indices: c.integer([0, 1], 0, 3) });
  }
  for (const dtype of ["uint8", "int8", "uint16", "int16"] as const) {
    c.add("gather", `${dtype} indices`, { x: c.normal(4, 2), indices: c.integer([3], 0, 4, dtype) });
  }
  for (const mode of ["add", "sub", "mul", "div", "max", "min", "update"]) {
    for (const dtype of ["fp32", "int32"] as const) {
      if (dtype === "int32" && mode === "div") continue;
      // Repeated indices everywhere but for `update`, whose order MIL leaves open.
      const pick = (shape: Shape, size: number): Naive => {
        if (mode !== "update") return c.integer(shape, 0, size);
        const distinct = c.rng.shuffle(Array.from({ length: size }, (_, i) => i));
        return naive("int32", shape, (i) => distinct[i] as number);
      };
      const x = (...shape: number[]): Naive => (dtype === "fp32" ? c.apart(shape) : c.integer(shape, 1, 5));
      const more: Partial<OpCase> = mode === "add" ? {} : { gradient: false };
      c.add(
        "scatter",
        `${dtype} ${mode} rows`,
        { data: x(6, 2), indices: pick([5], 6), updates: x(5, 2) },
        { mode },
        more,
      );
      c.add(
        "scatter",
        `${dtype} ${mode} inner`,
        { data: x(2, 6, 3), indices: pick([2, 2], 6), updates: x(2, 2, 2, 3) },
        { mode, axis: 1 },
        more,
      );
      c.add(
        "scatter",
        `${dtype} ${mode} last, one index`,
        { data: x(2, 3), indices: pick([], 3), updates: x(2) },
        { mode, axis: -1 },
        more,
      );
      c.add(
        "scatter",
        `${dtype} ${mode} none`,
        { data: x(2, 3), indices: c.integer([0], 0, 2), updates: x(0, 3) },
        { mode },
        more,
      );
      c.add(
        "scatter_along_axis",
        `${dtype} ${mode} line`,
        { data: x(5), indices: pick([4], 5), updates: x(4) },
        { mode },
        more,
      );
      c.add(
        "scatter_along_axis",
        `${dtype} ${mode} columns`,
        { data: x(1, 5), indices: pick([1, 4], 5), updates: x(1, 4) },
        { mode, axis: 1 },
        more,
      );
      c.add(
        "scatter_along_axis",
        `${dtype} ${mode} none`,
        { data: x(2, 3), indices: c.integer([2, 0], 0, 3), updates: x(2, 0) },
        { mode, axis: 1 },
        more,
      );
      c.add(
        "scatter_nd",
        `${dtype} ${mode} rows`,
        { data: x(5, 2), indices: pick([4, 1], 5), updates: x(4, 2) },
        { mode },
        more,
      );
      const pairs =
        mode === "update" ? naive("int32", [3, 2], (i) => [0, 1, 2, 0, 1, 1][i] as number) : c.integer([3, 2], 0, 2);
      c.add(
        "scatter_nd",
        `${dtype} ${mode} elements`,
        { data: x(3, 2), indices: pairs, updates: x(3) },
        { mode },
        more,
      );
      c.add(
        "scatter_nd",
        `${dtype} ${mode} none`,
        { data: x(3, 2), indices: c.integer([0, 1], 0, 3), updates: x(0, 2) },
        { mode },
        more,
      );
    }
  }
}

function compressed(c: Cases): void {
  const all = (names: string[]): Partial<OpCase> => ({ constant: names, gradient: false, float16: false });
  const half = (shape: Shape): Naive => ({
    ...naive("fp32", shape, () => Math.round(c.rng.normal() * 64) / 64),
    dtype: "fp16",
  });
  const positive = (dtype: "fp16" | "fp32", shape: Shape): Naive =>
    naive(dtype, shape, () => (1 + c.rng.integer(200)) / 256);
  for (const [data, low, high] of [
    ["int8", -128, 128],
    ["uint8", 0, 256],
    ["int4", -8, 8],
    ["uint4", 0, 16],
  ] as const) {
    for (const [shape, blocks] of [
      [
        [4, 6],
        [4, 2],
      ],
      [
        [4, 6],
        [1, 1],
      ],
      [
        [2, 4, 1, 1],
        [2, 2, 1, 1],
      ],
      [
        [1, 3],
        [1, 3],
      ],
    ] as const) {
      const codes = c.integer(shape, low, high, data);
      const label = `${data} ${show(shape)} by ${show(blocks)}`;
      for (const dtype of ["fp16", "fp32"] as const) {
        c.add(
          "constexpr_blockwise_shift_scale",
          `${label} ${dtype}`,
          { data: codes, scale: positive(dtype, blocks) },
          {},
          all(["data", "scale"]),
        );
        c.add(
          "constexpr_blockwise_shift_scale",
          `${label} ${dtype} with offset`,
          { data: codes, scale: positive(dtype, blocks), offset: c.integer(blocks, low, high, data) },
          {},
          all(["data", "scale", "offset"]),
        );
      }
    }
  }
  c.add(
    "constexpr_blockwise_shift_scale",
    "fp16 data",
    { data: half([2, 4]), scale: positive("fp16", [2, 1]), offset: half([2, 1]) },
    {},
    all(["data", "scale", "offset"]),
  );
  for (const [dtype, bits] of [
    ["uint1", 1],
    ["uint2", 2],
    ["uint3", 3],
    ["uint4", 4],
    ["uint6", 6],
    ["uint8", 8],
  ] as const) {
    const entries = 2 ** bits;
    const indices = c.integer([4, 6], 0, entries, dtype);
    c.add(
      "constexpr_lut_to_dense",
      `${dtype} one table`,
      { indices, lut: half([1, 1, entries, 1]) },
      {},
      all(["indices", "lut"]),
    );
    c.add(
      "constexpr_lut_to_dense",
      `${dtype} tables of two rows`,
      { indices, lut: half([2, 1, entries, 1]) },
      {},
      all(["indices", "lut"]),
    );
    c.add(
      "constexpr_lut_to_dense",
      `${dtype} tables of blocks, fp32`,
      { indices, lut: c.normal(2, 3, entries, 1) },
      {},
      all(["indices", "lut"]),
    );
  }
  for (const vector_axis of [0, 1]) {
    c.add(
      "constexpr_lut_to_dense",
      `pairs along ${vector_axis}`,
      { indices: c.integer([2, 3], 0, 4, "uint2"), lut: half([2, 1, 4, 2]) },
      { vector_axis },
      all(["indices", "lut"]),
    );
  }
  c.add(
    "constexpr_lut_to_dense",
    "int8 table",
    { indices: c.integer([2, 3], 0, 4, "uint2"), lut: c.integer([1, 1, 4, 1], -128, 128, "int8") },
    {},
    all(["indices", "lut"]),
  );
  const mask = naive("uint1", [3, 4], (i) => Number(i % 3 === 0 || i === 10));
  const ones = mask.data.reduce((n, m) => n + m, 0);
  c.add("constexpr_sparse_to_dense", "fp16", { nonzero_data: half([ones]), mask }, {}, all(["nonzero_data", "mask"]));
  c.add(
    "constexpr_sparse_to_dense",
    "int8",
    { nonzero_data: c.integer([ones], -9, 9, "int8"), mask },
    {},
    all(["nonzero_data", "mask"]),
  );
  c.add(
    "constexpr_sparse_to_dense",
    "all zero",
    { nonzero_data: half([0]), mask: naive("uint1", [2, 2], () => 0) },
    {},
    all(["nonzero_data", "mask"]),
  );
  for (const [label, lut, params] of [
    ["one table", half([1, 1, 16, 1]), {}],
    ["a table per row, fp32", c.normal(3, 1, 16, 1), {}],
    ["pairs along 0", half([1, 1, 16, 2]), { vector_axis: 0 }],
    ["pairs along 1", half([3, 1, 16, 2]), { vector_axis: 1 }],
    ["int8 table", c.integer([1, 1, 16, 1], -128, 128, "int8"), {}],
  ] as const) {
    const inputs = { indices_mask: mask, indices_nonzero_data: c.integer([ones], 0, 16, "uint4"), lut };
    c.add("constexpr_lut_to_sparse", label, inputs, params, all(Object.keys(inputs)));
  }
  for (const [label, more] of [
    ["a scale per row", { scale: positive("fp16", [3, 1]) }],
    ["blocks with offsets, fp32", { scale: positive("fp32", [3, 2]), offset: c.integer([3, 2], -9, 9, "int8") }],
  ] as const) {
    const inputs = { data_mask: mask, nonzero_data: c.integer([ones], -128, 128, "int8"), ...more };
    c.add("constexpr_sparse_blockwise_shift_scale", label, inputs, {}, all(Object.keys(inputs)));
  }
  c.add("constexpr_cast", "fp16 to fp32", { source_val: half([2, 3]) }, {}, all(["source_val"]));

  for (const [output_dtype, dtype] of [
    ["int8", "int8"],
    ["uint8", "uint8"],
  ] as const) {
    // Quotients a quarter from a tie, some beyond the range.
    const x = naive("fp32", [2, 3, 4], () => 0.5 * (c.rng.integer(600) - 300 + 0.25));
    const codes = c.integer([2, 3, 4], dtype === "int8" ? -128 : 0, dtype === "int8" ? 128 : 256, dtype);
    const scale = naive("fp32", [], () => 0.5);
    const scales = naive("fp32", [3], (i) => 2 ** (i - 2));
    const zero = c.integer([], 0, 9, dtype);
    const zeros = c.integer([3], 0, 9, dtype);
    c.add("quantize", `${dtype}`, { input: x, scale }, { output_dtype }, { gradient: false });
    c.add(
      "quantize",
      `${dtype} with zero point`,
      { input: x, scale, zero_point: zero },
      { output_dtype },
      { gradient: false },
    );
    c.add(
      "quantize",
      `${dtype} along an axis`,
      { input: x, scale: scales, zero_point: zeros },
      { output_dtype, axis: 1 },
      { gradient: false },
    );
    c.add("dequantize", `${dtype}`, { input: codes, scale }, {}, { gradient: false });
    c.add("dequantize", `${dtype} with zero point`, { input: codes, scale, zero_point: zero }, {}, { gradient: false });
    c.add(
      "dequantize",
      `${dtype} along an axis`,
      { input: codes, scale: scales, zero_point: zeros },
      { axis: -2 },
      { gradient: false },
    );
  }
}

/** Every case, the same at every call. */
export function opCases(): readonly OpCase[] {
  const c = new Cases(createRng(20, "op-cases"));
  for (const family of [arithmetic, activations, products, norms, reductions, movement, indexing, compressed])
    family(c);
  return c.all;
}
