/**
 * @file Block influence: how far a layer turns the stream.
 *
 * Reference: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect" (2024).
 *
 *   BI_ℓ = mean_s mean_t 1 − cos(x_ℓ,t , x_ℓ+1,t)
 *
 * x_ℓ is the stream entering layer ℓ. Needs only a forward pass. It is a pre-filter: a small turn
 * can matter and a large one may not. The exact answer comes from removing the layer
 * (`leave-one-out.ts`).
 */
import { meanAndError } from "../../stats/ratio.ts";
import type { LayerInputStatistics } from "./activation-inputs.ts";

/** 1 − cos by sequence. */
export const blockInfluence = (layer: LayerInputStatistics): number[] => [...layer.turn];

export const blockInfluenceScore = (perSequence: readonly number[]): { value: number; standardError: number } => {
  const { mean, standardError } = meanAndError(perSequence);
  return { value: mean, standardError };
};
