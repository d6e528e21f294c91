/** @file Arithmetic, activations, comparisons, `select`, `cast` and filled tensors on TensorFlow.js. */
import { numberAt } from "../../../elements.ts";
import { isFloat } from "../../../mil/types.ts";
import type { TfTensor } from "../backend.ts";
import { filled, hostTensor, type Kernel, type KernelContext, resultShape } from "./kernel.ts";

type TwoOperands = (tf: KernelContext["tf"], x: TfTensor, y: TfTensor) => TfTensor;

const binary =
  (compute: TwoOperands): Kernel =>
  ({ tf, operand }) =>
    compute(tf, operand("x"), operand("y"));

const unary =
  (compute: (tf: KernelContext["tf"], x: TfTensor) => TfTensor): Kernel =>
  ({ tf, operand }) =>
    compute(tf, operand("x"));

/** For ops whose integer form the backends lack or compute in float32: the typed array, element by element. */
const unaryInteger =
  (onFloats: (tf: KernelContext["tf"], x: TfTensor) => TfTensor, onInteger: (v: number) => number): Kernel =>
  (c) => {
    const x = c.operand("x");
    const { dtype, shape } = c.op.tensor("x");
    return isFloat(dtype)
      ? onFloats(c.tf, x)
      : hostTensor(c.tf, Int32Array.from(x.dataSync(), onInteger), shape, dtype);
  };

/** Integer division and remainder towards −∞, exact for all of int32. */
const binaryInteger =
  (onFloats: TwoOperands, onInteger: (x: number, y: number) => number): Kernel =>
  (c) => {
    const { tf, op, operand } = c;
    if (isFloat(op.tensor("x").dtype)) return onFloats(tf, operand("x"), operand("y"));
    const shape = resultShape(c);
    const x = tf.broadcastTo(operand("x"), shape).dataSync();
    const y = tf.broadcastTo(operand("y"), shape).dataSync();
    return hostTensor(
      tf,
      Int32Array.from(x, (v, i) => onInteger(v, numberAt(y, i))),
      shape,
      "int32",
    );
  };

const floorMod = (x: number, y: number): number => x - y * Math.floor(x / y);

/** x + epsilon, or x where epsilon is nothing in f32. */
function shifted(c: KernelContext): TfTensor {
  const epsilon = Math.fround(c.float("epsilon", c.op.tensor("x").dtype));
  return epsilon === 0 ? c.operand("x") : c.tf.add(c.operand("x"), epsilon);
}

const rootTwoOverPi = Math.sqrt(2 / Math.PI);

const gelu: Kernel = ({ tf, op, operand }) => {
  const x = operand("x");
  const mode = op.string("mode");
  if (mode === "SIGMOID_APPROXIMATION") return tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
  const inner =
    mode === "TANH_APPROXIMATION"
      ? tf.tanh(tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715 * rootTwoOverPi), rootTwoOverPi)))
      : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.mul(x, 0.5), tf.add(inner, 1));
};

const select: Kernel = ({ tf, op, operand }) => {
  const [condition, a, b] = [operand("cond"), operand("a"), operand("b")];
  if (op.tensor("a").dtype !== "bool") return tf.where(condition, a, b);
  return tf.logicalOr(tf.logicalAnd(condition, a), tf.logicalAnd(tf.logicalNot(condition), b));
};

const narrow = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array } as const;

const cast: Kernel = ({ tf, op, operand, results }) => {
  const x = operand("x");
  const from = op.tensor("x").dtype;
  const to = results[0]?.dtype ?? from;
  if (to === "int8" || to === "uint8" || to === "int16" || to === "uint16") {
    const values = narrow[to].from(tf.cast(x, "int32").dataSync());
    return hostTensor(tf, Int32Array.from(values), op.shape("x"), to);
  }
  if (to === "bool") return from === "bool" ? x : tf.notEqual(x, tf.scalar(0, isFloat(from) ? "float32" : "int32"));
  return tf.cast(x, isFloat(to) ? "float32" : "int32");
};

const oneHot: Kernel = (c) => {
  const shape = resultShape(c);
  const size = c.op.int("one_hot_vector_size");
  const axis = c.op.axis("axis", shape.length);
  const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(c.op.float("off_value"));
  c.operand("indices")
    .dataSync()
    .forEach((index: number, i: number) => {
      if (index < 0 || index >= size) return;
      data[(Math.floor(i / inner) * size + index) * inner + (i % inner)] = c.op.float("on_value");
    });
  return hostTensor(c.tf, data, shape, "fp32");
};

