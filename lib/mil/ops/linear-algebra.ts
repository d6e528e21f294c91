/** @file Products: `matmul`, `linear`, `conv`. */
import { dim, numberAt } from "../../elements.ts";
import type { Builder } from "../builder.ts";
import { defineOp, type OpArguments } from "../op.ts";
import type { Value } from "../program.ts";
import { elementCount, showType, tensorType, type ValueType } from "../types.ts";
import { broadcastShapes, floats, numbers, sumToShape } from "./common.ts";

const outputSize = (types: readonly ValueType[]): number => {
  const t = types[0];
  return t?.kind === "tensor" ? elementCount(t.shape) : 0;
};

function matmulDims(op: OpArguments): { m: number; k: number; n: number; batch: number[] } {
  const x = op.tensor("x");
  const y = op.tensor("y");
  if (x.dtype !== y.dtype) op.fail("y", `${x.dtype} like x`, showType(y));
  if (x.shape.length < 2) op.fail("x", "of rank 2 or more", showType(x));
  if (y.shape.length < 2) op.fail("y", "of rank 2 or more", showType(y));
  const [xr, xc] = x.shape.slice(-2) as [number, number];
  const [yr, yc] = y.shape.slice(-2) as [number, number];
  const [m, k] = op.bool("transpose_x") ? [xc, xr] : [xr, xc];
  const [k2, n] = op.bool("transpose_y") ? [yc, yr] : [yr, yc];
  if (k !== k2) op.fail("y", `with ${k} rows to match x ${showType(x)}`, showType(y));
  const batch =
    broadcastShapes(x.shape.slice(0, -2), y.shape.slice(0, -2)) ??
    op.fail("y", `with batch dimensions that broadcast with x ${showType(x)}`, showType(y));
  return { m, k, n, batch };
}

defineOp({
  type: "matmul",
  inputs: { x: { dtypes: numbers }, y: { dtypes: numbers } },
  params: { transpose_x: { kind: "bool", default: false }, transpose_y: { kind: "bool", default: false } },
  infer: (op) => {
    const { m, n, batch } = matmulDims(op);
    return [tensorType(op.tensor("x").dtype, [...batch, m, n])];
  },
  flops: (op, types) => 2 * outputSize(types) * matmulDims(op).k,
  gradient: ({ b, op, dy }) => {
    const x = op.value("x");
    const y = op.value("y");
    const tx = op.bool("transpose_x");
    const ty = op.bool("transpose_y");
    return {
      x: () => {
        const g = tx ? b.matmul(y, dy(), { transposeX: ty, transposeY: true }) : b.matmul(dy(), y, { transposeY: !ty });
        return sumToShape(b, g, op.shape("x"));
      },
      y: () => {
        const xs = op.shape("x");
        const ys = op.shape("y");
        // A weight shared by the whole batch: one product over all rows instead of one per batch entry and a sum.
        if (!tx && ys.length === 2 && xs.length > 2) {
          const rows = elementCount(xs.slice(0, -1));
          const flatX = b.reshape(x, [rows, dim(xs, -1)]);
          const d = dy();
          const flatDy = b.reshape(d, [rows, dim(ys, ty ? 0 : 1)]);
          return ty ? b.matmul(flatDy, flatX, { transposeX: true }) : b.matmul(flatX, flatDy, { transposeX: true });
        }
        const g = ty ? b.matmul(dy(), x, { transposeX: true, transposeY: tx }) : b.matmul(x, dy(), { transposeX: !tx });
        return sumToShape(b, g, ys);
      },
    };
  },
});

defineOp({
  type: "linear",
  inputs: { x: { dtypes: numbers }, weight: { dtypes: numbers }, bias: { dtypes: numbers, optional: true } },
  params: {},
  infer: (op) => {
    const x = op.tensor("x");
    const w = op.tensor("weight");
    if (x.shape.length < 1 || x.shape.length > 3) op.fail("x", "of rank 1 to 3", showType(x));
    if (w.shape.length !== 2) op.fail("weight", "of rank 2 (out, in)", showType(w));
    if (w.shape[1] !== x.shape.at(-1))
      op.fail("weight", `(out, ${x.shape.at(-1)}) to match x ${showType(x)}`, showType(w));
    if (w.dtype !== x.dtype) op.fail("weight", `${x.dtype} like x`, showType(w));
    const bias = op.optional("bias");
    if (bias && (bias.type.kind !== "tensor" || bias.type.shape.length !== 1 || bias.type.shape[0] !== w.shape[0])) {
      op.fail("bias", `[${w.shape[0]}]`, showType(bias.type));
    }
    return [tensorType(x.dtype, [...x.shape.slice(0, -1), dim(w.shape, 0)])];
  },
  flops: (op, types) => 2 * outputSize(types) * dim(op.shape("weight"), 1),
  gradient: ({ b, op, dy }) => {
    const flat = (v: Value): Value => {
      const shape = v.type.kind === "tensor" ? v.type.shape : [];
      return b.reshape(v, [elementCount(shape.slice(0, -1)), dim(shape, -1)]);
    };
    return {
      x: () => b.reshape(b.matmul(flat(dy()), op.value("weight")), op.shape("x")),
      weight: () => b.matmul(flat(dy()), flat(op.value("x")), { transposeX: true }),
      bias: () => b.sum(flat(dy()), [0]),
    };
  },
});

