/** @file Elementwise arithmetic and activations, with their derivatives. */
import { itemAt } from "../../elements.ts";
import type { Builder } from "../builder.ts";
import { defineOp, type GradientContext, type InputGradients, type OpSpec } from "../op.ts";
import type { Value } from "../program.ts";
import { type DType, tensorType } from "../types.ts";
import { broadcastType, floats, numbers, sumToShape } from "./common.ts";

type BinaryRule = (b: Builder, x: Value, y: Value, out: Value, dy: Value) => { x: () => Value; y: () => Value };

type Facts = Pick<OpSpec, "exact" | "moves">;

function binary(type: string, rule?: BinaryRule, dtypes: readonly DType[] = numbers, facts: Facts = {}): void {
  defineOp({
    type,
    ...facts,
    inputs: { x: { dtypes }, y: { dtypes } },
    params: {},
    infer: (op) => [broadcastType(op)],
    ...(rule
      ? {
          gradient: ({ b, op, outputs, dy }: GradientContext): InputGradients => {
            const raw = rule(b, op.value("x"), op.value("y"), itemAt(outputs, 0), dy());
            return {
              x: () => sumToShape(b, raw.x(), op.shape("x")),
              y: () => sumToShape(b, raw.y(), op.shape("y")),
            };
          },
        }
      : {}),
  });
}

const exact = { exact: true } as const;

/** 1 where the condition holds, else 0, in the type of `like`. */
const indicator = (b: Builder, condition: Value, like: Value): Value =>
  b.cast(condition, like.type.kind === "tensor" ? like.type.dtype : "fp32");

binary("add", (_b, _x, _y, _out, dy) => ({ x: () => dy, y: () => dy }));
binary("sub", (b, _x, _y, _out, dy) => ({ x: () => dy, y: () => b.neg(dy) }));
binary("mul", (b, x, y, _out, dy) => ({ x: () => b.mul(dy, y), y: () => b.mul(dy, x) }));
binary(
  "real_div",
  (b, _x, y, out, dy) => ({ x: () => b.div(dy, y), y: () => b.neg(b.div(b.mul(dy, out), y)) }),
  floats,
);
binary(
  "pow",
  (b, x, y, out, dy) => ({
    x: () => b.mul(dy, b.mul(y, b.pow(x, b.sub(y, 1)))),
    y: () => b.mul(dy, b.mul(out, b.log(x))),
  }),
  floats,
);
// At a tie the whole gradient goes to x, as one subgradient among many.
binary(
  "maximum",
  (b, x, y, _out, dy) => ({
    x: () => b.mul(dy, indicator(b, b.greaterEqual(x, y), dy)),
    y: () => b.mul(dy, indicator(b, b.greater(y, x), dy)),
  }),
  numbers,
  exact,
);
binary(
  "minimum",
  (b, x, y, _out, dy) => ({
    x: () => b.mul(dy, indicator(b, b.lessEqual(x, y), dy)),
    y: () => b.mul(dy, indicator(b, b.less(y, x), dy)),
  }),
  numbers,
  exact,
);
binary("floor_div");
binary("mod");

type UnaryRule = (b: Builder, x: Value, out: Value, dy: Value) => Value;

function unary(
  type: string,
  rule?: UnaryRule,
  dtypes: readonly DType[] = floats,
  { flopsPerElement = 1, ...facts }: Facts & { readonly flopsPerElement?: number } = {},
): void {
  defineOp({
    type,
    ...facts,
    inputs: { x: { dtypes } },
    params: {},
    infer: (op) => [op.tensor("x")],
    flops: (op) => flopsPerElement * op.shape("x").reduce((n, d) => n * d, 1),
    ...(rule
      ? {
          gradient: ({ b, op, outputs, dy }: GradientContext): InputGradients => ({
            x: () => rule(b, op.value("x"), itemAt(outputs, 0), dy()),
          }),
        }
      : {}),
  });
}

const twoOverRootPi = 2 / Math.sqrt(Math.PI);

unary("identity", (_b, _x, _out, dy) => dy, ["fp16", "fp32", "int32", "bool", "int8", "uint8", "int16", "uint16"], {
  ...exact,
  moves: true,
});
unary("abs", (b, x, _out, dy) => b.mul(dy, b.sign(x)), numbers, exact);
unary("sign", undefined, numbers, exact);
unary("floor", undefined, floats, exact);
unary("ceil", undefined, floats, exact);
unary("round", undefined, floats, exact);
unary("exp", (b, _x, out, dy) => b.mul(dy, out));
unary("exp2", (b, _x, out, dy) => b.mul(dy, b.mul(out, Math.LN2)));
unary("erf", (b, x, _out, dy) => b.mul(dy, b.mul(b.exp(b.neg(b.square(x))), twoOverRootPi)));
unary("sqrt", (b, _x, out, dy) => b.div(b.mul(dy, 0.5), out));
unary("square", (b, x, _out, dy) => b.mul(dy, b.mul(x, 2)), numbers);
unary("sin", (b, x, _out, dy) => b.mul(dy, b.cos(x)));
unary("cos", (b, x, _out, dy) => b.neg(b.mul(dy, b.sin(x))));
unary("tanh", (b, _x, out, dy) => b.mul(dy, b.sub(1, b.square(out))));
unary("sigmoid", (b, _x, out, dy) => b.mul(dy, b.mul(out, b.sub(1, out))));
unary("relu", (b, x, _out, dy) => b.mul(dy, indicator(b, b.greater(x, 0), dy)), floats, exact);
// d(x σ(x)) = σ(x) + out · (1 − σ(x))
unary(
  "silu",
  (b, x, out, dy) => {
    const s = b.sigmoid(x);
    return b.mul(dy, b.add(s, b.mul(out, b.sub(1, s))));
  },
  floats,
  { flopsPerElement: 4 },
);

