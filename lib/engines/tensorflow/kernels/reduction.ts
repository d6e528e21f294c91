/**
 * @file Normalization, reductions, sorting and running sums on TensorFlow.js.
 *
 * Integer reductions and all sorting run on typed arrays: the WASM kernels reduce integers as floats, and `topk`
 * knows only the largest of the last axis.
 */
import { dim, numberAt } from "../../../elements.ts";
import { elementCount, isFloat } from "../../../mil/types.ts";
import type { TensorFlow, TfTensor } from "../backend.ts";
import { filled, hostTensor, type Kernel, type KernelContext, resultShape } from "./kernel.ts";

/** x with `axes` last, as (outer, inner), and how to undo the move for a result whose inner extent is `shape`. */
function lanes(c: KernelContext, axes: readonly number[]): { data: ArrayLike<number>; outer: number; inner: number } {
  const { shape } = c.op.tensor("x");
  const kept = shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const inner = elementCount(axes.map((a) => dim(shape, a)));
  const moved = shape.length > 1 ? c.tf.transpose(c.operand("x"), [...kept, ...axes]) : c.operand("x");
  return { data: moved.dataSync(), outer: elementCount(shape) / inner, inner };
}

type FloatReduction = (tf: TensorFlow, x: TfTensor, axes: number[], keep: boolean) => TfTensor;

interface Reduction {
  readonly floats: FloatReduction;
  readonly integers?: (a: number, b: number) => number;
  /** What a reduction of nothing gives. */
  readonly ofNothing: number;
}

const reduce =
  ({ floats, integers, ofNothing }: Reduction): Kernel =>
  (c) => {
    const { tf, op, operand } = c;
    const { shape, dtype } = op.tensor("x");
    const axes = op.axes("axes", shape.length);
    if (elementCount(shape) === 0) return filled(c, resultShape(c), dtype, ofNothing);
    if (isFloat(dtype)) {
      // No axes leave the shape alone, yet a norm still takes the absolute value: reduce over an axis of one.
      if (axes.length === 0) return floats(tf, tf.reshape(operand("x"), [...shape, 1]), [shape.length], false);
      return floats(tf, operand("x"), axes, op.bool("keep_dims"));
    }
    if (!integers) return op.fail("x", "of floats", dtype);
    const { data, outer, inner } = lanes(c, axes);
    const out = Int32Array.from({ length: outer }, (_, o) => {
      let value = numberAt(data, o * inner);
      for (let i = 1; i < inner; i++) value = integers(value, numberAt(data, o * inner + i));
      return value;
    });
    return hostTensor(tf, out, resultShape(c), dtype);
  };

const logSumExp: FloatReduction = (tf, x, axes, keep) => {
  const most = tf.max(x, axes, true);
  const sum = tf.log(tf.sum(tf.exp(tf.sub(x, most)), axes, true));
  const value = tf.add(most, sum);
  return keep ? value : tf.squeeze(value, axes);
};

const argReduce =
  (better: (a: number, b: number) => boolean): Kernel =>
  (c) => {
    const axis = c.op.axis("axis", c.op.shape("x").length);
    const { data, outer, inner } = lanes(c, [axis]);
    const out = Int32Array.from({ length: outer }, (_, o) => {
      let best = 0;
      for (let i = 1; i < inner; i++) {
        if (better(numberAt(data, o * inner + i), numberAt(data, o * inner + best))) best = i;
      }
      return best;
    });
    return hostTensor(c.tf, out, resultShape(c), "int32");
  };

/** The first `k` of each lane along `axis` in order, ties by position; values and indices in the shape of x. */
function sorted(c: KernelContext, k: number): [TfTensor, TfTensor] {
  const { tf, op } = c;
  const { shape, dtype } = op.tensor("x");
  const axis = op.axis("axis", shape.length);
  const sign = op.bool("ascending") ? 1 : -1;
  const { data, outer, inner } = lanes(c, [axis]);
  const values = isFloat(dtype) ? new Float32Array(outer * k) : new Int32Array(outer * k);
  const indices = new Int32Array(outer * k);
  for (let o = 0; o < outer; o++) {
    const order = Array.from({ length: inner }, (_, i) => i);
    order.sort((i, j) => sign * (numberAt(data, o * inner + i) - numberAt(data, o * inner + j)) || i - j);
    for (let i = 0; i < k; i++) {
      const from = numberAt(order, i);
      values[o * k + i] = numberAt(data, o * inner + from);
      indices[o * k + i] = from;
    }
  }
  const rest = shape.filter((_, i) => i !== axis);
  const perm = shape.map((_, i) => (i === axis ? shape.length - 1 : i < axis ? i : i - 1));
  const back = (t: TfTensor): TfTensor => (shape.length > 1 ? tf.transpose(t, perm) : t);
  return [back(hostTensor(tf, values, [...rest, k], dtype)), back(hostTensor(tf, indices, [...rest, k], "int32"))];
}

