/**
 * @file Products in ONNX: `Gemm` wherever one operand is a matrix, ONNX Runtime's `FusedMatMul` for batches
 * with a transposed operand where the provider has it, so that nothing is transposed in memory.
 */
import { dim } from "../../../elements.ts";
import { convPadding } from "../../../mil/ops/linear-algebra.ts";
import { elementCount, isFloat, type Shape } from "../../../mil/types.ts";
import type { OnnxGraph } from "../graph.ts";
import { type Lowering, resultShape } from "./context.ts";

const swapLast = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];

const rowsOf = (shape: Shape): number => elementCount(shape.slice(0, -1));

/** x · yᵀ for x of any rank and a matrix y, in the layout `linear` and `matmul` share. */
function timesMatrix(
  g: OnnxGraph,
  x: string,
  shape: Shape,
  y: string,
  transposeY: boolean,
  result: Shape,
  bias?: string,
): string {
  const flat = shape.length === 2 ? x : g.reshape(x, [rowsOf(shape), dim(shape, -1)]);
  const product = g.node("Gemm", bias ? [flat, y, bias] : [flat, y], transposeY ? { transB: 1 } : {});
  return result.length === 2 ? product : g.reshape(product, result);
}

const matmul: Lowering = (c) => {
  const { g, op, name } = c;
  const x = op.tensor("x");
  const y = op.shape("y");
  const tx = op.bool("transpose_x");
  const ty = op.bool("transpose_y");
  const result = resultShape(c);
  const depth = dim(x.shape, tx ? -2 : -1);
  if (depth === 0) return g.filled(x.dtype, result, 0);
  if (!isFloat(x.dtype)) {
    const left = tx ? g.node("Transpose", [name("x")], { perm: swapLast(x.shape.length) }) : name("x");
    const right = ty ? g.node("Transpose", [name("y")], { perm: swapLast(y.length) }) : name("y");
    return g.node("MatMul", [left, right]);
  }
  if (x.shape.length === 2 && y.length === 2) {
    return g.node("Gemm", [name("x"), name("y")], { ...(tx ? { transA: 1 } : {}), ...(ty ? { transB: 1 } : {}) });
  }
  if (y.length === 2 && !tx) return timesMatrix(g, name("x"), x.shape, name("y"), ty, result);
  if (!tx && !ty) return g.node("MatMul", [name("x"), name("y")]);
  // xᵀ y = (yᵀ x)ᵀ: transposing the narrower operand and the result takes 0.7 of the time of transposing the wider one.
  if (tx && !ty && result.length > 2 && dim(y, -1) < dim(x.shape, -1)) {
    const swapped = g.product([name("y"), y.length], [name("x"), x.shape.length], { transposeX: true });
    return g.node("Transpose", [swapped], { perm: swapLast(result.length) });
  }
  return g.product([name("x"), x.shape.length], [name("y"), y.length], { transposeX: tx, transposeY: ty });
};

const linear: Lowering = (c) => {
  const { g, op, name } = c;
  const x = op.tensor("x");
  const bias = op.has("bias") ? name("bias") : undefined;
  const result = resultShape(c);
  if (x.shape.at(-1) === 0) {
    const zeros = g.filled(x.dtype, result, 0);
    return bias ? g.node("Add", [zeros, bias]) : zeros;
  }
  if (isFloat(x.dtype)) return timesMatrix(g, name("x"), x.shape, name("weight"), true, result, bias);
  const product = g.node("MatMul", [name("x"), g.node("Transpose", [name("weight")], { perm: [1, 0] })]);
  return bias ? g.node("Add", [product, bias]) : product;
};

const conv: Lowering = ({ g, op, name }) => {
  const pairs = convPadding(op);
  const pads = [...pairs.filter((_, i) => i % 2 === 0), ...pairs.filter((_, i) => i % 2 === 1)];
  return g.node("Conv", [name("x"), name("weight"), ...(op.has("bias") ? [name("bias")] : [])], {
    strides: op.ints("strides"),
    dilations: op.ints("dilations"),
    group: op.int("groups"),
    kernel_shape: op.shape("weight").slice(2),
    pads,
  });
};

const attention: Lowering = ({ g, op, name }) => {
  const scale = 1 / Math.sqrt(dim(op.shape("query"), -1));
  const [query, key] = [op.shape("query").length, op.shape("key").length];
  const raw = g.product([name("query"), query], [name("key"), key], { transposeY: true, scale });
  const mask = op.has("attn_mask") ? op.tensor("attn_mask") : null;
  const scores =
    mask === null
      ? raw
      : mask.dtype === "bool"
        ? g.node("Where", [name("attn_mask"), raw, g.float(-30000)])
        : g.node("Add", [raw, name("attn_mask")]);
  return g.node("MatMul", [g.node("Softmax", [scores], { axis: -1 }), name("value")]);
};

export const linearAlgebra: Record<string, Lowering> = {
  matmul,
  linear,
  conv,
  scaled_dot_product_attention: attention,
};