/** Ops of x + epsilon, whose default underflows in fp16 and is therefore always written out. */
function withEpsilon(
  type: string,
  epsilon: number,
  rule: (b: Builder, shifted: () => Value, out: Value, dy: Value) => Value,
): void {
  defineOp({
    type,
    inputs: { x: { dtypes: floats } },
    params: { epsilon: { kind: "float", default: epsilon } },
    infer: (op) => [op.tensor("x")],
    gradient: ({ b, op, outputs, dy }) => ({
      x: () => rule(b, () => b.add(op.value("x"), op.float("epsilon")), itemAt(outputs, 0), dy()),
    }),
  });
}

withEpsilon("rsqrt", 1e-12, (b, _shifted, out, dy) => b.mul(b.mul(dy, -0.5), b.mul(out, b.square(out))));
withEpsilon("inverse", 1e-4, (b, _shifted, out, dy) => b.neg(b.mul(dy, b.square(out))));
withEpsilon("log", 1e-45, (b, shifted, _out, dy) => b.div(dy, shifted()));

defineOp({
  type: "clip",
  exact: true,
  inputs: { x: { dtypes: floats } },
  params: { alpha: { kind: "float" }, beta: { kind: "float" } },
  infer: (op) => {
    if (op.float("alpha") > op.float("beta"))
      op.fail("alpha", `at most beta ${op.float("beta")}`, String(op.float("alpha")));
    return [op.tensor("x")];
  },
  gradient: ({ b, op, dy }) => ({
    x: () => {
      const x = op.value("x");
      const inside = b.mul(
        indicator(b, b.greaterEqual(x, op.float("alpha")), x),
        indicator(b, b.lessEqual(x, op.float("beta")), x),
      );
      return b.mul(dy(), inside);
    },
  }),
});

const rootTwoOverPi = Math.sqrt(2 / Math.PI);

defineOp({
  type: "gelu",
  inputs: { x: { dtypes: floats } },
  params: {
    mode: { kind: "string", default: "EXACT", choices: ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] },
  },
  infer: (op) => [op.tensor("x")],
  flops: (op) => 8 * op.shape("x").reduce((n, d) => n * d, 1),
  gradient: ({ b, op, dy }) => ({
    x: () => {
      const x = op.value("x");
      const mode = op.string("mode");
      if (mode === "TANH_APPROXIMATION") {
        // ½(1 + t) + ½x(1 − t²)·√(2/π)(1 + 3·0.044715x²), t = tanh(√(2/π)(x + 0.044715x³))
        const x2 = b.square(x);
        const t = b.tanh(b.mul(x, b.add(rootTwoOverPi, b.mul(x2, 0.044715 * rootTwoOverPi))));
        const slope = b.add(rootTwoOverPi, b.mul(x2, 3 * 0.044715 * rootTwoOverPi));
        const left = b.mul(b.add(t, 1), 0.5);
        const right = b.mul(b.mul(b.mul(x, 0.5), b.sub(1, b.square(t))), slope);
        return b.mul(dy(), b.add(left, right));
      }
      if (mode === "SIGMOID_APPROXIMATION") {
        const s = b.sigmoid(b.mul(x, 1.702));
        return b.mul(dy(), b.add(s, b.mul(b.mul(x, 1.702), b.mul(s, b.sub(1, s)))));
      }
      // Φ(x) + x φ(x)
      const cdf = b.mul(b.add(b.erf(b.mul(x, Math.SQRT1_2)), 1), 0.5);
      const density = b.mul(b.exp(b.mul(b.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return b.mul(dy(), b.add(cdf, b.mul(x, density)));
    },
  }),
});

defineOp({
  type: "cast",
  inputs: { x: { dtypes: "any" } },
  params: {
    dtype: { kind: "string", choices: ["int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool"] },
  },
  infer: (op) => {
    const to = (["int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool"] as const).find(
      (d) => d === op.string("dtype"),
    );
    return [tensorType(to ?? "fp32", op.shape("x"))];
  },
  flops: () => 0,
  gradient: ({ b, op, dy }) => {
    const { dtype } = op.tensor("x");
    const differentiable = floats.includes(dtype) && floats.some((f) => f === op.string("dtype"));
    return differentiable ? { x: () => b.cast(dy(), dtype) } : {};
  },
});
