/** @file Reshaping, permuting, joining, cutting, padding and updating slices on TensorFlow.js. */
import { dim, itemAt, numberAt } from "../../../elements.ts";
import { EspalierError } from "../../../errors.ts";
import { sliceBounds, splitSizes } from "../../../mil/ops/shape.ts";
import { elementCount } from "../../../mil/types.ts";
import type { TfTensor } from "../backend.ts";
import { filled, hostTensor, type Kernel, type KernelContext, resultShape } from "./kernel.ts";

const reshape: Kernel = (c) => c.tf.reshape(c.operand("x"), resultShape(c));

const concat: Kernel = (c) => {
  const parts = c.operands("values").filter((t) => t.size > 0);
  return parts.length === 1 ? itemAt(parts, 0) : c.tf.concat(parts, c.op.axis("axis", resultShape(c).length));
};

/** `count` entries of x along `axis`, the i-th from position `from(i)`. */
function taken({ tf }: KernelContext, x: TfTensor, axis: number, count: number, from: (i: number) => number): TfTensor {
  const positions = Int32Array.from({ length: count }, (_, i) => from(i));
  return tf.gather(x, hostTensor(tf, positions, [count], "int32"), axis);
}

const sliceByIndex: Kernel = (c) => {
  const { tf, op, operand } = c;
  const shape = op.shape("x");
  const { begin, end, stride } = sliceBounds(op, shape) ?? op.fail("begin", "known", "a run-time value");
  const whole = tf.slice(
    operand("x"),
    begin,
    end.map((e, i) => e - numberAt(begin, i)),
  );
  // The strided slice of the WASM backend makes everything float32.
  const kept = stride.reduce((x, step, axis) => {
    const count = Math.ceil(dim(x.shape, axis) / step);
    return step === 1 ? x : taken(c, x, axis, count, (i) => i * step);
  }, whole);
  return tf.reshape(kept, resultShape(c));
};

const sliceBySize: Kernel = (c) => {
  const { tf, op, operand } = c;
  const size = resultShape(c);
  const begin = "begin" in op.params ? [...op.ints("begin")] : Array.from(operand("begin").dataSync());
  begin.forEach((b, i) => {
    const most = dim(op.shape("x"), i) - numberAt(size, i);
    if (b < 0 || b > most) {
      throw new EspalierError("engine/failed", `slice_by_size: begin ${b} on axis ${i} is outside 0 to ${most}`);
    }
  });
  return tf.slice(operand("x"), begin, size);
};

/** Writes the update at begin + i · stride on typed arrays, in runs along the last axis. */
const sliceUpdate: Kernel = (c) => {
  const { tf, op, operand } = c;
  const { shape, dtype } = op.tensor("x");
  const size = op.shape("update");
  if (elementCount(size) === 0) return operand("x");
  const masked = (i: number): boolean => "begin_mask" in op.params && itemAt(op.bools("begin_mask"), i);
  const given =
    "begin" in op.params
      ? op.ints("begin")
      : op.has("begin")
        ? Array.from(operand("begin").dataSync())
        : shape.map(() => 0);
  const stride = shape.map((_, i) => ("stride" in op.params ? numberAt(op.ints("stride"), i) : 1));
  const begin = shape.map((d, i) => {
    const b = masked(i) ? 0 : numberAt(given, i) < 0 ? numberAt(given, i) + d : numberAt(given, i);
    const last = b + (numberAt(size, i) - 1) * numberAt(stride, i);
    if (b < 0 || last >= d) {
      throw new EspalierError("engine/failed", `slice_update: ${b} to ${last} on axis ${i} is outside 0 to ${d - 1}`);
    }
    return b;
  });
  const out = operand("x").dataSync().slice();
  const update = operand("update").dataSync();
  const run = size.at(-1) ?? 1;
  const runStride = stride.at(-1) ?? 1;
  for (let from = 0; from < update.length; from += run) {
    let rest = from / run;
    let to = begin.at(-1) ?? 0;
    let step = shape.at(-1) ?? 1;
    for (let a = shape.length - 2; a >= 0; a--) {
      const i = rest % numberAt(size, a);
      rest = Math.floor(rest / numberAt(size, a));
      to += (numberAt(begin, a) + i * numberAt(stride, a)) * step;
      step *= dim(shape, a);
    }
    if (runStride === 1) out.set(update.subarray(from, from + run), to);
    else for (let i = 0; i < run; i++) out[to + i * runStride] = numberAt(update, from + i);
  }
  return hostTensor(tf, out, shape, dtype);
};

/** The position an index outside 0 … size − 1 reads: its mirror image, or the nearest edge. */
function padSource(i: number, size: number, mode: string): number {
  if (mode === "replicate") return Math.min(size - 1, Math.max(0, i));
  return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
}

const pad: Kernel = (c: KernelContext) => {
  const { tf, op, operand } = c;
  const { shape, dtype } = op.tensor("x");
  const amounts = op.ints("pad");
  const mode = op.string("mode");
  const value = c.float("constant_val", dtype);
  if (elementCount(shape) === 0) return filled(c, resultShape(c), dtype, value);
  if (amounts.every((p) => p === 0)) return operand("x");
  const lead = shape.length - amounts.length / 2;
  const pairs = shape.map((_, i): [number, number] =>
    i < lead ? [0, 0] : [numberAt(amounts, 2 * (i - lead)), numberAt(amounts, 2 * (i - lead) + 1)],
  );
  if (mode === "constant") {
    if (dtype !== "bool") return tf.pad(operand("x"), pairs, value);
    return tf.cast(tf.pad(tf.cast(operand("x"), "int32"), pairs, value === 0 ? 0 : 1), "bool");
  }
  return pairs.reduce((x: TfTensor, [before, after], axis) => {
    if (before === 0 && after === 0) return x;
    const size = dim(shape, axis);
    return taken(c, x, axis, before + size + after, (i) => padSource(i - before, size, mode));
  }, operand("x"));
};

export const shapes: Record<string, Kernel> = {
  reshape,
  expand_dims: reshape,
  squeeze: reshape,
  transpose: ({ tf, op, operand }) => {
    const x = operand("x");
    const perm = op.ints("perm").map((p) => (p < 0 ? p + x.rank : p));
    return perm.every((p, i) => p === i) ? x : tf.transpose(x, perm);
  },
  concat,
  stack: (c) => c.tf.stack(c.operands("values"), c.op.axis("axis", resultShape(c).length)),
  split: ({ tf, op, operand }) => tf.split(operand("x"), splitSizes(op), op.axis("axis", op.shape("x").length)),
  tile: ({ tf, op, operand }) =>
    op.ints("reps").every((r) => r === 1) ? operand("x") : tf.tile(operand("x"), [...op.ints("reps")]),
  slice_by_index: sliceByIndex,
  slice_by_size: sliceBySize,
  slice_update: sliceUpdate,
  pad,
};
