/**
 * @file What several op entries share: sets of element types, broadcasting, and its reverse.
 */
import { dim } from "../../elements.ts";
import type { Builder } from "../builder.ts";
import type { OpArguments } from "../op.ts";
import type { Value } from "../program.ts";
import { type DType, type Shape, sameShape, showType, type TensorType, tensorType } from "../types.ts";

export const floats: readonly DType[] = ["fp16", "fp32"];
export const numbers: readonly DType[] = ["fp16", "fp32", "int32"];
export const indexTypes: readonly DType[] = ["int32", "int16", "uint16", "int8", "uint8"];
/** Of operations that never took the narrow integers. */
export const basic: readonly DType[] = ["fp16", "fp32", "int32", "bool"];
export const gatherable: readonly DType[] = ["fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16"];
export const movable: readonly DType[] = ["fp16", "fp32", "int32", "bool", "int8", "uint8", "int16", "uint16"];

/** The numpy broadcast of two shapes; null when they do not fit. */
export function broadcastShapes(a: Shape, b: Shape): number[] | null {
  const rank = Math.max(a.length, b.length);
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return null;
    out.push(x === 1 ? y : x);
  }
  return out;
}

/** The common type of x and y after broadcasting; `dtype` replaces the element type. */
export function broadcastType(op: OpArguments, dtype?: DType): TensorType {
  const x = op.tensor("x");
  const y = op.tensor("y");
  if (x.dtype !== y.dtype) op.fail("y", `${x.dtype} like x`, showType(y));
  const shape = broadcastShapes(x.shape, y.shape);
  if (!shape) return op.fail("y", `broadcastable with x ${showType(x)}`, showType(y));
  return tensorType(dtype ?? x.dtype, shape);
}

/** Sums a gradient over the axes along which a value of `shape` was broadcast. */
export function sumToShape(b: Builder, gradient: Value, shape: Shape): Value {
  const from = gradient.type.kind === "tensor" ? gradient.type.shape : [];
  if (sameShape(from, shape)) return gradient;
  const lead = from.length - shape.length;
  const axes = from.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && from[i] !== 1));
  const summed = axes.length > 0 ? b.sum(gradient, axes, true) : gradient;
  return b.reshape(summed, shape);
}

/** `reshape` with one −1 and zeros resolved against an element count. */
export function permuted(shape: Shape, perm: readonly number[]): number[] {
  return perm.map((p) => dim(shape, p));
}