const softmax: Kernel = ({ tf, op, operand }) => {
  const x = operand("x");
  const axis = op.axis("axis", x.rank);
  if (axis === x.rank - 1) return tf.softmax(x);
  const e = tf.exp(tf.sub(x, tf.max(x, axis, true)));
  return tf.div(e, tf.sum(e, axis, true));
};

const layerNorm: Kernel = ({ tf, op, operand, float }) => {
  const x = operand("x");
  const axes = op.axes("axes", x.rank);
  const wide = x.shape.map((d, i) => (axes.includes(i) ? d : 1));
  const mean = (t: TfTensor): TfTensor => (axes.length === 0 ? t : tf.mean(t, axes, true));
  const centred = tf.sub(x, mean(x));
  const epsilon = float("epsilon", op.tensor("x").dtype);
  let y: TfTensor = tf.div(centred, tf.sqrt(tf.add(mean(tf.square(centred)), epsilon)));
  if (op.has("gamma")) y = tf.mul(y, tf.reshape(operand("gamma"), wide));
  if (op.has("beta")) y = tf.add(y, tf.reshape(operand("beta"), wide));
  return y;
};

const l2Norm: Kernel = ({ tf, op, operand, float }) => {
  const x = operand("x");
  const sum = tf.sum(tf.square(x), [x.rank - 3, x.rank - 2, x.rank - 1], true);
  return tf.div(x, tf.sqrt(tf.add(sum, float("epsilon", op.tensor("x").dtype))));
};

export const reductions: Record<string, Kernel> = {
  softmax,
  layer_norm: layerNorm,
  l2_norm: l2Norm,
  reduce_sum: reduce({ floats: (tf, x, a, k) => tf.sum(x, a, k), integers: (a, b) => (a + b) | 0, ofNothing: 0 }),
  reduce_mean: reduce({ floats: (tf, x, a, k) => tf.mean(x, a, k), ofNothing: Number.NaN }),
  reduce_max: reduce({
    floats: (tf, x, a, k) => tf.max(x, a, k),
    integers: Math.max,
    ofNothing: Number.NEGATIVE_INFINITY,
  }),
  reduce_min: reduce({
    floats: (tf, x, a, k) => tf.min(x, a, k),
    integers: Math.min,
    ofNothing: Number.POSITIVE_INFINITY,
  }),
  reduce_prod: reduce({ floats: (tf, x, a, k) => tf.prod(x, a, k), ofNothing: 1 }),
  reduce_sum_square: reduce({ floats: (tf, x, a, k) => tf.sum(tf.square(x), a, k), ofNothing: 0 }),
  reduce_l2_norm: reduce({ floats: (tf, x, a, k) => tf.sqrt(tf.sum(tf.square(x), a, k)), ofNothing: 0 }),
  reduce_l1_norm: reduce({ floats: (tf, x, a, k) => tf.sum(tf.abs(x), a, k), ofNothing: 0 }),
  reduce_log_sum_exp: reduce({ floats: logSumExp, ofNothing: Number.NEGATIVE_INFINITY }),
  reduce_argmax: argReduce((a, b) => a > b),
  reduce_argmin: argReduce((a, b) => a < b),
  topk: (c) => sorted(c, c.op.int("k")).slice(0, c.results.length),
  argsort: (c) => sorted(c, dim(c.op.shape("x"), c.op.axis("axis", c.op.shape("x").length)))[1],
  cumsum: ({ tf, op, operand }) =>
    tf.cumsum(operand("x"), op.axis("axis", op.shape("x").length), op.bool("exclusive"), op.bool("reverse")),
};
