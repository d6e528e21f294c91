/** @file The values that a run gave back, by the type that its program promises. */
import { EspalierError } from "../errors.ts";
import type { Tensor } from "../mil/tensor.ts";

/** Throws `engine/failed` unless the output is there, in fp32. */
export function floatData(t: Tensor | undefined): Float32Array {
  if (t?.data instanceof Float32Array) return t.data;
  throw new EspalierError("engine/failed", "the engine gave back no fp32 output");
}

/** Throws `engine/failed` unless the output is there, in int32. */
export function intData(t: Tensor | undefined): Int32Array {
  if (t?.data instanceof Int32Array) return t.data;
  throw new EspalierError("engine/failed", "the engine gave back no int32 output");
}
