/**
 * @file Indexed reading and writing in ONNX.
 *
 * A negative index counts from the end in ONNX and is out of bounds in MIL, so it is turned into one that is out
 * of bounds in ONNX too and fails the run.
 */
import { dim } from "../../../elements.ts";
import { EspalierError } from "../../../errors.ts";
import type { OpArguments } from "../../../mil/op.ts";
import { elementCount, isFloat, type Shape } from "../../../mil/types.ts";
import type { OnnxGraph } from "../graph.ts";
import { type Lowering, type LoweringContext, resultShape } from "./context.ts";

const outOfBounds = 2 ** 31 - 1;

/** The indices as int64 or int32, negative ones out of bounds. Constants that hold none pass as they are. */
function checkedIndices({ g, op, name }: LoweringContext, wide: boolean): string {
  const data = op.value("indices").producer?.constant?.data;
  let indices = name("indices");
  if (!data?.every((i) => i >= 0)) {
    const zero = g.scalar("int32", 0);
    indices = g.node("Where", [g.node("Less", [indices, zero]), g.scalar("int32", outOfBounds), indices]);
  }
  return wide ? g.cast(indices, "int64") : indices;
}

const without = (rank: number, axis: number): number[] =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);

/** Moves axis `from` to position `to`. */
function moved(g: OnnxGraph, x: string, rank: number, from: number, to: number): string {
  if (from === to) return x;
  const perm = without(rank, from);
  perm.splice(to, 0, from);
  return g.node("Transpose", [x], { perm });
}

const gather: Lowering = (c) => {
  const { g, op, name } = c;
  const shape = op.shape("x");
  const axis = op.axis("axis", shape.length);
  const batch = op.int("batch_dims");
  if (batch === 0) return g.node("Gather", [name("x"), checkedIndices(c, false)], { axis });
  // With the gathered axis right behind the batch it is a GatherND; what lay between then follows the indices.
  const indexShape = op.shape("indices");
  const front = moved(g, name("x"), shape.length, axis, batch);
  const indices = g.reshape(checkedIndices(c, true), [...indexShape, 1]);
  const picked = g.node("GatherND", [front, indices], { batch_dims: batch });
  const between = axis - batch;
  if (between === 0) return picked;
  const rank = resultShape(c).length;
  const axes = Array.from({ length: rank }, (_, i) => i);
  const perm = [
    ...axes.slice(0, batch),
    ...axes.slice(indexShape.length, indexShape.length + between),
    ...axes.slice(batch, indexShape.length),
    ...axes.slice(indexShape.length + between),
  ];
  return g.node("Transpose", [picked], { perm });
};

/** The ONNX reduction of a scatter mode, with the updates it needs. */
function reduction(g: OnnxGraph, op: OpArguments, updates: string): { kind: string; updates: string } {
  const mode = op.string("mode");
  if (mode === "update") return { kind: "none", updates };
  if (mode === "sub") return { kind: "add", updates: g.node("Neg", [updates]) };
  if (mode !== "div") return { kind: mode, updates };
  if (!isFloat(op.tensor("updates").dtype)) {
    throw new EspalierError("program/unsupported-op", `${op.type}: mode "div" on integers does not run on onnxruntime`);
  }
  return { kind: "mul", updates: g.node("Reciprocal", [updates]) };
}

/**
 * data[indices[i]] ∘= updates[i], each index addressing `data`'s leading axes.
 *
 * ONNX Runtime's ScatterND spreads the indices over threads without locks and loses updates to an index that
 * occurs twice (microsoft/onnxruntime issues 18048 and 23396), so with several threads every element is
 * addressed in flat `ScatterElements`, which runs in order.
 */
function scatterRows(
  c: LoweringContext,
  rows: { data: string; shape: Shape; indices: string; updates: string; indexShape: Shape },
): string {
  const { g } = c;
  const { data, shape, indices, indexShape } = rows;
  const { kind, updates } = reduction(g, c.op, rows.updates);
  if (c.threads === 1) return g.node("ScatterND", [data, indices, updates], { reduction: kind });
  const depth = dim(indexShape, -1);
  const count = elementCount(indexShape) / depth;
  const run = elementCount(shape.slice(depth));
  const step = Array.from({ length: depth }, (_, i) => elementCount(shape.slice(i + 1)));
  const legal = g.node("Less", [indices, g.int64(shape.slice(0, depth))]);
  const inside = g.node("Where", [legal, indices, g.int64([outOfBounds])]);
  const base = g.node("ReduceSum", [g.node("Mul", [inside, g.int64(step)]), g.int64([-1])], { keepdims: 0 });
  const within = g.initializer(
    "int64",
    [1, run],
    BigInt64Array.from({ length: run }, (_, i) => BigInt(i)),
  );
  const flat = g.reshape(g.node("Add", [g.reshape(base, [count, 1]), within]), [count * run]);
  const elements = g.node(
    "ScatterElements",
    [g.reshape(data, [elementCount(shape)]), flat, g.reshape(updates, [count * run])],
    { axis: 0, reduction: kind },
  );
  return g.reshape(elements, shape);
}

const scatter: Lowering = (c) => {
  const { g, op, name } = c;
  const shape = op.shape("data");
  const axis = op.axis("axis", shape.length);
  const indexShape = op.shape("indices");
  const count = elementCount(indexShape);
  if (count === 0) return name("data");
  const rows = g.reshape(checkedIndices(c, true), [count, 1]);
  // updates: (before…, indices…, after…) → (indices, before…, after…)
  const flat: Shape = [...shape.slice(0, axis), count, ...shape.slice(axis + 1)];
  const updates = moved(g, g.reshape(name("updates"), flat), flat.length, axis, 0);
  const data = moved(g, name("data"), shape.length, axis, 0);
  const front = [dim(shape, axis), ...without(shape.length, axis).map((i) => dim(shape, i))];
  const added = scatterRows(c, { data, shape: front, indices: rows, indexShape: [count, 1], updates });
  return moved(g, added, shape.length, 0, axis);
};

const scatterAlongAxis: Lowering = (c) => {
  const { g, op, name } = c;
  if (elementCount(op.shape("indices")) === 0) return name("data");
  const r = reduction(g, op, name("updates"));
  const axis = op.axis("axis", op.shape("data").length);
  return g.node("ScatterElements", [name("data"), checkedIndices(c, false), r.updates], { axis, reduction: r.kind });
};

export const gatherScatter: Record<string, Lowering> = {
  gather,
  gather_along_axis: (c) =>
    c.g.node("GatherElements", [c.name("x"), checkedIndices(c, false)], {
      axis: c.op.axis("axis", c.op.shape("x").length),
    }),
  gather_nd: (c) =>
    c.g.node("GatherND", [c.name("x"), checkedIndices(c, true)], { batch_dims: c.op.int("batch_dims") }),
  scatter,
  scatter_along_axis: scatterAlongAxis,
  scatter_nd: (c) => {
    const { op, name } = c;
    const indexShape = op.shape("indices");
    if (elementCount(indexShape) === 0) return name("data");
    const shape = op.shape("data");
    const indices = checkedIndices(c, true);
    return scatterRows(c, { data: name("data"), shape, indices, indexShape, updates: name("updates") });
  },
};
