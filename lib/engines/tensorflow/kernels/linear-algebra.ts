/**
 * @file Products on TensorFlow.js: `matmul`, `linear`, `conv`, fused attention.
 *
 * A convolution of any rank and grouping is one product: the weight (G, Cout/G, Cin/G · K) times the columns
 * (N, G, Cin/G · K, P) gathered from x, K kernel positions by P output positions; a position in the padding reads
 * a zero put behind the data. A 1×1 convolution gathers nothing. Integers are multiplied on typed arrays, modulo 2³².
 */
import { dim, itemAt, numberAt } from "../../../elements.ts";
import { convPadding } from "../../../mil/ops/linear-algebra.ts";
import { elementCount, isFloat, type Shape, sameShape } from "../../../mil/types.ts";
import type { TensorFlow, TfTensor } from "../backend.ts";
import { filled, hostTensor, type Kernel, type KernelContext, resultShape } from "./kernel.ts";

const swapLast = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];

/** x with its leading axes broadcast to `batch`. A batch of one is left to the kernel. */
function withBatch(tf: TensorFlow, x: TfTensor, batch: Shape): TfTensor {
  const own = x.shape.slice(0, -2);
  if (elementCount(own) === 1 || sameShape(own, batch)) return x;
  return tf.broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
}

/** From this many multiplications per matrix on, the blocked WASM kernel is worth the copies it needs. */
const blockedFrom = 64 ** 3;

/**
 * x · y for (B or 1, rows, columns) each. The WASM backend has a fast kernel, for one product of two matrices as they
 * lie, and a plain loop for all else, ten times slower; so large batches are taken apart and transposed first.
 */
function batchProduct(tf: TensorFlow, x: TfTensor, y: TfTensor, tx: boolean, ty: boolean): TfTensor {
  const size = (x.size / dim(x.shape, 0)) * dim(y.shape, ty ? 1 : 2);
  const count = Math.max(dim(x.shape, 0), dim(y.shape, 0));
  if (tf.getBackend() !== "wasm" || size < blockedFrom || (count === 1 && !tx && !ty)) {
    return tf.matMul(x, y, tx, ty);
  }
  const matrices = (t: TfTensor, transposed: boolean): TfTensor[] =>
    tf.unstack(transposed ? tf.transpose(t, [0, 2, 1]) : t);
  const [left, right] = [matrices(x, tx), matrices(y, ty)];
  return tf.stack(
    Array.from({ length: count }, (_, i) => tf.matMul(itemAt(left, i % left.length), itemAt(right, i % right.length))),
  );
}

/** x · y, their last two axes transposed where told, their batch axes broadcast, as `result`. */
function floatProduct(tf: TensorFlow, x: TfTensor, y: TfTensor, tx: boolean, ty: boolean, result: Shape): TfTensor {
  if (y.rank === 2 && !tx && x.rank > 2) {
    const rows = tf.reshape(x, [1, elementCount(x.shape.slice(0, -1)), dim(x.shape, -1)]);
    return tf.reshape(batchProduct(tf, rows, tf.reshape(y, [1, ...y.shape]), false, ty), [...result]);
  }
  const batch = result.slice(0, -2);
  // One leading axis: the kernels read a batch of one for both operands, but not 2 × 1 against 1 × 3.
  const flat = (t: TfTensor): TfTensor => {
    const wide = withBatch(tf, t, batch);
    return tf.reshape(wide, [elementCount(wide.shape.slice(0, -2)), ...wide.shape.slice(-2)]);
  };
  return tf.reshape(batchProduct(tf, flat(x), flat(y), tx, ty), [...result]);
}

function integerProduct(c: KernelContext, x: TfTensor, y: TfTensor, tx: boolean, ty: boolean): TfTensor {
  const { tf } = c;
  const shape = resultShape(c);
  const batch = shape.slice(0, -2);
  const rows = (t: TfTensor, transposed: boolean): TfTensor => {
    const wide = tf.broadcastTo(t, [...batch, ...t.shape.slice(-2)]);
    return transposed ? tf.transpose(wide, swapLast(wide.rank)) : wide;
  };
  // (batch, m, k) and (batch, n, k)
  const left = rows(x, tx);
  const right = rows(y, !ty);
  const [a, b] = [left.dataSync(), right.dataSync()];
  const [m, k] = left.shape.slice(-2) as [number, number];
  const n = dim(right.shape, -2);
  const out = new Int32Array(elementCount(shape));
  for (let i = 0; i < out.length; i++) {
    const matrix = Math.floor(i / (m * n));
    const from = (matrix * m + (Math.floor(i / n) % m)) * k;
    const to = (matrix * n + (i % n)) * k;
    let sum = 0;
    for (let j = 0; j < k; j++) sum = (sum + Math.imul(numberAt(a, from + j), numberAt(b, to + j))) | 0;
    out[i] = sum;
  }
  return hostTensor(tf, out, shape, "int32");
}

