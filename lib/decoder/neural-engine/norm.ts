/**
 * @file RMSNorm as the Neural Engine computes it safely: layer_norm of [x, −x].
 *
 *   mean [x, −x] = 0,  var [x, −x] = mean x²   ⇒   layer_norm([x, −x])'s first half = x / √(mean x² + ε)
 *
 * Squares are summed inside one kernel, wide, so nothing overflows fp16 and ε keeps its meaning. The axis is the channels
 * (1) of a (B, C, 1, S) stream, or the last one of (B, heads, S, D). layer_norm over channels is as exact as over the last
 * axis since iOS 17. Reference: ANEMLL's and CoreML-LLM's practice; Not included: L2-norm and
 * max-rescaled forms.
 */
import { dim } from "../../elements.ts";
import { type Builder, typeOf } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";

/** The smallest number fp16 has; a smaller ε would round to 0. */
const SMALLEST_EPSILON = 2 ** -24;

/** x / √(mean x² + ε) · gain along `axis`; the gain (…, 1, …) broadcasts. */
export function mirrorNorm(b: Builder, x: Value, axis: number, epsilon: number, gain: Value | null): Value {
  const { dtype, shape } = typeOf(x);
  const width = dim(shape, axis);
  const mirrored = b.concat([x, b.neg(x)], axis);
  const safe = dtype === "fp16" ? Math.max(epsilon, SMALLEST_EPSILON) : epsilon;
  const [normal] = b.op("layer_norm", { x: mirrored }, { axes: [axis], epsilon: safe }, "rms_norm") as [Value];
  const [half] = b.split(normal, [width, width], axis) as [Value, Value];
  return gain ? b.mul(half, gain) : half;
}
