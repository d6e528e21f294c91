/**
 * @file Activation importance: the size of the output of a head or neuron, from a forward pass
 * alone.
 *
 * Reference: Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation" (Minitron, 2024).
 *
 *   a_c,s = mean_t |x_t,c|;   score_u = √( mean_s Σ_{c ∈ u} a_c,s² )
 *
 * x is the input of the output projection (the channels of a head) or of the down projection (neurons): the mean over
 * the sequence, the L2 norm over channels and sequences. The mean over sequences replaces the sum,
 * so that the score does not grow with their number. The score ignores the weights of the
 * projection (Wanda uses them).
 */
import { f64At } from "../../elements.ts";
import { meanAndError } from "../../stats/ratio.ts";
import type { ChannelStatistics } from "./activation-inputs.ts";

/** The score of one sequence: √Σ a² over channels `from` … `to`. */
export function activationNorm({ meanAbsolute }: ChannelStatistics, from: number, to: number): number {
  let total = 0;
  for (let c = from; c < to; c++) total += f64At(meanAbsolute, c) ** 2;
  return Math.sqrt(total);
}

/** The root of the mean square over sequences, with its error by the delta method. */
export function activationImportance(perSequence: readonly number[]): { value: number; standardError: number } {
  const { mean, standardError } = meanAndError(perSequence.map((v) => v * v));
  const value = Math.sqrt(mean);
  return { value, standardError: value > 0 ? standardError / (2 * value) : standardError };
}
