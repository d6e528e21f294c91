/** @file Reshaping, permuting, joining, cutting and padding. */
import { dim, itemAt, numberAt } from "../../elements.ts";
import { defineOp, type OpArguments } from "../op.ts";
import { elementCount, type Shape, sameShape, showType, tensorType } from "../types.ts";
import { basic, movable, permuted, sumToShape } from "./common.ts";

const none = (): number => 0;

function resolvedShape(op: OpArguments): number[] {
  const from = op.shape("x");
  const wanted = op.ints("shape");
  const count = elementCount(from);
  const lead = from.length - wanted.length;
  const shape = wanted.map((d, i) => (d === 0 && count !== 0 ? (from[i + lead] ?? 0) : d));
  const open = shape.indexOf(-1);
  if (open >= 0) {
    const known = shape.reduce((n, d, i) => (i === open ? n : n * d), 1);
    shape[open] = known === 0 ? 0 : count / known;
  }
  const legal = shape.every((d) => Number.isInteger(d) && d >= 0);
  if (!legal || elementCount(shape) !== count) {
    op.fail("shape", `of ${count} elements like x ${showType(op.tensor("x"))}`, `[${wanted.join(", ")}]`);
  }
  return shape;
}

defineOp({
  type: "reshape",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable } },
  params: { shape: { kind: "ints" } },
  infer: (op) => [tensorType(op.tensor("x").dtype, resolvedShape(op))],
  flops: none,
  gradient: ({ b, op, dy }) => ({ x: () => b.reshape(dy(), op.shape("x")) }),
});

defineOp({
  type: "transpose",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable } },
  params: { perm: { kind: "ints" } },
  infer: (op) => {
    const x = op.tensor("x");
    const perm = op.ints("perm").map((p) => (p < 0 ? p + x.shape.length : p));
    if (perm.length !== x.shape.length || !x.shape.every((_, i) => perm.includes(i))) {
      op.fail("perm", `a permutation of ${x.shape.length} axes`, `[${perm.join(", ")}]`);
    }
    return [tensorType(x.dtype, permuted(x.shape, perm))];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    x: () => {
      const perm = op.ints("perm").map((p) => (p < 0 ? p + op.shape("x").length : p));
      return b.transpose(
        dy(),
        perm.map((_, i) => perm.indexOf(i)),
      );
    },
  }),
});

defineOp({
  type: "expand_dims",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable } },
  params: { axes: { kind: "ints" } },
  infer: (op) => {
    const x = op.tensor("x");
    const rank = x.shape.length + op.ints("axes").length;
    const axes = op.axes("axes", rank);
    const rest = [...x.shape];
    return [
      tensorType(
        x.dtype,
        Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : numberAt(rest.splice(0, 1), 0))),
      ),
    ];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({ x: () => b.reshape(dy(), op.shape("x")) }),
});

defineOp({
  type: "squeeze",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable } },
  params: { axes: { kind: "ints" } },
  infer: (op) => {
    const x = op.tensor("x");
    const axes = op.axes("axes", x.shape.length);
    for (const a of axes) if (x.shape[a] !== 1) op.fail("axes", "axes of size 1", `${a} of ${showType(x)}`);
    return [
      tensorType(
        x.dtype,
        x.shape.filter((_, i) => !axes.includes(i)),
      ),
    ];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({ x: () => b.reshape(dy(), op.shape("x")) }),
});

function variadicTensors(op: OpArguments): { dtype: (typeof movable)[number]; shapes: Shape[] } {
  const values = op.values("values");
  const first = values[0]?.type;
  if (first?.kind !== "tensor") return op.fail("values", "at least one tensor", "none");
  for (const v of values) {
    if (v.type.kind !== "tensor" || v.type.dtype !== first.dtype)
      op.fail("values", `all ${first.dtype}`, showType(v.type));
  }
  return { dtype: first.dtype, shapes: values.map((v) => (v.type.kind === "tensor" ? v.type.shape : [])) };
}

defineOp({
  type: "concat",
  exact: true,
  inputs: { values: { dtypes: movable, variadic: true } },
  params: { axis: { kind: "int" }, interleave: { kind: "bool", default: false } },
  infer: (op) => {
    const { dtype, shapes } = variadicTensors(op);
    const first = itemAt(shapes, 0);
    const axis = op.axis("axis", first.length);
    for (const s of shapes) {
      const fits = s.length === first.length && s.every((d, i) => i === axis || d === first[i]);
      if (!fits) op.fail("values", `equal to [${first.join(", ")}] but for axis ${axis}`, `[${s.join(", ")}]`);
    }
    if (op.bool("interleave")) op.fail("interleave", "false", "true");
    const total = shapes.reduce((n, s) => n + numberAt(s, axis), 0);
    return [
      tensorType(
        dtype,
        first.map((d, i) => (i === axis ? total : d)),
      ),
    ];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    values: () => {
      const values = op.values("values");
      const shapes = values.map((v) => (v.type.kind === "tensor" ? v.type.shape : []));
      const axis = op.axis("axis", itemAt(shapes, 0).length);
      let start = 0;
      return shapes.map((s) => {
        const begin = s.map((_, i) => (i === axis ? start : 0));
        start += numberAt(s, axis);
        return b.slice(
          dy(),
          begin,
          s.map((d, i) => (i === axis ? start : d)),
        );
      });
    },
  }),
});

