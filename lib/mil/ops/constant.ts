/** @file Constants and filled tensors. */
import { itemAt } from "../../elements.ts";
import { defineOp } from "../op.ts";
import { elementCount, fp32, int32, showType, tensorType } from "../types.ts";
import { basic, numbers } from "./common.ts";

// A `const` carries its data outside the parameters; the builder makes it without asking for a type.
defineOp({ type: "const", constant: true, inputs: {}, params: {}, infer: () => [], flops: () => 0 });

defineOp({
  type: "fill",
  inputs: {},
  params: { shape: { kind: "ints" }, value: { kind: "float", default: 0 } },
  infer: (op) => [fp32(...op.ints("shape"))],
  flops: () => 0,
});

defineOp({
  type: "fill_like",
  inputs: { ref_tensor: { dtypes: basic } },
  params: { value: { kind: "float", default: 0 } },
  infer: (op) => [fp32(...op.shape("ref_tensor"))],
  flops: () => 0,
});

defineOp({
  type: "range_1d",
  inputs: {},
  params: { start: { kind: "int" }, end: { kind: "int" }, step: { kind: "int", default: 1 } },
  infer: (op) => {
    const count = Math.ceil((op.int("end") - op.int("start")) / op.int("step"));
    if (!Number.isFinite(count) || count < 0) op.fail("step", "towards end from start", String(op.int("step")));
    return [int32(count)];
  },
  flops: () => 0,
});

defineOp({
  type: "shape",
  inputs: { x: { dtypes: basic } },
  params: {},
  infer: (op) => [int32(op.shape("x").length)],
  flops: () => 0,
});

defineOp({
  type: "one_hot",
  inputs: { indices: { dtypes: ["int32"] } },
  params: {
    one_hot_vector_size: { kind: "int" },
    axis: { kind: "int", default: -1 },
    on_value: { kind: "float", default: 1 },
    off_value: { kind: "float", default: 0 },
  },
  infer: (op) => {
    const shape = [...op.shape("indices")];
    shape.splice(op.axis("axis", shape.length + 1), 0, op.int("one_hot_vector_size"));
    return [fp32(...shape)];
  },
});

defineOp({
  type: "band_part",
  exact: true,
  inputs: { x: { dtypes: numbers } },
  params: { lower: { kind: "int", default: -1 }, upper: { kind: "int", default: -1 } },
  infer: (op) => {
    const x = op.tensor("x");
    if (x.shape.length < 2) op.fail("x", "of rank 2 or more", showType(x));
    return [tensorType(x.dtype, x.shape)];
  },
  flops: (op) => elementCount(op.shape("x")),
  gradient: ({ b, op, dy }) => ({
    x: () => itemAt(b.op("band_part", { x: dy() }, { lower: op.int("lower"), upper: op.int("upper") }), 0),
  }),
});