const bandPart: Kernel = ({ tf, op, operand }) => {
  const { shape, dtype } = op.tensor("x");
  const [rows, columns] = shape.slice(-2) as [number, number];
  const lower = op.int("lower");
  const upper = op.int("upper");
  const keep = Uint8Array.from({ length: rows * columns }, (_, at) => {
    const below = Math.floor(at / columns) - (at % columns);
    return (lower < 0 || below <= lower) && (upper < 0 || -below <= upper) ? 1 : 0;
  });
  const zero = tf.scalar(0, isFloat(dtype) ? "float32" : "int32");
  return tf.where(hostTensor(tf, keep, [rows, columns], "bool"), operand("x"), zero);
};

export const elementwise: Record<string, Kernel> = {
  add: binary((tf, x, y) => tf.add(x, y)),
  sub: binary((tf, x, y) => tf.sub(x, y)),
  mul: binary((tf, x, y) => tf.mul(x, y)),
  real_div: binary((tf, x, y) => tf.div(x, y)),
  pow: binary((tf, x, y) => tf.pow(x, y)),
  maximum: binary((tf, x, y) => tf.maximum(x, y)),
  minimum: binary((tf, x, y) => tf.minimum(x, y)),
  floor_div: binaryInteger(
    (tf, x, y) => tf.floor(tf.div(x, y)),
    (x, y) => Math.floor(x / y),
  ),
  mod: binaryInteger((tf, x, y) => tf.mod(x, y), floorMod),
  identity: ({ operand }) => operand("x"),
  abs: unaryInteger((tf, x) => tf.abs(x), Math.abs),
  sign: unaryInteger((tf, x) => tf.sign(x), Math.sign),
  square: unaryInteger(
    (tf, x) => tf.square(x),
    (v) => Math.imul(v, v),
  ),
  floor: unary((tf, x) => tf.floor(x)),
  ceil: unary((tf, x) => tf.ceil(x)),
  round: unary((tf, x) => tf.round(x)),
  exp: unary((tf, x) => tf.exp(x)),
  exp2: unary((tf, x) => tf.pow(2, x)),
  erf: unary((tf, x) => tf.erf(x)),
  sqrt: unary((tf, x) => tf.sqrt(x)),
  sin: unary((tf, x) => tf.sin(x)),
  cos: unary((tf, x) => tf.cos(x)),
  tanh: unary((tf, x) => tf.tanh(x)),
  sigmoid: unary((tf, x) => tf.sigmoid(x)),
  relu: unary((tf, x) => tf.relu(x)),
  silu: unary((tf, x) => tf.mul(x, tf.sigmoid(x))),
  rsqrt: (c) => c.tf.div(1, c.tf.sqrt(shifted(c))),
  inverse: (c) => c.tf.div(1, shifted(c)),
  log: (c) => c.tf.log(shifted(c)),
  clip: ({ tf, op, operand, float }) => {
    const { dtype } = op.tensor("x");
    return tf.clipByValue(operand("x"), float("alpha", dtype), float("beta", dtype));
  },
  gelu,
  cast,
  equal: binary((tf, x, y) => tf.equal(x, y)),
  not_equal: binary((tf, x, y) => tf.notEqual(x, y)),
  less: binary((tf, x, y) => tf.less(x, y)),
  less_equal: binary((tf, x, y) => tf.lessEqual(x, y)),
  greater: binary((tf, x, y) => tf.greater(x, y)),
  greater_equal: binary((tf, x, y) => tf.greaterEqual(x, y)),
  logical_and: binary((tf, x, y) => tf.logicalAnd(x, y)),
  logical_or: binary((tf, x, y) => tf.logicalOr(x, y)),
  logical_xor: binary((tf, x, y) => tf.logicalXor(x, y)),
  logical_not: unary((tf, x) => tf.logicalNot(x)),
  select,
  fill: (c) => filled(c, resultShape(c), "fp32", c.op.float("value")),
  fill_like: (c) => filled(c, resultShape(c), "fp32", c.op.float("value")),
  range_1d: (c) => {
    const [count = 0] = resultShape(c);
    const values = Int32Array.from({ length: count }, (_, i) => c.op.int("start") + i * c.op.int("step"));
    return hostTensor(c.tf, values, [count], "int32");
  },
  shape: ({ tf, op }) => hostTensor(tf, Int32Array.from(op.shape("x")), [op.shape("x").length], "int32"),
  one_hot: oneHot,
  band_part: bandPart,
};