defineOp({
  type: "stack",
  exact: true,
  inputs: { values: { dtypes: movable, variadic: true } },
  params: { axis: { kind: "int" } },
  infer: (op) => {
    const { dtype, shapes } = variadicTensors(op);
    const first = itemAt(shapes, 0);
    for (const s of shapes)
      if (!sameShape(s, first)) op.fail("values", `all [${first.join(", ")}]`, `[${s.join(", ")}]`);
    const shape = [...first];
    shape.splice(op.axis("axis", first.length + 1), 0, shapes.length);
    return [tensorType(dtype, shape)];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    values: () => {
      const d = dy();
      const shape = d.type.kind === "tensor" ? d.type.shape : [];
      const axis = op.axis("axis", shape.length);
      return op.values("values").map((_, k) => {
        const begin = shape.map((_d, i) => (i === axis ? k : 0));
        return b.squeeze(
          b.slice(
            d,
            begin,
            shape.map((n, i) => (i === axis ? k + 1 : n)),
          ),
          [axis],
        );
      });
    },
  }),
});

defineOp({
  type: "split",
  exact: true,
  inputs: { x: { dtypes: basic } },
  params: {
    num_splits: { kind: "int", default: null },
    split_sizes: { kind: "ints", default: null },
    axis: { kind: "int" },
  },
  infer: (op) => {
    const x = op.tensor("x");
    const axis = op.axis("axis", x.shape.length);
    return splitSizes(op).map((size) =>
      tensorType(
        x.dtype,
        x.shape.map((d, i) => (i === axis ? size : d)),
      ),
    );
  },
  flops: none,
  gradient: ({ b, op, outputs, dy }) => ({
    x: () =>
      b.concat(
        outputs.map((_, i) => dy(i)),
        op.int("axis"),
      ),
  }),
});

/** The sizes `split` cuts its axis into. */
export function splitSizes(op: OpArguments): number[] {
  const x = op.shape("x");
  const size = numberAt(x, op.axis("axis", x.length));
  if ("split_sizes" in op.params) {
    const sizes = [...op.ints("split_sizes")];
    if (sizes.reduce((n, s) => n + s, 0) !== size)
      op.fail("split_sizes", `adding up to ${size}`, `[${sizes.join(", ")}]`);
    return sizes;
  }
  const parts = op.int("num_splits");
  if (parts < 1 || size % parts !== 0) op.fail("num_splits", `a divisor of ${size}`, String(parts));
  return Array.from({ length: parts }, () => size / parts);
}

defineOp({
  type: "tile",
  exact: true,
  inputs: { x: { dtypes: basic } },
  params: { reps: { kind: "ints" } },
  infer: (op) => {
    const x = op.tensor("x");
    const reps = op.ints("reps");
    if (reps.length !== x.shape.length) op.fail("reps", `${x.shape.length} integers`, `[${reps.join(", ")}]`);
    return [
      tensorType(
        x.dtype,
        x.shape.map((d, i) => d * numberAt(reps, i)),
      ),
    ];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    x: () => {
      const x = op.shape("x");
      const reps = op.ints("reps");
      if (x.every((d, i) => d === 1 || reps[i] === 1)) return sumToShape(b, dy(), x);
      const split = b.reshape(
        dy(),
        x.flatMap((d, i) => [numberAt(reps, i), d]),
      );
      return b.sum(
        split,
        x.map((_, i) => 2 * i),
      );
    },
  }),
});

/** Bounds of a slice with masks applied and negative indices resolved; null where they are only known at run time. */
export function sliceBounds(
  op: OpArguments,
  shape: Shape,
): { begin: number[]; end: number[]; stride: number[] } | null {
  if (!("begin" in op.params) || !("end" in op.params)) return null;
  const mask = (name: string, i: number): boolean => (name in op.params ? itemAt(op.bools(name), i) : false);
  for (const name of ["begin", "end", "stride"])
    if (name in op.params && op.ints(name).length !== shape.length)
      op.fail(name, `${shape.length} integers`, `[${op.ints(name).join(", ")}]`);
  const stride = shape.map((_, i) => ("stride" in op.params ? numberAt(op.ints("stride"), i) : 1));
  for (const name of ["begin", "end"]) {
    if (op.ints(name).length !== shape.length)
      op.fail(name, `${shape.length} integers`, `[${op.ints(name).join(", ")}]`);
  }
  const bound = (v: number, size: number): number => Math.min(size, Math.max(0, v < 0 ? v + size : v));
  const squeezed = (i: number): boolean => mask("squeeze_mask", i);
  const begin = shape.map((d, i) => (mask("begin_mask", i) ? 0 : bound(numberAt(op.ints("begin"), i), d)));
  const end = shape.map((d, i) =>
    squeezed(i) ? numberAt(begin, i) + 1 : mask("end_mask", i) ? d : bound(numberAt(op.ints("end"), i), d),
  );
  for (const s of stride) if (s < 1) op.fail("stride", "positive", String(s));
  return { begin, end, stride };
}

