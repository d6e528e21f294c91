/** @file Losses of sequences added up to perplexity, bits per byte, KL and agreement, each with its standard error. */
import { ratioAndError } from "../stats/ratio.ts";
import type { SequenceLoss } from "./perplexity.ts";

export interface LossSummary {
  readonly nllPerToken: number;
  readonly standardError: number;
  readonly perplexity: number;
  /** Of the base on the same tokens; null without a base. */
  readonly basePerplexity: number | null;
  readonly bitsPerByte: number;
  readonly tokens: number;
  readonly sequences: number;
  /** Mean KL(base ‖ model) per token with its error; null without a base. */
  readonly kl: { mean: number; standardError: number } | null;
  /** Share of positions where base and model choose the same token. */
  readonly agreement: { mean: number; standardError: number } | null;
}

export function summarizeLosses(losses: readonly SequenceLoss[]): LossSummary {
  const tokens = losses.map((l) => l.tokens);
  const nll = losses.map((l) => l.nll);
  const { mean, standardError } = ratioAndError(nll, tokens);
  const sizeBytes = losses.reduce((t, l) => t + l.sizeBytes, 0);
  const compared = (pick: (l: SequenceLoss) => number | null) => {
    const values = losses.map(pick);
    return values.every((v) => v !== null)
      ? ratioAndError(
          values.map((v) => v ?? 0),
          tokens,
        )
      : null;
  };
  const baseNll = compared((l) => l.baseNll);
  return {
    nllPerToken: mean,
    standardError,
    perplexity: Math.exp(mean),
    basePerplexity: baseNll && Math.exp(baseNll.mean),
    bitsPerByte: nll.reduce((t, v) => t + v, 0) / (Math.LN2 * sizeBytes),
    tokens: tokens.reduce((t, v) => t + v, 0),
    sequences: losses.length,
    kl: compared((l) => l.kl),
    agreement: compared((l) => l.agreed),
  };
}
