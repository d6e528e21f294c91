/** @file Reductions over axes, arg-reductions, sorting and running sums. */
import { dim, itemAt } from "../../elements.ts";
import type { Builder } from "../builder.ts";
import { defineOp, type OpArguments, type OpSpec } from "../op.ts";
import type { Value } from "../program.ts";
import { elementCount, type Shape, tensorType, type ValueType } from "../types.ts";
import { floats, numbers } from "./common.ts";

export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return shape.flatMap((d, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [d]));
}

type Rule = (b: Builder, x: Value, out: Value, dy: Value, count: number) => Value;

function reduction(type: string, rule?: Rule, dtypes = numbers, facts: Pick<OpSpec, "exact"> = {}): void {
  const keptShape = (op: OpArguments): number[] =>
    reducedShape(op.shape("x"), op.axes("axes", op.shape("x").length), true);
  defineOp({
    type,
    ...facts,
    inputs: { x: { dtypes } },
    params: { axes: { kind: "ints" }, keep_dims: { kind: "bool", default: false } },
    infer: (op) => {
      const x = op.tensor("x");
      return [tensorType(x.dtype, reducedShape(x.shape, op.axes("axes", x.shape.length), op.bool("keep_dims")))];
    },
    flops: (op) => elementCount(op.shape("x")),
    ...(rule
      ? {
          gradient: ({ b, op, outputs, dy }) => ({
            x: () => {
              const kept = keptShape(op);
              const count = elementCount(op.shape("x")) / Math.max(1, elementCount(kept));
              const out = b.reshape(itemAt(outputs, 0), kept);
              return rule(b, op.value("x"), out, b.reshape(dy(), kept), count);
            },
          }),
        }
      : {}),
  });
}

const spread = (b: Builder, g: Value, x: Value): Value => {
  const to = x.type.kind === "tensor" ? x.type.shape : [];
  const from = g.type.kind === "tensor" ? g.type.shape : [];
  return b.tile(
    g,
    to.map((d, i) => (from[i] === d ? 1 : d)),
  );
};

// The gradient of an extreme is shared equally among ties.
const extreme: Rule = (b, x, out, dy) => {
  const hit = b.cast(b.equal(x, out), x.type.kind === "tensor" ? x.type.dtype : "fp32");
  const axes = (x.type.kind === "tensor" ? x.type.shape : []).map((_, i) => i);
  const shape = out.type.kind === "tensor" ? out.type.shape : [];
  const reduced = axes.filter((i) => shape[i] === 1);
  return b.mul(b.div(hit, b.sum(hit, reduced, true)), dy);
};

reduction("reduce_sum", (b, x, _out, dy) => spread(b, dy, x));
reduction("reduce_mean", (b, x, _out, dy, count) => spread(b, b.mul(dy, 1 / count), x), floats);
reduction("reduce_max", extreme, numbers, { exact: true });
reduction("reduce_min", extreme, numbers, { exact: true });
reduction("reduce_prod", (b, x, out, dy) => b.div(b.mul(dy, out), x), floats);
reduction("reduce_sum_square", (b, x, _out, dy) => b.mul(b.mul(x, 2), dy), floats);
reduction("reduce_l2_norm", (b, x, out, dy) => b.mul(b.div(x, out), dy), floats);
reduction("reduce_l1_norm", (b, x, _out, dy) => b.mul(b.sign(x), dy), floats);
reduction("reduce_log_sum_exp", (b, x, out, dy) => b.mul(b.exp(b.sub(x, out)), dy), floats);

for (const type of ["reduce_argmax", "reduce_argmin"]) {
  defineOp({
    type,
    inputs: { x: { dtypes: numbers } },
    params: {
      axis: { kind: "int", default: -1 },
      keep_dims: { kind: "bool", default: false },
      output_dtype: { kind: "string", default: "int32", choices: ["int32", "uint16"] },
    },
    infer: (op) => {
      const x = op.shape("x");
      const dtype = op.string("output_dtype") === "uint16" ? "uint16" : "int32";
      return [tensorType(dtype, reducedShape(x, [op.axis("axis", x.length)], op.bool("keep_dims")))];
    },
    flops: (op) => elementCount(op.shape("x")),
  });
}

defineOp({
  type: "topk",
  exact: true,
  inputs: { x: { dtypes: numbers } },
  params: {
    k: { kind: "int", default: 1 },
    axis: { kind: "int", default: -1 },
    ascending: { kind: "bool", default: false },
    sort: { kind: "bool", default: true },
    return_indices: { kind: "bool", default: true },
    output_indices_dtype: { kind: "string", default: "int32", choices: ["int32", "uint16"] },
  },
  infer: (op) => {
    const x = op.tensor("x");
    const axis = op.axis("axis", x.shape.length);
    const k = op.int("k");
    const size = dim(x.shape, axis);
    if (k < 1 || k > size) op.fail("k", `from 1 to ${size}`, String(k));
    const shape = x.shape.map((d, i) => (i === axis ? k : d));
    const types: ValueType[] = [tensorType(x.dtype, shape)];
    if (op.bool("return_indices")) {
      types.push(tensorType(op.string("output_indices_dtype") === "uint16" ? "uint16" : "int32", shape));
    }
    return types;
  },
  gradient: ({ b, op, outputs, dy }) => ({
    x: () => {
      const axis = op.axis("axis", op.shape("x").length);
      const zeros = b.mul(op.value("x"), 0);
      const indices = outputs[1] ?? b.op("topk", op.inputs, { ...op.params, return_indices: true })[1];
      return itemAt(
        b.op("scatter_along_axis", { data: zeros, indices: indices as Value, updates: dy() }, { axis, mode: "add" }),
        0,
      );
    },
  }),
});

defineOp({
  type: "argsort",
  inputs: { x: { dtypes: numbers } },
  params: { axis: { kind: "int", default: -1 }, ascending: { kind: "bool", default: false } },
  infer: (op) => {
    op.axis("axis", op.shape("x").length);
    return [tensorType("int32", op.shape("x"))];
  },
});

defineOp({
  type: "cumsum",
  inputs: { x: { dtypes: numbers } },
  params: {
    axis: { kind: "int", default: 0 },
    exclusive: { kind: "bool", default: false },
    reverse: { kind: "bool", default: false },
  },
  infer: (op) => {
    op.axis("axis", op.shape("x").length);
    return [op.tensor("x")];
  },
  gradient: ({ b, op, dy }) => ({
    x: () =>
      itemAt(
        b.op(
          "cumsum",
          { x: dy() },
          { axis: op.int("axis"), exclusive: op.bool("exclusive"), reverse: !op.bool("reverse") },
        ),
        0,
      ),
  }),
});
