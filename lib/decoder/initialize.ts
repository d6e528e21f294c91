/**
 * @file Random weights for a decoder that is to be trained from nothing.
 *
 * Reference: Radford et al. (GPT-2, 2019): N(0, 0.02²), with the two projections that write to the residual stream
 * scaled by 1/√(2L). Norm gains start at 1, that is 0 where the architecture adds 1.
 */
import { f32, type Tensor } from "../mil/tensor.ts";
import { elementCount } from "../mil/types.ts";
import type { Rng } from "../random.ts";
import type { DecoderArchitecture } from "./architecture.ts";
import { type DecoderWeights, decoderWeights, weightList } from "./weights.ts";

export function initializeWeights(arch: DecoderArchitecture, rng: Rng, deviation = 0.02): DecoderWeights {
  const residual = deviation / Math.sqrt(2 * arch.layers.length);
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, role } of weightList(arch)) {
    const values = new Float32Array(elementCount(shape));
    if (shape.length === 1) values.fill(arch.normOffset === 1 ? 0 : 1);
    else {
      const spread = role === "output" || role === "down" ? residual : deviation;
      for (let i = 0; i < values.length; i++) values[i] = rng.normal() * spread;
    }
    tensors.set(name, f32(shape, values));
  }
  return decoderWeights(arch, tensors);
}
