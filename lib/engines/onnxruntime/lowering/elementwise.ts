/** @file Arithmetic, activations, comparisons, `select` and `cast` in ONNX. */
import { isFloat } from "../../../mil/types.ts";
import { onnxType } from "../graph.ts";
import { type Lowering, type LoweringContext, resultShape } from "./context.ts";

const binary =
  (type: string): Lowering =>
  ({ g, name }) =>
    g.node(type, [name("x"), name("y")]);

const unary =
  (type: string): Lowering =>
  ({ g, name }) =>
    g.node(type, [name("x")]);

/** x + epsilon, or x where epsilon is nothing in f32. */
function shifted(c: LoweringContext): string {
  const epsilon = Math.fround(c.float("epsilon", c.op.tensor("x").dtype));
  return epsilon === 0 ? c.name("x") : c.g.node("Add", [c.name("x"), c.g.float(epsilon)]);
}

/** A remainder of another sign than its divisor, which is where truncation and floor part. */
function signsDiffer({ g, op, name }: LoweringContext, remainder: string): string {
  const zero = g.scalar(op.tensor("x").dtype, 0);
  const nonzero = g.node("Not", [g.node("Equal", [remainder, zero])]);
  const differ = g.node("Xor", [g.node("Less", [remainder, zero]), g.node("Less", [name("y"), zero])]);
  return g.node("And", [nonzero, differ]);
}

const mod: Lowering = (c) => {
  const { g, op, name } = c;
  const float = isFloat(op.tensor("x").dtype);
  const r = g.node("Mod", [name("x"), name("y")], { fmod: float ? 1 : 0 });
  // An integer Mod already takes the sign of the divisor; a float one takes that of the dividend.
  return float ? g.node("Where", [signsDiffer(c, r), g.node("Add", [r, name("y")]), r]) : r;
};

const floorDiv: Lowering = (c) => {
  const { g, op, name } = c;
  const quotient = g.node("Div", [name("x"), name("y")]);
  if (isFloat(op.tensor("x").dtype)) return g.node("Floor", [quotient]);
  const r = g.node("Sub", [name("x"), g.node("Mul", [quotient, name("y")])]);
  return g.node("Sub", [quotient, g.cast(signsDiffer(c, r), "int32")]);
};

const gelu: Lowering = ({ g, op, name }) => {
  const mode = op.string("mode");
  if (mode === "SIGMOID_APPROXIMATION") {
    return g.node("QuickGelu", [name("x")], { alpha: { float: 1.702 } }, "com.microsoft");
  }
  return g.node("Gelu", [name("x")], { approximate: mode === "TANH_APPROXIMATION" ? "tanh" : "none" });
};

const select: Lowering = ({ g, op, name }) => {
  if (op.tensor("a").dtype !== "bool") return g.node("Where", [name("cond"), name("a"), name("b")]);
  // Where has no boolean kernel.
  const first = g.node("And", [name("cond"), name("a")]);
  return g.node("Or", [first, g.node("And", [g.node("Not", [name("cond")]), name("b")])]);
};

const narrow = { int8: "int8", uint8: "uint8", int16: "int16", uint16: "uint16" } as const;

const cast: Lowering = (c) => {
  const { g, op, name } = c;
  const from = op.tensor("x").dtype;
  const to = c.results[0]?.dtype ?? from;
  if (onnxType(from) !== onnxType(to)) {
    const x = g.cast(name("x"), onnxType(to));
    return to in narrow ? g.cast(g.cast(x, narrow[to as keyof typeof narrow]), "int32") : x;
  }
  if (from === to || isFloat(to) || to === "int32") return name("x");
  return to in narrow ? g.cast(g.cast(name("x"), narrow[to as keyof typeof narrow]), "int32") : name("x");
};

export const elementwise: Record<string, Lowering> = {
  add: binary("Add"),
  sub: binary("Sub"),
  mul: binary("Mul"),
  real_div: binary("Div"),
  pow: binary("Pow"),
  maximum: binary("Max"),
  minimum: binary("Min"),
  floor_div: floorDiv,
  mod,
  identity: ({ name }) => name("x"),
  abs: unary("Abs"),
  sign: unary("Sign"),
  floor: unary("Floor"),
  ceil: unary("Ceil"),
  round: unary("Round"),
  exp: unary("Exp"),
  exp2: ({ g, name }) => g.node("Pow", [g.float(2), name("x")]),
  erf: unary("Erf"),
  sqrt: unary("Sqrt"),
  square: ({ g, name }) => g.node("Mul", [name("x"), name("x")]),
  sin: unary("Sin"),
  cos: unary("Cos"),
  tanh: unary("Tanh"),
  sigmoid: unary("Sigmoid"),
  relu: unary("Relu"),
  silu: ({ g, name }) => g.node("Mul", [name("x"), g.node("Sigmoid", [name("x")])]),
  rsqrt: (c) => c.g.node("Reciprocal", [c.g.node("Sqrt", [shifted(c)])]),
  inverse: (c) => c.g.node("Reciprocal", [shifted(c)]),
  log: (c) => c.g.node("Log", [shifted(c)]),
  clip: ({ g, op, name, float }) => {
    const { dtype } = op.tensor("x");
    return g.node("Clip", [name("x"), g.float(float("alpha", dtype)), g.float(float("beta", dtype))]);
  },
  gelu,
  cast,
  equal: binary("Equal"),
  not_equal: ({ g, name }) => g.node("Not", [g.node("Equal", [name("x"), name("y")])]),
  less: binary("Less"),
  less_equal: binary("LessOrEqual"),
  greater: binary("Greater"),
  greater_equal: binary("GreaterOrEqual"),
  logical_and: binary("And"),
  logical_or: binary("Or"),
  logical_xor: binary("Xor"),
  logical_not: unary("Not"),
  select,
  fill: (c) => c.g.filled("fp32", resultShape(c), c.op.float("value")),
  fill_like: (c) => c.g.filled("fp32", resultShape(c), c.op.float("value")),
  range_1d: (c) => {
    const count = resultShape(c)[0] ?? 0;
    const values = Int32Array.from({ length: count }, (_, i) => c.op.int("start") + i * c.op.int("step"));
    return c.g.initializer("int32", [count], values);
  },
  shape: ({ g, op }) => g.initializer("int32", [op.shape("x").length], Int32Array.from(op.shape("x"))),
  one_hot: (c) => {
    const { g, op, name } = c;
    const rank = op.shape("indices").length + 1;
    const axis = op.axis("axis", rank);
    const size = op.int("one_hot_vector_size");
    const classes = g.initializer(
      "int32",
      Array.from({ length: rank }, (_, i) => (i === axis ? size : 1)),
      Int32Array.from({ length: size }, (_, i) => i),
    );
    const shape = [...op.shape("indices")];
    shape.splice(axis, 0, 1);
    const hit = g.node("Equal", [g.reshape(name("indices"), shape), classes]);
    return g.node("Where", [hit, g.float(op.float("on_value")), g.float(op.float("off_value"))]);
  },
  band_part: ({ g, op, name }) => {
    const { shape, dtype } = op.tensor("x");
    const [rows, columns] = shape.slice(-2) as [number, number];
    const lower = op.int("lower");
    const upper = op.int("upper");
    const keep = Uint8Array.from({ length: rows * columns }, (_, at) => {
      const below = Math.floor(at / columns) - (at % columns);
      return (lower < 0 || below <= lower) && (upper < 0 || -below <= upper) ? 1 : 0;
    });
    return g.node("Where", [g.initializer("bool", [rows, columns], keep), name("x"), g.scalar(dtype, 0)]);
  },
};
