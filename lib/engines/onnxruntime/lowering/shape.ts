/** @file Reshaping, permuting, joining, cutting, padding and updating slices in ONNX. */
import { dim, itemAt, numberAt } from "../../../elements.ts";
import { sliceBounds, splitSizes } from "../../../mil/ops/shape.ts";
import { elementCount, type Shape, sameShape } from "../../../mil/types.ts";
import { type Lowering, type LoweringContext, resultShape } from "./context.ts";

const reshape: Lowering = (c) =>
  sameShape(c.op.shape("x"), resultShape(c)) ? c.name("x") : c.g.reshape(c.name("x"), resultShape(c));

const shapeOf = (c: LoweringContext, i: number): Shape => {
  const type = c.op.values("values")[i]?.type;
  return type?.kind === "tensor" ? type.shape : [];
};

const concat: Lowering = (c) => {
  const names = c.names("values").filter((_, i) => elementCount(shapeOf(c, i)) > 0);
  const axis = c.op.axis("axis", resultShape(c).length);
  return names.length === 1 ? itemAt(names, 0) : c.g.node("Concat", names, { axis });
};

const stack: Lowering = (c) => {
  const axis = c.op.axis("axis", resultShape(c).length);
  const axes = c.g.int64([axis]);
  const names = c.names("values").map((n) => c.g.node("Unsqueeze", [n, axes]));
  return c.g.node("Concat", names, { axis });
};

const split: Lowering = ({ g, op, name }) => {
  const sizes = splitSizes(op);
  return g.multiple("Split", [name("x"), g.int64(sizes)], sizes.length, {
    axis: op.axis("axis", op.shape("x").length),
  });
};

const tile: Lowering = (c) => {
  const { g, op, name } = c;
  const shape = op.shape("x");
  const reps = op.ints("reps");
  if (reps.every((r) => r === 1)) return name("x");
  if (shape.every((d, i) => d === 1 || reps[i] === 1)) return g.node("Expand", [name("x"), g.int64(resultShape(c))]);
  return g.node("Tile", [name("x"), g.int64(reps)]);
};

const sliceByIndex: Lowering = (c) => {
  const { g, op, name } = c;
  const shape = op.shape("x");
  const { begin, end, stride } = sliceBounds(op, shape) ?? op.fail("begin", "known", "a run-time value");
  const cut = shape.map((_, i) => i).filter((i) => begin[i] !== 0 || end[i] !== shape[i] || stride[i] !== 1);
  const pick = (list: readonly number[]): string => g.int64(cut.map((i) => numberAt(list, i)));
  const kept =
    cut.length === 0 ? name("x") : g.node("Slice", [name("x"), pick(begin), pick(end), g.int64(cut), pick(stride)]);
  return resultShape(c).length === shape.length ? kept : g.reshape(kept, resultShape(c));
};

const sliceBySize: Lowering = (c) => {
  const { g, op, name } = c;
  const size = resultShape(c);
  const axes = g.int64(size.map((_, i) => i));
  if ("begin" in op.params) {
    const begin = op.ints("begin");
    return g.node("Slice", [name("x"), g.int64(begin), g.int64(size.map((s, i) => s + numberAt(begin, i))), axes]);
  }
  const begin = g.cast(name("begin"), "int64");
  return g.node("Slice", [name("x"), begin, g.node("Add", [begin, g.int64(size)]), axes]);
};

/**
 * Writes the update's rows at flat positions Σ (begin + i · stride) · step. Trailing axes that the update covers
 * whole are copied as one run, so the index has one entry per run.
 */
