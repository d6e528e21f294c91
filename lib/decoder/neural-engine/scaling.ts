/**
 * @file Factors that keep a decoder inside fp16, chosen from measured peaks. They change no logit.
 *
 * The stream h is kept as α h: everything that writes to it is scaled (the embedding; o_proj and down_proj, or the gains of
 * the norms behind them), and everything that reads it is an RMSNorm, which gives the same with ε α². Where an inside of a
 * block overflows: up_proj by β, so that act(gate) ⊙ up is β times itself, undone in down_proj; and where a norm follows,
 * o_proj by γ and down_proj by δ, undone by ε γ² and ε δ².
 *
 * All factors are powers of two, so that scaled fp16 weights, scales and tables are the same numbers with other exponents.
 * Reference: ANEMLL's and CoreML-LLM's residual scaling of Gemma 3 (0.1875, 0.7, 0.5); the power of two is ours. Left out:
 * what no factor reaches, the arguments of activation functions and attention scores.
 */
import type { LayerArchitecture } from "../architecture.ts";

/** fp16's largest number. */
export const FLOAT16_MAX = 65504;
/** A peak on some text may be doubled by another. */
const SAFE_PEAK = FLOAT16_MAX / 2;

export interface LayerScaling {
  /** γ, on what attention gives, before its norm. */
  readonly attention: number;
  /** β, on act(gate) ⊙ up. */
  readonly inner: number;
  /** δ, on what the MLP gives, before its norm. */
  readonly mlp: number;
}

export interface DecoderScaling {
  /** α, on the residual stream. */
  readonly stream: number;
  readonly layers: readonly LayerScaling[];
}

export const unscaledLayer: LayerScaling = { attention: 1, inner: 1, mlp: 1 };

export const unscaled = (layers: number): DecoderScaling => ({
  stream: 1,
  layers: Array.from({ length: layers }, () => unscaledLayer),
});

export const isUnscaled = (s: DecoderScaling): boolean =>
  s.stream === 1 && s.layers.every((l) => l.attention === 1 && l.inner === 1 && l.mlp === 1);

/** Largest absolute values of one layer, in the unscaled model. */
export interface LayerPeaks {
  readonly stream: number;
  readonly attentionOutput: number;
  readonly inner: number;
  readonly mlpOutput: number;
}

/** The largest power of two, at most 1, that brings `peak` to half of fp16's range. */
export const factorFor = (peak: number): number =>
  peak <= SAFE_PEAK ? 1 : 2 ** Math.floor(Math.log2(SAFE_PEAK / peak));

/** The factors a model with these peaks needs; all 1 for most. */
export function scalingFor(
  layers: readonly LayerArchitecture[],
  { layers: peaks, embedding }: { readonly layers: readonly LayerPeaks[]; readonly embedding: number },
): DecoderScaling {
  return {
    stream: Math.min(factorFor(embedding), ...peaks.map((p) => factorFor(p.stream))),
    layers: layers.map((layer, i): LayerScaling => {
      const p = peaks[i];
      if (!p) return unscaledLayer;
      const inner = factorFor(p.inner);
      // Without a norm behind it, what a block writes is no larger than the stream, which α takes care of.
      if (!layer.sandwichNorms) return { ...unscaledLayer, inner };
      return { inner, attention: factorFor(p.attentionOutput), mlp: factorFor(p.mlpOutput) };
    }),
  };
}
