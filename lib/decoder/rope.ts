/**
 * @file Rotary position embedding: the tables, and the rotation as a program.
 *
 * Reference: Su et al., "RoFormer" (2021), in Hugging Face's half-split layout: the pair (x_i, x_{i+D/2}) turns by
 * position · f_i. With c, s of length D (each frequency in both halves): x' = x ⊙ c + [−x₂, x₁] ⊙ s.
 */
import { dim, numberAt } from "../elements.ts";
import type { Builder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { f32, type Tensor } from "../mil/tensor.ts";
import type { RopeSpec } from "./architecture.ts";

/** cos and sin for positions 0 … count − 1, each (count, headDim). */
export function ropeTables(spec: RopeSpec, count: number): { cos: Tensor; sin: Tensor } {
  const half = spec.inverseFrequencies.length;
  const cos = new Float32Array(count * 2 * half);
  const sin = new Float32Array(count * 2 * half);
  for (let p = 0; p < count; p++) {
    for (let i = 0; i < half; i++) {
      // The angle is rounded to fp32 first, as in the reference.
      const angle = Math.fround(p * Math.fround(numberAt(spec.inverseFrequencies, i)));
      const at = p * 2 * half + i;
      cos[at] = cos[at + half] = Math.cos(angle) * spec.attentionFactor;
      sin[at] = sin[at + half] = Math.sin(angle) * spec.attentionFactor;
    }
  }
  return { cos: f32([count, 2 * half], cos), sin: f32([count, 2 * half], sin) };
}

/** Rotates x (…, S, headDim) by cos and sin (S, headDim). */
export function rotate(b: Builder, x: Value, cos: Value, sin: Value): Value {
  const shape = x.type.kind === "tensor" ? x.type.shape : [];
  const axis = shape.length - 1;
  const half = dim(shape, axis) / 2;
  const [first, second] = b.split(x, [half, half], axis) as [Value, Value];
  return b.add(b.mul(x, cos), b.mul(b.concat([b.neg(second), first], axis), sin));
}