/** Output extent along one spatial axis. */
const convExtent = (
  size: number,
  kernel: number,
  stride: number,
  dilation: number,
  before: number,
  after: number,
): number => Math.floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1;

/** Padding before and after each spatial axis, as `conv` applies it. */
export function convPadding(op: OpArguments): number[] {
  const spatial = op.shape("x").slice(2);
  const kernel = op.shape("weight").slice(2);
  const type = op.string("pad_type");
  if (type === "custom") return [...op.ints("pad")];
  if (type === "valid") return spatial.flatMap(() => [0, 0]);
  return spatial.flatMap((size, i) => {
    const stride = numberAt(op.ints("strides"), i);
    const reach = numberAt(op.ints("dilations"), i) * (numberAt(kernel, i) - 1) + 1;
    const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + reach - size);
    const small = Math.floor(total / 2);
    return type === "same" ? [small, total - small] : [total - small, small];
  });
}

/** A 1×1 convolution over (n, Cin, 1, S) as a product with the weight's (Cout, Cin) matrix. */
const isPointwise = (op: OpArguments): boolean =>
  op
    .shape("weight")
    .slice(2)
    .every((k) => k === 1) &&
  op.ints("strides").every((s) => s === 1) &&
  op.int("groups") === 1 &&
  convPadding(op).every((p) => p === 0);

defineOp({
  type: "conv",
  inputs: { x: { dtypes: floats }, weight: { dtypes: floats }, bias: { dtypes: floats, optional: true } },
  params: {
    strides: { kind: "ints" },
    pad_type: { kind: "string", default: "valid", choices: ["valid", "same", "same_lower", "custom"] },
    pad: { kind: "ints" },
    dilations: { kind: "ints" },
    groups: { kind: "int", default: 1 },
  },
  infer: (op) => {
    const x = op.tensor("x");
    const w = op.tensor("weight");
    const spatial = x.shape.length - 2;
    if (spatial < 1 || spatial > 3) op.fail("x", "(n, channels, 1 to 3 spatial axes)", showType(x));
    if (w.shape.length !== x.shape.length) op.fail("weight", `of rank ${x.shape.length}`, showType(w));
    const groups = op.int("groups");
    if (dim(w.shape, 1) * groups !== x.shape[1]) {
      op.fail("weight", `(out, ${dim(x.shape, 1) / groups}, …) for ${groups} groups of x ${showType(x)}`, showType(w));
    }
    if (dim(w.shape, 0) % groups !== 0) op.fail("weight", `with outputs divisible by ${groups}`, showType(w));
    for (const [name, length] of [
      ["strides", spatial],
      ["dilations", spatial],
      ["pad", 2 * spatial],
    ] as const) {
      if (op.ints(name).length !== length) op.fail(name, `${length} integers`, JSON.stringify(op.ints(name)));
    }
    const pad = convPadding(op);
    const out = x.shape
      .slice(2)
      .map((size, i) =>
        convExtent(
          size,
          dim(w.shape, i + 2),
          numberAt(op.ints("strides"), i),
          numberAt(op.ints("dilations"), i),
          numberAt(pad, 2 * i),
          numberAt(pad, 2 * i + 1),
        ),
      );
    if (out.some((d) => d < 1)) op.fail("weight", "no larger than the padded input", showType(w));
    return [tensorType(x.dtype, [dim(x.shape, 0), dim(w.shape, 0), ...out])];
  },
  flops: (op, types) => 2 * outputSize(types) * elementCount(op.shape("weight").slice(1)),
  // Only the 1×1 case, which is all a decoder uses, has a gradient.
  gradient: ({ b, op, dy }) => {
    if (!isPointwise(op)) return {};
    const [n, cin, ...rest] = op.shape("x") as [number, number, ...number[]];
    const cout = dim(op.shape("weight"), 0);
    const positions = elementCount(rest);
    const dyFlat = (): Value => b.reshape(dy(), [n, cout, positions]);
    const w2 = (builder: Builder): Value => builder.reshape(op.value("weight"), [cout, cin]);
    return {
      x: () => b.reshape(b.matmul(w2(b), dyFlat(), { transposeX: true }), op.shape("x")),
      weight: () => {
        const x = b.reshape(op.value("x"), [n, cin, positions]);
        return b.reshape(b.sum(b.matmul(dyFlat(), x, { transposeY: true }), [0]), op.shape("weight"));
      },
      bias: () => b.sum(dyFlat(), [0, 2]),
    };
  },
});