const sliceParams = {
  begin: { kind: "ints", default: null },
  end: { kind: "ints", default: null },
  stride: { kind: "ints", default: null },
  begin_mask: { kind: "bools", default: null },
  end_mask: { kind: "bools", default: null },
  squeeze_mask: { kind: "bools", default: null },
} as const;

defineOp({
  type: "slice_by_index",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable } },
  params: sliceParams,
  infer: (op) => {
    const x = op.tensor("x");
    const bounds = sliceBounds(op, x.shape) ?? op.fail("begin", "given with end", "nothing");
    const { begin, end, stride } = bounds;
    const shape = x.shape.flatMap((_, i) => {
      if ("squeeze_mask" in op.params && op.bools("squeeze_mask")[i]) return [];
      return [Math.max(0, Math.ceil((numberAt(end, i) - numberAt(begin, i)) / numberAt(stride, i)))];
    });
    return [tensorType(x.dtype, shape)];
  },
  flops: none,
  gradient: ({ b, op, dy }) => ({
    x: () => {
      const x = op.shape("x");
      const { begin, end, stride } = sliceBounds(op, x) ?? op.fail("begin", "known", "a run-time value");
      if (stride.some((s) => s !== 1)) op.fail("stride", "1 to have a gradient", `[${stride.join(", ")}]`);
      const kept = x.map((_, i) => numberAt(end, i) - numberAt(begin, i));
      const pad = x.flatMap((d, i) => [numberAt(begin, i), d - numberAt(end, i)]);
      const g = b.reshape(dy(), kept);
      if (pad.every((p) => p === 0)) return g;
      return itemAt(b.op("pad", { x: g }, { pad, mode: "constant", constant_val: 0 }), 0);
    },
  }),
});

defineOp({
  type: "slice_by_size",
  exact: true,
  moves: true,
  inputs: { x: { dtypes: movable }, begin: { dtypes: ["int32"], optional: true } },
  params: { begin: { kind: "ints", default: null }, size: { kind: "ints" } },
  infer: (op) => {
    const x = op.tensor("x");
    const known = "begin" in op.params ? op.ints("begin") : null;
    const size = op.ints("size").map((s, i) => (s === -1 ? dim(x.shape, i) - (known?.[i] ?? 0) : s));
    size.forEach((s, i) => {
      if (s < 0 || s + (known?.[i] ?? 0) > dim(x.shape, i))
        op.fail("size", `within ${showType(x)}`, `[${size.join(", ")}]`);
    });
    return [tensorType(x.dtype, size)];
  },
  flops: none,
});

defineOp({
  type: "slice_update",
  exact: true,
  inputs: {
    x: { dtypes: movable },
    update: { dtypes: movable },
    begin: { dtypes: ["int32"], optional: true },
    end: { dtypes: ["int32"], optional: true },
  },
  params: sliceParams,
  infer: (op) => {
    const x = op.tensor("x");
    const u = op.tensor("update");
    if (u.dtype !== x.dtype) op.fail("update", `${x.dtype} like x`, showType(u));
    if (u.shape.length !== x.shape.length) op.fail("update", `of rank ${x.shape.length}`, showType(u));
    u.shape.forEach((d, i) => {
      if (d > dim(x.shape, i)) op.fail("update", `within x ${showType(x)}`, showType(u));
    });
    for (const name of ["begin", "end"]) {
      const v = op.optional(name);
      if (v && (v.type.kind !== "tensor" || !sameShape(v.type.shape, [x.shape.length]))) {
        op.fail(name, `int32[${x.shape.length}]`, showType(v.type));
      }
    }
    return [x];
  },
  flops: none,
});

defineOp({
  type: "pad",
  exact: true,
  inputs: { x: { dtypes: ["fp16", "fp32"] } },
  params: {
    pad: { kind: "ints" },
    mode: { kind: "string", default: "constant", choices: ["constant", "reflect", "replicate"] },
    constant_val: { kind: "float", default: 0 },
  },
  infer: (op) => {
    const x = op.tensor("x");
    const pad = op.ints("pad");
    if (pad.length % 2 !== 0 || pad.length > 2 * x.shape.length) {
      op.fail("pad", `up to ${2 * x.shape.length} integers in pairs`, `[${pad.join(", ")}]`);
    }
    const lead = x.shape.length - pad.length / 2;
    return [
      tensorType(
        x.dtype,
        x.shape.map((d, i) => (i < lead ? d : d + numberAt(pad, 2 * (i - lead)) + numberAt(pad, 2 * (i - lead) + 1))),
      ),
    ];
  },
  flops: none,
  gradient: ({ b, op, dy }) => {
    if (op.string("mode") !== "constant") return {};
    return {
      x: () => {
        const x = op.shape("x");
        const pad = op.ints("pad");
        const lead = x.length - pad.length / 2;
        const begin = x.map((_, i) => (i < lead ? 0 : numberAt(pad, 2 * (i - lead))));
        return b.slice(
          dy(),
          begin,
          x.map((d, i) => d + numberAt(begin, i)),
        );
      },
    };
  },
});
