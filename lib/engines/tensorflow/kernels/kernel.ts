/**
 * @file What a kernel sees of one MIL operation, and how tensors pass between TensorFlow.js and typed arrays.
 *
 * Floats are float32 whatever their MIL type, every integer is int32, bool is bool.
 */
import type { OpArguments } from "../../../mil/op.ts";
import type { DType, Shape, TensorType } from "../../../mil/types.ts";
import type { HostData } from "../../constant-pool.ts";
import type { TensorFlow, TfTensor } from "../backend.ts";

export interface KernelContext {
  readonly tf: TensorFlow;
  readonly op: OpArguments;
  /** The types of the results. */
  readonly results: readonly TensorType[];
  operand(name: string): TfTensor;
  operands(name: string): TfTensor[];
  /** A float parameter as a value of `dtype` holds it: rounded to fp16 where results are. */
  float(parameter: string, dtype: DType): number;
}

/** Computes one operation inside `tf.tidy`, so only what it returns outlives it. Its results may be its operands. */
export type Kernel = (context: KernelContext) => TfTensor | readonly TfTensor[];

export function tfType(dtype: DType): "float32" | "int32" | "bool" {
  if (dtype === "fp16" || dtype === "fp32") return "float32";
  return dtype === "bool" ? "bool" : "int32";
}

export const resultShape = (c: KernelContext): number[] => [...(c.results[0]?.shape ?? [])];

export const hostTensor = (tf: TensorFlow, data: HostData, shape: Shape, dtype: DType): TfTensor =>
  tf.tensor(data, [...shape], tfType(dtype));

/** `count` zeros of the kind of array that `like` is. */
export function emptyLike(like: HostData, count: number): HostData {
  if (like instanceof Float32Array) return new Float32Array(count);
  return like instanceof Int32Array ? new Int32Array(count) : new Uint8Array(count);
}

/** `value` everywhere. */
export const filled = (c: KernelContext, shape: Shape, dtype: DType, value: number): TfTensor =>
  dtype === "bool"
    ? c.tf.cast(c.tf.fill([...shape], value, "int32"), "bool")
    : c.tf.fill([...shape], value, dtype === "fp16" || dtype === "fp32" ? "float32" : "int32");
