/** @file `softmax`, `layer_norm`, `l2_norm`. */
import { dim, itemAt } from "../../elements.ts";
import { defineOp } from "../op.ts";
import { elementCount, sameShape, showType } from "../types.ts";
import { floats, sumToShape } from "./common.ts";

defineOp({
  type: "softmax",
  inputs: { x: { dtypes: floats } },
  params: { axis: { kind: "int", default: -1 } },
  infer: (op) => {
    op.axis("axis", op.shape("x").length);
    return [op.tensor("x")];
  },
  flops: (op) => 5 * elementCount(op.shape("x")),
  // p ⊙ (dy − Σ dy ⊙ p)
  gradient: ({ b, op, outputs, dy }) => ({
    x: () => {
      const p = itemAt(outputs, 0);
      const axis = op.axis("axis", op.shape("x").length);
      const weighted = b.mul(dy(), p);
      return b.sub(weighted, b.mul(p, b.sum(weighted, [axis], true)));
    },
  }),
});

// y = γ · (x − mean) / √(var + ε) + β over `axes`
defineOp({
  type: "layer_norm",
  inputs: {
    x: { dtypes: floats },
    gamma: { dtypes: floats, optional: true },
    beta: { dtypes: floats, optional: true },
  },
  params: { axes: { kind: "ints" }, epsilon: { kind: "float", default: 1e-5 } },
  infer: (op) => {
    const x = op.tensor("x");
    const axes = op.axes("axes", x.shape.length);
    const expected = axes.map((a) => dim(x.shape, a));
    for (const name of ["gamma", "beta"]) {
      if (!op.has(name)) continue;
      if (!sameShape(op.shape(name), expected)) op.fail(name, `[${expected.join(", ")}]`, showType(op.tensor(name)));
    }
    return [x];
  },
  flops: (op) => 8 * elementCount(op.shape("x")),
  gradient: ({ b, op, dy }) => {
    const x = op.value("x");
    const shape = op.shape("x");
    const axes = op.axes("axes", shape.length);
    const wide = shape.map((d, i) => (axes.includes(i) ? d : 1));
    const centred = b.sub(x, b.mean(x, axes, true));
    const inverse = b.rsqrt(b.mean(b.square(centred), axes, true), op.float("epsilon"));
    const normal = b.mul(centred, inverse);
    const gamma = op.optional("gamma");
    return {
      x: () => {
        const g = gamma ? b.mul(dy(), b.reshape(gamma, wide)) : dy();
        const inner = b.add(b.mean(g, axes, true), b.mul(normal, b.mean(b.mul(g, normal), axes, true)));
        return b.mul(b.sub(g, inner), inverse);
      },
      gamma: () => b.reshape(sumToShape(b, b.mul(dy(), normal), wide), op.shape("gamma")),
      beta: () => b.reshape(sumToShape(b, dy(), wide), op.shape("beta")),
    };
  },
});

// y = x / √(Σ x² + ε) over the last three axes
defineOp({
  type: "l2_norm",
  inputs: { x: { dtypes: floats } },
  params: { epsilon: { kind: "float", default: 1e-6 } },
  infer: (op) => {
    if (op.shape("x").length < 3) op.fail("x", "of rank 3 or more", showType(op.tensor("x")));
    return [op.tensor("x")];
  },
  flops: (op) => 3 * elementCount(op.shape("x")),
  gradient: ({ b, op, outputs, dy }) => ({
    x: () => {
      const rank = op.shape("x").length;
      const axes = [rank - 3, rank - 2, rank - 1];
      const x = op.value("x");
      const y = itemAt(outputs, 0);
      const inverse = b.rsqrt(b.sum(b.square(x), axes, true), op.float("epsilon"));
      return b.mul(b.sub(dy(), b.mul(y, b.sum(b.mul(dy(), y), axes, true))), inverse);
    },
  }),
});
