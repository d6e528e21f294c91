/** @file The causal mask of a layer, with or without a sliding window: key j is seen by query i iff 0 ≤ i − j < W. */
import { f32, type Tensor } from "../mil/tensor.ts";
import { MASKED } from "./block.ts";

/** (length, length), 0 where seen. */
export function causalMask(length: number, window: number | null): Tensor {
  const mask = new Float32Array(length * length);
  for (let i = 0; i < length; i++) {
    for (let j = 0; j < length; j++) {
      if (j > i || (window !== null && i - j >= window)) mask[i * length + j] = MASKED;
    }
  }
  return f32([length, length], mask);
}