const sliceUpdate: Lowering = (c) => {
  const { g, op, name } = c;
  const shape = op.shape("x");
  const update = op.shape("update");
  if (elementCount(update) === 0) return name("x");
  const mask = (key: string, i: number): boolean => (key in op.params ? itemAt(op.bools(key), i) : false);
  const stride = shape.map((_, i) => ("stride" in op.params ? numberAt(op.ints("stride"), i) : 1));
  let outer = shape.length;
  while (outer > 0 && shape[outer - 1] === update[outer - 1] && stride[outer - 1] === 1) outer--;
  if (outer === 0) return name("update");

  const run = shape.slice(outer);
  const step = new Array<number>(outer).fill(1);
  for (let i = outer - 2; i >= 0; i--) step[i] = numberAt(step, i + 1) * dim(shape, i + 1);
  const lead = update.slice(0, outer);
  const offsets = BigInt64Array.from({ length: elementCount(lead) }, (_, at) => {
    let rest = at;
    let position = 0;
    for (let i = outer - 1; i >= 0; i--) {
      position += (rest % numberAt(lead, i)) * numberAt(stride, i) * numberAt(step, i);
      rest = Math.floor(rest / numberAt(lead, i));
    }
    return BigInt(position);
  });
  const pattern = g.initializer("int64", [offsets.length, 1], offsets);
  let indices: string;
  const steps = step.map((s, i) => (mask("begin_mask", i) ? 0 : s));
  if ("begin" in op.params) {
    const start = op.ints("begin").slice(0, outer);
    const base = start.reduce((n, b, i) => n + (b < 0 ? b + dim(shape, i) : b) * numberAt(steps, i), 0);
    indices = g.node("Add", [pattern, g.int64([base])]);
  } else if (op.has("begin")) {
    const all = g.cast(name("begin"), "int64");
    const begin = outer === shape.length ? all : g.node("Slice", [all, g.int64([0]), g.int64([outer])]);
    const wrapped = g.node("Where", [
      g.node("Less", [begin, g.int64([0])]),
      g.node("Add", [begin, g.int64(shape.slice(0, outer))]),
      begin,
    ]);
    const base = g.node("ReduceSum", [g.node("Mul", [wrapped, g.int64(steps)]), g.int64([0])], { keepdims: 1 });
    indices = g.node("Add", [pattern, base]);
  } else {
    indices = pattern;
  }
  const rows = g.reshape(name("x"), [elementCount(shape.slice(0, outer)), ...run]);
  const updates = g.reshape(name("update"), [offsets.length, ...run]);
  return g.reshape(g.node("ScatterND", [rows, indices, updates]), shape);
};

const pad: Lowering = (c) => {
  const { g, op, name } = c;
  const { shape, dtype } = op.tensor("x");
  const pairs = op.ints("pad");
  const value = c.float("constant_val", dtype);
  if (elementCount(shape) === 0) return g.filled(dtype, resultShape(c), value);
  if (pairs.every((p) => p === 0)) return name("x");
  const lead = new Array<number>(shape.length - pairs.length / 2).fill(0);
  const before = [...lead, ...pairs.filter((_, i) => i % 2 === 0)];
  const after = [...lead, ...pairs.filter((_, i) => i % 2 === 1)];
  const mode = { constant: "constant", reflect: "reflect", replicate: "edge" }[op.string("mode")] ?? "constant";
  const amounts = g.int64([...before, ...after]);
  return mode === "constant"
    ? g.node("Pad", [name("x"), amounts, g.scalar(dtype, value)], { mode })
    : g.node("Pad", [name("x"), amounts], { mode });
};

export const shapes: Record<string, Lowering> = {
  reshape,
  expand_dims: reshape,
  squeeze: reshape,
  transpose: ({ g, op, name }) => {
    const rank = op.shape("x").length;
    const perm = op.ints("perm").map((p) => (p < 0 ? p + rank : p));
    return perm.every((p, i) => p === i) ? name("x") : g.node("Transpose", [name("x")], { perm });
  },
  concat,
  stack,
  split,
  tile,
  slice_by_index: sliceByIndex,
  slice_by_size: sliceBySize,
  slice_update: sliceUpdate,
  pad,
};
