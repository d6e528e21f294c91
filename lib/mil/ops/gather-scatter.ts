/** @file Indexed reading and writing. Negative indices are out of bounds, as in iOS 17 and later. */
import { itemAt } from "../../elements.ts";
import type { Builder } from "../builder.ts";
import { defineOp } from "../op.ts";
import type { Value } from "../program.ts";
import { sameShape, showType, tensorType } from "../types.ts";
import { gatherable, indexTypes, numbers } from "./common.ts";

const modes = ["add", "update", "sub", "mul", "div", "max", "min"];
const none = (): number => 0;
const zerosLike = (b: Builder, x: Value): Value => {
  const t = x.type;
  if (t.kind !== "tensor") return x;
  const zeros = b.fill(t.shape, 0);
  return t.dtype === "fp32" ? zeros : b.cast(zeros, t.dtype);
};

defineOp({
  type: "gather",
  exact: true,
  inputs: { x: { dtypes: gatherable }, indices: { dtypes: indexTypes } },
  params: {
    axis: { kind: "int", default: 0 },
    batch_dims: { kind: "int", default: 0 },
    validate_indices: { kind: "bool", default: false },
  },
  infer: (op) => {
    const x = op.tensor("x");
    const indices = op.shape("indices");
    const axis = op.axis("axis", x.shape.length);
    const batch = op.int("batch_dims");
    if (batch < 0 || batch > axis || !sameShape(x.shape.slice(0, batch), indices.slice(0, batch))) {
      op.fail("batch_dims", "leading axes that x and indices share, before axis", String(batch));
    }
    return [tensorType(x.dtype, [...x.shape.slice(0, axis), ...indices.slice(batch), ...x.shape.slice(axis + 1)])];
  },
  flops: none,
  gradient: ({ b, op, dy }) => {
    if (op.int("batch_dims") !== 0) return {};
    return {
      x: () =>
        b.scatterAdd(zerosLike(b, op.value("x")), op.value("indices"), dy(), op.axis("axis", op.shape("x").length)),
    };
  },
});

defineOp({
  type: "gather_along_axis",
  exact: true,
  inputs: { x: { dtypes: gatherable }, indices: { dtypes: indexTypes } },
  params: { axis: { kind: "int", default: 0 }, validate_indices: { kind: "bool", default: false } },
  infer: (op) => {
    const x = op.tensor("x");
    const i = op.tensor("indices");
    const axis = op.axis("axis", x.shape.length);
    const fits = i.shape.length === x.shape.length && i.shape.every((d, a) => a === axis || d === x.shape[a]);
    if (!fits) op.fail("indices", `like x ${showType(x)} but for axis ${axis}`, showType(i));
    return [tensorType(x.dtype, i.shape)];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    x: () =>
      itemAt(
        b.op(
          "scatter_along_axis",
          { data: zerosLike(b, op.value("x")), indices: op.value("indices"), updates: dy() },
          { axis: op.int("axis"), mode: "add" },
        ),
        0,
      ),
  }),
});

defineOp({
  type: "gather_nd",
  exact: true,
  inputs: { x: { dtypes: gatherable }, indices: { dtypes: indexTypes } },
  params: { batch_dims: { kind: "int", default: 0 }, validate_indices: { kind: "bool", default: false } },
  infer: (op) => {
    const x = op.tensor("x");
    const i = op.shape("indices");
    const depth = i.at(-1) ?? 0;
    const batch = op.int("batch_dims");
    if (depth < 1 || depth + batch > x.shape.length)
      op.fail("indices", `with a last axis of 1 to ${x.shape.length - batch}`, showType(op.tensor("indices")));
    return [tensorType(x.dtype, [...i.slice(0, -1), ...x.shape.slice(batch + depth)])];
  },
  flops: none,
  gradient: ({ b, op, dy }) => {
    if (op.int("batch_dims") !== 0) return {};
    return {
      x: () =>
        itemAt(
          b.op(
            "scatter_nd",
            { data: zerosLike(b, op.value("x")), indices: op.value("indices"), updates: dy() },
            { mode: "add" },
          ),
          0,
        ),
    };
  },
});

defineOp({
  type: "scatter",
  inputs: { data: { dtypes: numbers }, indices: { dtypes: indexTypes }, updates: { dtypes: numbers } },
  params: {
    axis: { kind: "int", default: 0 },
    mode: { kind: "string", default: "add", choices: modes },
    validate_indices: { kind: "bool", default: false },
  },
  infer: (op) => {
    const data = op.tensor("data");
    const axis = op.axis("axis", data.shape.length);
    const expected = [...data.shape.slice(0, axis), ...op.shape("indices"), ...data.shape.slice(axis + 1)];
    if (!sameShape(op.shape("updates"), expected))
      op.fail("updates", `[${expected.join(", ")}]`, showType(op.tensor("updates")));
    return [data];
  },
  gradient: ({ b, op, dy }) => {
    if (op.string("mode") !== "add") return {};
    return { data: () => dy(), updates: () => b.gather(dy(), op.value("indices"), op.int("axis")) };
  },
});

defineOp({
  type: "scatter_along_axis",
  inputs: { data: { dtypes: numbers }, indices: { dtypes: indexTypes }, updates: { dtypes: numbers } },
  params: {
    axis: { kind: "int", default: 0 },
    mode: { kind: "string", default: "add", choices: modes },
    validate_indices: { kind: "bool", default: false },
  },
  infer: (op) => {
    const data = op.tensor("data");
    op.axis("axis", data.shape.length);
    if (!sameShape(op.shape("updates"), op.shape("indices"))) {
      op.fail("updates", `[${op.shape("indices").join(", ")}] like indices`, showType(op.tensor("updates")));
    }
    return [data];
  },
  gradient: ({ b, op, dy }) => {
    if (op.string("mode") !== "add") return {};
    return { data: () => dy(), updates: () => b.gatherAlongAxis(dy(), op.value("indices"), op.int("axis")) };
  },
});

defineOp({
  type: "scatter_nd",
  inputs: { data: { dtypes: numbers }, indices: { dtypes: indexTypes }, updates: { dtypes: numbers } },
  params: {
    mode: { kind: "string", default: "add", choices: modes },
    validate_indices: { kind: "bool", default: false },
  },
  infer: (op) => {
    const data = op.tensor("data");
    const i = op.shape("indices");
    const depth = i.at(-1) ?? 0;
    if (depth < 1 || depth > data.shape.length)
      op.fail("indices", `with a last axis of 1 to ${data.shape.length}`, showType(op.tensor("indices")));
    const expected = [...i.slice(0, -1), ...data.shape.slice(depth)];
    if (!sameShape(op.shape("updates"), expected))
      op.fail("updates", `[${expected.join(", ")}]`, showType(op.tensor("updates")));
    return [data];
  },
  gradient: ({ b, op, dy }) => {
    if (op.string("mode") !== "add") return {};
    return {
      data: () => dy(),
      updates: () => itemAt(b.op("gather_nd", { x: dy(), indices: op.value("indices") }), 0),
    };
  },
});
