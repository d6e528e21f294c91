/** @file Means with standard errors, and losses of sequences added up to perplexity and bits per byte. */
import type { SequenceLoss } from "./perplexity.ts";

/** The mean and its standard error s/√n, with s over n − 1; an error of 0 for one value is honest only as "unknown", so it is NaN. */
export function meanAndError(values: readonly number[]): { mean: number; standardError: number } {
  const n = values.length;
  const mean = values.reduce((t, v) => t + v, 0) / n;
  if (n < 2) return { mean, standardError: Number.NaN };
  const variance = values.reduce((t, v) => t + (v - mean) ** 2, 0) / (n - 1);
  return { mean, standardError: Math.sqrt(variance / n) };
}

/**
 * A ratio of sums Σy / Σx with its standard error clustered by sequence (delta method):
 * SE² = n / (n − 1) · Σ (y − r x)² / (Σx)²
 */
export function ratioAndError(y: readonly number[], x: readonly number[]): { mean: number; standardError: number } {
  const totalX = x.reduce((t, v) => t + v, 0);
  const mean = y.reduce((t, v) => t + v, 0) / totalX;
  const n = y.length;
  if (n < 2) return { mean, standardError: Number.NaN };
  const residual = y.reduce((t, v, i) => t + (v - mean * (x[i] ?? 0)) ** 2, 0);
  return { mean, standardError: Math.sqrt((n / (n - 1)) * residual) / totalX };
}

export interface LossSummary {
  readonly nllPerToken: number;
  readonly standardError: number;
  readonly perplexity: number;
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
  return {
    nllPerToken: mean,
    standardError,
    perplexity: Math.exp(mean),
    bitsPerByte: nll.reduce((t, v) => t + v, 0) / (Math.LN2 * sizeBytes),
    tokens: tokens.reduce((t, v) => t + v, 0),
    sequences: losses.length,
    kl: compared((l) => l.kl),
    agreement: compared((l) => l.agreed),
  };
}
