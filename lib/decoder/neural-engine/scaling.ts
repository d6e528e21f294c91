/**
 * @file Factors that keep a decoder inside fp16, chosen from measured peaks. They change no logit.
 *
 * The stream h is kept as α h: everything that writes to it is scaled (the embedding; o_proj and down_proj, or the gains of
 * the norms behind them), and everything that reads it is an RMSNorm, which gives the same with ε
 * α², or a product whose weights are divided by α. Where a value inside a block overflows: up_proj is scaled by β, so that act(gate) ⊙ up is β
 * times itself, undone in down_proj; and where a norm follows, o_proj by γ and down_proj by δ,
 * undone by ε γ² and ε δ². Per-layer inputs (Gemma 4): their projection of the embedding by κ,
 * undone by ε κ²; the vectors themselves by η, on the host's rows and the norm's gain; the layer's
 * output from them by ζ, undone by ε ζ². Their gate reads the stream without a norm before it, so
 * its weights are divided by α.
 *
 * All factors are powers of two, so that scaled fp16 weights, scales and tables are the same numbers with other exponents.
 * Reference: ANEMLL's and CoreML-LLM's residual scaling of Gemma 3 (0.1875, 0.7, 0.5); the power of
 * two is ours. Not included: values that no factor can scale, the arguments of activation functions
 * and attention scores.
 */
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";

/** fp16's largest number. */
export const FLOAT16_MAX = 65504;
/** Another text may double the peak seen on this one. */
const SAFE_PEAK = FLOAT16_MAX / 2;

export interface LayerScaling {
  /** γ, on the output of attention, before its norm. */
  readonly attention: number;
  /** β, on act(gate) ⊙ up. */
  readonly inner: number;
  /** δ, on the output of the MLP, before its norm. */
  readonly mlp: number;
  /** ζ, on the output of the layer's per-layer input, before its norm. */
  readonly perLayer: number;
}

export interface DecoderScaling {
  /** α, on the residual stream. */
  readonly stream: number;
  /** κ, on the projection of the embedding to all layers' vectors, before its norm. */
  readonly perLayerContext: number;
  /** η, on those vectors. */
  readonly perLayerVectors: number;
  readonly layers: readonly LayerScaling[];
}

export const unscaledLayer: LayerScaling = { attention: 1, inner: 1, mlp: 1, perLayer: 1 };

export const unscaled = (layers: number): DecoderScaling => ({
  stream: 1,
  perLayerContext: 1,
  perLayerVectors: 1,
  layers: Array.from({ length: layers }, () => unscaledLayer),
});

export const isUnscaled = (s: DecoderScaling): boolean =>
  [s.stream, s.perLayerContext, s.perLayerVectors].every((f) => f === 1) &&
  s.layers.every((l) => l.attention === 1 && l.inner === 1 && l.mlp === 1 && l.perLayer === 1);

/** Largest absolute values of one layer, in the unscaled model. */
export interface LayerPeaks {
  readonly stream: number;
  readonly attentionOutput: number;
  readonly inner: number;
  readonly mlpOutput: number;
  /** Of the per-layer input: act(gate) ⊙ vector, and its projection. */
  readonly perLayerInner: number;
  readonly perLayerOutput: number;
}

/** Largest absolute values of the unscaled model. */
export interface DecoderPeaks {
  readonly layers: readonly LayerPeaks[];
  readonly embedding: number;
  /** The projection of the embedding to all layers' vectors, and those vectors; 0 where there are none. */
  readonly perLayerContext: number;
  readonly perLayerVectors: number;
}

/** The largest power of two, at most 1, that brings `peak` to half of fp16's range. Throws `export/unsupported` where none does. */
export function factorFor(peak: number): number {
  if (peak <= SAFE_PEAK) return 1;
  if (Number.isFinite(peak)) return 2 ** Math.floor(Math.log2(SAFE_PEAK / peak));
  throw new EspalierError("export/unsupported", "a value overflows before any factor could reach it", {
    hint: "An embedding row, its scale applied, is beyond fp16's 65504. Use --layout plain.",
  });
}

/** The factors a model with these peaks needs; all 1 for most. */
export function scalingFor(
  layers: readonly LayerArchitecture[],
  { layers: peaks, embedding, perLayerContext, perLayerVectors }: DecoderPeaks,
): DecoderScaling {
  // A residual scale follows the product, which may be larger than what it adds to the stream.
  const before = peaks.map((p, i) =>
    (layers[i]?.residualScale ?? 1) < 1 ? Math.max(p.stream, p.attentionOutput, p.mlpOutput) : p.stream,
  );
  return {
    stream: Math.min(factorFor(embedding), ...before.map(factorFor)),
    perLayerContext: factorFor(perLayerContext),
    perLayerVectors: Math.min(factorFor(perLayerVectors), ...peaks.map((p) => factorFor(p.perLayerInner))),
    layers: layers.map((layer, i): LayerScaling => {
      const p = peaks[i];
      if (!p) return unscaledLayer;
      const inner = factorFor(p.inner);
      const perLayer = factorFor(p.perLayerOutput);
      // Without a norm after it, a block's output is no larger than the stream, so α is enough.
      if (!layer.outputNorms) return { ...unscaledLayer, inner, perLayer };
      return { inner, perLayer, attention: factorFor(p.attentionOutput), mlp: factorFor(p.mlpOutput) };
    }),
  };
}
