/**
 * @file Indexed reading and writing for TensorFlow.js, on typed arrays.
 *
 * The WASM backend has no kernel for the gradient of a gather and none for most scatter modes, so all but the
 * plain `gather` move elements here. An index outside its axis, negative ones included, fails the run.
 */
import { dim, i32At, numberAt } from "../../../elements.ts";
import { EspalierError } from "../../../errors.ts";
import { elementCount, isFloat, type Shape } from "../../../mil/types.ts";
import type { HostData } from "../../constant-pool.ts";
import { emptyLike, hostTensor, type Kernel, type KernelContext, resultShape } from "./kernel.ts";

/** The indices, each checked against the extent of the axis it points into. */
function checkedIndices(c: KernelContext, extent: (i: number) => number): Int32Array {
  const indices = Int32Array.from(c.operand("indices").dataSync());
  indices.forEach((index, i) => {
    if (index < 0 || index >= extent(i)) {
      throw new EspalierError("engine/failed", `${c.op.type}: index ${index} is outside 0 to ${extent(i) - 1}`);
    }
  });
  return indices;
}

const product = elementCount;

const gather: Kernel = (c) => {
  const { tf, op, operand } = c;
  const { shape, dtype } = op.tensor("x");
  const axis = op.axis("axis", shape.length);
  const batch = op.int("batch_dims");
  const size = dim(shape, axis);
  const indices = checkedIndices(c, () => size);
  if (batch === 0) {
    const picked = tf.gather(operand("x"), hostTensor(tf, indices, [indices.length], "int32"), axis);
    return tf.reshape(picked, resultShape(c));
  }
  // x: (batches, between, size, inner), indices: (batches, count) → (batches, between, count, inner)
  const batches = product(shape.slice(0, batch));
  const between = product(shape.slice(batch, axis));
  const inner = product(shape.slice(axis + 1));
  const count = indices.length / Math.max(1, batches);
  const x = operand("x").dataSync();
  const out = emptyLike(x, product(resultShape(c)));
  for (let run = 0; run < batches * between * count; run++) {
    const outer = Math.floor(run / count);
    const index = i32At(indices, Math.floor(outer / between) * count + (run % count));
    const from = (outer * size + index) * inner;
    out.set(x.subarray(from, from + inner), run * inner);
  }
  return hostTensor(tf, out, resultShape(c), dtype);
};

/** The flat position in a tensor of `shape` that each index of `indexShape` along `axis` means. */
function alongAxis(indices: Int32Array, indexShape: Shape, shape: Shape, axis: number): Int32Array {
  const rank = shape.length;
  return indices.map((index, at) => {
    let rest = at;
    let position = 0;
    let step = 1;
    for (let a = rank - 1; a >= 0; a--) {
      const extent = dim(indexShape, a);
      position += (a === axis ? index : rest % extent) * step;
      rest = Math.floor(rest / extent);
      step *= dim(shape, a);
    }
    return position;
  });
}

const gatherAlongAxis: Kernel = (c) => {
  const { tf, op, operand } = c;
  const { shape, dtype } = op.tensor("x");
  const axis = op.axis("axis", shape.length);
  const indices = checkedIndices(c, () => dim(shape, axis));
  const x = operand("x").dataSync();
  const out = emptyLike(x, indices.length);
  alongAxis(indices, op.shape("indices"), shape, axis).forEach((from, i) => {
    out[i] = numberAt(x, from);
  });
  return hostTensor(tf, out, resultShape(c), dtype);
};

/** The flat start of the run that each tuple of indices (…, depth) names behind `batch` leading axes. */
function tupleStarts(c: KernelContext, shape: Shape, batch: number): { starts: Int32Array; run: number } {
  const indexShape = c.op.shape("indices");
  const depth = dim(indexShape, -1);
  const indices = checkedIndices(c, (i) => dim(shape, batch + (i % depth)));
  const run = product(shape.slice(batch + depth));
  const tuples = indices.length / depth;
  const perBatch = tuples / Math.max(1, product(shape.slice(0, batch)));
  const starts = Int32Array.from({ length: tuples }, (_, t) => {
    let position = Math.floor(t / perBatch);
    for (let d = 0; d < depth; d++) position = position * dim(shape, batch + d) + i32At(indices, t * depth + d);
    return position * run;
  });
  return { starts, run };
}

const gatherNd: Kernel = (c) => {
  const { tf, op, operand } = c;
  const { shape, dtype } = op.tensor("x");
  const { starts, run } = tupleStarts(c, shape, op.int("batch_dims"));
  const x = operand("x").dataSync();
  const out = emptyLike(x, starts.length * run);
  starts.forEach((from, i) => {
    out.set(x.subarray(from, from + run), i * run);
  });
  return hostTensor(tf, out, resultShape(c), dtype);
};

const combine: Record<string, (old: number, update: number) => number> = {
  add: (a, b) => a + b,
  update: (_a, b) => b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  max: Math.max,
  min: Math.min,
};

/** data[at(i)] ∘= updates[i] in order of i. */
function scattered(c: KernelContext, updates: HostData, at: (i: number) => number): ReturnType<typeof hostTensor> {
  const { op } = c;
  const { shape, dtype } = op.tensor("data");
  const mode = op.string("mode");
  if (mode === "div" && !isFloat(dtype)) {
    throw new EspalierError("program/unsupported-op", `${op.type}: mode "div" on integers does not run on tensorflow`);
  }
  const rule = combine[mode] ?? op.fail("mode", "known", mode);
  const out = c.operand("data").dataSync().slice();
  for (let i = 0; i < updates.length; i++) {
    const to = at(i);
    out[to] = rule(numberAt(out, to), numberAt(updates, i));
  }
  return hostTensor(c.tf, out, shape, dtype);
}

const scatter: Kernel = (c) => {
  const shape = c.op.shape("data");
  const axis = c.op.axis("axis", shape.length);
  const size = dim(shape, axis);
  const inner = product(shape.slice(axis + 1));
  const indices = checkedIndices(c, () => size);
  // updates: (outer, indices, inner)
  return scattered(c, c.operand("updates").dataSync(), (i) => {
    const row = Math.floor(i / inner);
    const index = i32At(indices, row % indices.length);
    return (Math.floor(row / indices.length) * size + index) * inner + (i % inner);
  });
};

const scatterAlongAxis: Kernel = (c) => {
  const shape = c.op.shape("data");
  const axis = c.op.axis("axis", shape.length);
  const indices = checkedIndices(c, () => dim(shape, axis));
  const at = alongAxis(indices, c.op.shape("indices"), shape, axis);
  return scattered(c, c.operand("updates").dataSync(), (i) => i32At(at, i));
};

const scatterNd: Kernel = (c) => {
  const { starts, run } = tupleStarts(c, c.op.shape("data"), 0);
  return scattered(c, c.operand("updates").dataSync(), (i) => i32At(starts, Math.floor(i / run)) + (i % run));
};

export const gatherScatter: Record<string, Kernel> = {
  gather,
  gather_along_axis: gatherAlongAxis,
  gather_nd: gatherNd,
  scatter,
  scatter_along_axis: scatterAlongAxis,
  scatter_nd: scatterNd,
};
