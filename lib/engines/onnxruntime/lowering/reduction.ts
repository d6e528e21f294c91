/** @file Normalization, reductions, sorting and running sums in ONNX. */
import { dim, itemAt, numberAt } from "../../../elements.ts";
import { elementCount } from "../../../mil/types.ts";
import { type Lowering, type LoweringContext, resultShape } from "./context.ts";

/** What a reduction of nothing gives; null where it has no value. */
const ofNothing: Record<string, number> = {
  ReduceSum: 0,
  ReduceMean: Number.NaN,
  ReduceMax: Number.NEGATIVE_INFINITY,
  ReduceMin: Number.POSITIVE_INFINITY,
  ReduceProd: 1,
  ReduceSumSquare: 0,
  ReduceL2: 0,
  ReduceL1: 0,
  ReduceLogSumExp: Number.NEGATIVE_INFINITY,
};

const reduce =
  (type: string): Lowering =>
  (c) => {
    const { g, op, name } = c;
    const { shape, dtype } = op.tensor("x");
    const axes = op.axes("axes", shape.length);
    if (elementCount(shape) === 0) return g.filled(dtype, resultShape(c), ofNothing[type] ?? 0);
    if (axes.length > 0) {
      return g.node(type, [name("x"), g.int64(axes)], { keepdims: op.bool("keep_dims") ? 1 : 0 });
    }
    // ONNX reads no axes as all of them or as the identity; an axis of one element makes it plain.
    const column = g.reshape(name("x"), [...shape, 1]);
    return g.node(type, [column, g.int64([shape.length])], { keepdims: 0 });
  };

/** log Σ exp x = m + log Σ exp(x − m), m the largest; several times as fast as ONNX Runtime's ReduceLogSumExp. */
const logSumExp: Lowering = (c) => {
  const { g, op, name } = c;
  const { shape } = op.tensor("x");
  const axes = op.axes("axes", shape.length);
  if (elementCount(shape) === 0 || axes.length === 0) return reduce("ReduceLogSumExp")(c);
  const along = g.int64(axes);
  // Bounded from below, so that −∞ alone gives −∞ and not −∞ − (−∞).
  const largest = g.node("Max", [g.node("ReduceMax", [name("x"), along], { keepdims: 1 }), g.float(-3e38)]);
  const sum = g.node("ReduceSum", [g.node("Exp", [g.node("Sub", [name("x"), largest])]), along], { keepdims: 1 });
  const kept = g.node("Add", [g.node("Log", [sum]), largest]);
  return op.bool("keep_dims") ? kept : g.reshape(kept, resultShape(c));
};

const argReduce =
  (type: string): Lowering =>
  ({ g, op, name }) => {
    const axis = op.axis("axis", op.shape("x").length);
    return g.cast(g.node(type, [name("x")], { axis, keepdims: op.bool("keep_dims") ? 1 : 0 }), "int32");
  };

function sorted(c: LoweringContext, k: number): string[] {
  const { g, op, name } = c;
  const [values, indices] = g.multiple("TopK", [name("x"), g.int64([k])], 2, {
    axis: op.axis("axis", op.shape("x").length),
    largest: op.bool("ascending") ? 0 : 1,
    sorted: 1,
  }) as [string, string];
  return [values, g.cast(indices, "int32")];
}

const layerNorm: Lowering = (c) => {
  const { g, op, name } = c;
  const { shape, dtype } = op.tensor("x");
  const axes = op.axes("axes", shape.length);
  const epsilon = c.float("epsilon", dtype);
  const trailing = axes.every((a, i) => a === shape.length - axes.length + i);
  if (trailing && axes.length > 0) {
    const normalized = axes.map((a) => dim(shape, a));
    const gamma = op.has("gamma") ? name("gamma") : g.filled("fp32", normalized, 1);
    return g.node("LayerNormalization", [name("x"), gamma, ...(op.has("beta") ? [name("beta")] : [])], {
      axis: numberAt(axes, 0),
      epsilon: { float: epsilon },
    });
  }
  const wide = shape.map((d, i) => (axes.includes(i) ? d : 1));
  const mean = (x: string): string =>
    axes.length === 0 ? x : g.node("ReduceMean", [x, g.int64(axes)], { keepdims: 1 });
  const centred = g.node("Sub", [name("x"), mean(name("x"))]);
  const variance = mean(g.node("Mul", [centred, centred]));
  const deviation = g.node("Sqrt", [g.node("Add", [variance, g.float(epsilon)])]);
  let y = g.node("Div", [centred, deviation]);
  if (op.has("gamma")) y = g.node("Mul", [y, g.reshape(name("gamma"), wide)]);
  if (op.has("beta")) y = g.node("Add", [y, g.reshape(name("beta"), wide)]);
  return y;
};

const l2Norm: Lowering = (c) => {
  const { g, op, name } = c;
  const rank = op.shape("x").length;
  const axes = g.int64([rank - 3, rank - 2, rank - 1]);
  const sum = g.node("ReduceSumSquare", [name("x"), axes], { keepdims: 1 });
  const norm = g.node("Sqrt", [g.node("Add", [sum, g.float(c.float("epsilon", op.tensor("x").dtype))])]);
  return g.node("Div", [name("x"), norm]);
};

export const reductions: Record<string, Lowering> = {
  softmax: ({ g, op, name }) => g.node("Softmax", [name("x")], { axis: op.axis("axis", op.shape("x").length) }),
  layer_norm: layerNorm,
  l2_norm: l2Norm,
  reduce_sum: reduce("ReduceSum"),
  reduce_mean: reduce("ReduceMean"),
  reduce_max: reduce("ReduceMax"),
  reduce_min: reduce("ReduceMin"),
  reduce_prod: reduce("ReduceProd"),
  reduce_sum_square: reduce("ReduceSumSquare"),
  reduce_l2_norm: reduce("ReduceL2"),
  reduce_l1_norm: reduce("ReduceL1"),
  reduce_log_sum_exp: logSumExp,
  reduce_argmax: argReduce("ArgMax"),
  reduce_argmin: argReduce("ArgMin"),
  topk: (c) => sorted(c, c.op.int("k")).slice(0, c.results.length),
  argsort: (c) => itemAt(sorted(c, dim(c.op.shape("x"), c.op.axis("axis", c.op.shape("x").length))), 1),
  cumsum: ({ g, op, name }) =>
    g.node("CumSum", [name("x"), g.initializer("int32", [], Int32Array.of(op.axis("axis", op.shape("x").length)))], {
      exclusive: op.bool("exclusive") ? 1 : 0,
      reverse: op.bool("reverse") ? 1 : 0,
    }),
};
