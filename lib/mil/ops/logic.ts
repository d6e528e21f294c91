/** @file Comparisons, boolean algebra and `select`. */
import { defineOp } from "../op.ts";
import { showType, tensorType } from "../types.ts";
import { broadcastShapes, broadcastType, numbers, sumToShape } from "./common.ts";

for (const type of ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]) {
  defineOp({
    type,
    inputs: { x: { dtypes: numbers }, y: { dtypes: numbers } },
    params: {},
    infer: (op) => [broadcastType(op, "bool")],
  });
}

for (const type of ["logical_and", "logical_or", "logical_xor"]) {
  defineOp({
    type,
    inputs: { x: { dtypes: ["bool"] }, y: { dtypes: ["bool"] } },
    params: {},
    infer: (op) => [broadcastType(op)],
  });
}

defineOp({ type: "logical_not", inputs: { x: { dtypes: ["bool"] } }, params: {}, infer: (op) => [op.tensor("x")] });

const selectable = ["fp16", "fp32", "int32", "bool"] as const;

defineOp({
  type: "select",
  exact: true,
  inputs: { cond: { dtypes: ["bool"] }, a: { dtypes: selectable }, b: { dtypes: selectable } },
  params: {},
  infer: (op) => {
    const a = op.tensor("a");
    const other = op.tensor("b");
    if (a.dtype !== other.dtype) op.fail("b", `${a.dtype} like a`, showType(other));
    const inner =
      broadcastShapes(a.shape, other.shape) ?? op.fail("b", `broadcastable with a ${showType(a)}`, showType(other));
    const shape =
      broadcastShapes(inner, op.shape("cond")) ??
      op.fail("cond", `broadcastable with [${inner.join(", ")}]`, showType(op.tensor("cond")));
    return [tensorType(a.dtype, shape)];
  },
  gradient: ({ b, op, dy }) => {
    const dtype = op.tensor("a").dtype;
    const cond = (): ReturnType<typeof b.cast> => b.cast(op.value("cond"), dtype);
    return {
      a: () => sumToShape(b, b.mul(dy(), cond()), op.shape("a")),
      b: () => sumToShape(b, b.mul(dy(), b.sub(1, cond())), op.shape("b")),
    };
  },
});