const matmul: Kernel = (c) => {
  const { tf, op, operand } = c;
  const x = op.tensor("x");
  const tx = op.bool("transpose_x");
  const ty = op.bool("transpose_y");
  if (x.shape.at(tx ? -2 : -1) === 0) return filled(c, resultShape(c), x.dtype, 0);
  return isFloat(x.dtype)
    ? floatProduct(tf, operand("x"), operand("y"), tx, ty, resultShape(c))
    : integerProduct(c, operand("x"), operand("y"), tx, ty);
};

const linear: Kernel = (c) => {
  const { tf, op, operand } = c;
  const x = op.tensor("x");
  const shape = resultShape(c);
  const product = (): TfTensor => {
    if (x.shape.at(-1) === 0) return filled(c, shape, x.dtype, 0);
    if (!isFloat(x.dtype)) {
      const rows = tf.reshape(operand("x"), [elementCount(x.shape.slice(0, -1)), dim(x.shape, -1)]);
      const flat = { ...c, results: [{ ...x, shape: [dim(rows.shape, 0), dim(shape, -1)] }] };
      return tf.reshape(integerProduct(flat, rows, operand("weight"), false, true), shape);
    }
    const lifted = x.shape.length === 1 ? tf.reshape(operand("x"), [1, dim(x.shape, 0)]) : operand("x");
    const wide = x.shape.length === 1 ? [1, ...shape] : shape;
    return tf.reshape(floatProduct(tf, lifted, operand("weight"), false, true, wide), shape);
  };
  return op.has("bias") ? tf.add(product(), operand("bias")) : product();
};

/** For each kernel position and output position (K · P), the flat input position; `outside` in the padding. */
function columnPositions(
  spatial: Shape,
  kernel: Shape,
  out: Shape,
  strides: readonly number[],
  dilations: readonly number[],
  pad: readonly number[],
  outside: number,
): Int32Array {
  const outputs = elementCount(out);
  return Int32Array.from({ length: elementCount(kernel) * outputs }, (_, at) => {
    let k = Math.floor(at / outputs);
    let p = at % outputs;
    let position = 0;
    let step = 1;
    for (let a = spatial.length - 1; a >= 0; a--) {
      const size = numberAt(spatial, a);
      const i =
        (p % numberAt(out, a)) * numberAt(strides, a) +
        (k % numberAt(kernel, a)) * numberAt(dilations, a) -
        numberAt(pad, 2 * a);
      if (i < 0 || i >= size) return outside;
      position += i * step;
      step *= size;
      k = Math.floor(k / numberAt(kernel, a));
      p = Math.floor(p / numberAt(out, a));
    }
    return position;
  });
}

const conv: Kernel = (c) => {
  const { tf, op, operand } = c;
  const [n, cin, ...spatial] = op.shape("x") as [number, number, ...number[]];
  const [cout, perGroup, ...kernel] = op.shape("weight") as [number, number, ...number[]];
  const [, , ...out] = resultShape(c);
  const groups = op.int("groups");
  const inputs = elementCount(spatial);
  const outputs = elementCount(out);
  const taps = elementCount(kernel);
  const pad = convPadding(op);
  let columns = tf.reshape(operand("x"), [n, cin, inputs]);
  const pointwise = taps === 1 && op.ints("strides").every((s) => s === 1) && pad.every((p) => p === 0);
  if (!pointwise) {
    const at = columnPositions(spatial, kernel, out, op.ints("strides"), op.ints("dilations"), pad, inputs);
    const ended = tf.concat([columns, tf.zeros([n, cin, 1])], 2);
    columns = tf.gather(ended, hostTensor(tf, at, [at.length], "int32"), 2);
  }
  const depth = perGroup * taps;
  const x = tf.reshape(columns, [n * groups, depth, outputs]);
  const w = tf.reshape(operand("weight"), [1, groups, cout / groups, depth]);
  const wide = groups === 1 ? w : tf.tile(w, [n, 1, 1, 1]);
  const weights = tf.reshape(wide, [groups === 1 ? 1 : n * groups, cout / groups, depth]);
  const product = tf.reshape(batchProduct(tf, weights, x, false, false), [n, cout, ...out]);
  if (!op.has("bias")) return product;
  return tf.add(product, tf.reshape(operand("bias"), [1, cout, ...out.map(() => 1)]));
};

const attention: Kernel = (c) => {
  const { tf, op, operand } = c;
  const query = op.shape("query");
  const scoreShape = [...query.slice(0, -1), dim(op.shape("key"), -2)];
  const scale = 1 / Math.sqrt(dim(query, -1));
  let scores = tf.mul(floatProduct(tf, operand("query"), operand("key"), false, true, scoreShape), scale);
  if (op.has("attn_mask")) {
    const mask = operand("attn_mask");
    scores =
      op.tensor("attn_mask").dtype === "bool"
        ? tf.where(mask, scores, tf.scalar(-30000, "float32"))
        : tf.add(scores, mask);
  }
  return floatProduct(tf, tf.softmax(scores), operand("value"), false, false, resultShape(c));
};

export const linearAlgebra: Record<string, Kernel> = { matmul, linear, conv, scaled_dot_product_attention: attention };
