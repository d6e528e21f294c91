/**
 * @file The per-layer vectors that Gemma 4's layers read in addition to the stream, for a
 * function's tokens.
 *
 *   e = (norm(W x / √C) + √P · row) / √2       (1, L · P, 1, S), layer after layer P channels
 *
 * The table is by far the largest weight and a call needs only S rows of it, so the host passes
 * them as the input `per_layer`, with √(P / 2) applied. W x is a convolution of the embedding that
 * the layers start from. Its factor 1 / √C, like any factor before a norm, moves into ε; the 1 / √2
 * after the norm is in the gain. Reference: `modeling_gemma4` of transformers 5.
 */
import { itemAt } from "../../elements.ts";
import type { Builder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { type FloatDType, tensorType } from "../../mil/types.ts";
import type { DecoderArchitecture } from "../architecture.ts";
import { toChannels, toHeads } from "./attention.ts";
import { pointwise } from "./block.ts";
import type { LayoutWeights } from "./layout-weights.ts";
import { mirrorNorm } from "./norm.ts";
import { LARGEST_HEAD_PART, type NeuralEnginePlan, PER_LAYER_INPUT } from "./plan.ts";

export interface PerLayerContext {
  readonly arch: DecoderArchitecture;
  readonly plan: NeuralEnginePlan;
  readonly source: LayoutWeights;
  readonly width: number;
  readonly dtype: FloatDType;
}

/** Gives the vectors (1, P, 1, S) of a layer, times η, from the stream x (1, C, 1, S) before the first layer, which is α times itself. */
export function perLayerVectors(b: Builder, x: Value, c: PerLayerContext): (layer: number) => Value | null {
  const { arch, plan, source, width, dtype } = c;
  if (!arch.perLayer) return () => null;
  const count = arch.layers.length;
  const { width: size } = arch.perLayer;
  const { stream, perLayerContext: kappa, perLayerVectors: eta } = plan.scaling;
  const rows = b.input(PER_LAYER_INPUT, tensorType(dtype, [1, count * size, 1, width]));
  const gain = source.gain(b, "perLayerContextNorm", [1, 1, 1, size], eta * Math.SQRT1_2);
  // The projection gives α κ √C times the norm's argument.
  const epsilon = arch.normEpsilon * arch.hidden * (stream * kappa) ** 2;
  const slice = (y: Value, from: number, to: number): Value =>
    from === 0 && to === count ? y : b.slice(y, [0, from * size, 0, 0], [1, to * size, 1, width]);
  // Whole layers at a time, no wider than the widest convolution every engine takes.
  const step = Math.min(count, Math.max(1, Math.floor(LARGEST_HEAD_PART / size)));
  const parts: Value[] = [];
  for (let from = 0; from < count; from += step) {
    const to = Math.min(count, from + step);
    const label = step === count ? "perLayerContext" : `perLayerContext_${from}`;
    const kernel = source.pointwiseRows(b, "perLayerContext", label, from * size, to * size, kappa);
    const projected = pointwise(b, x, kernel, "per_layer_context");
    const normed = toChannels(b, mirrorNorm(b, toHeads(b, projected, to - from, size), 3, epsilon, gain));
    parts.push(itemAt(b.op("add", { x: normed, y: slice(rows, from, to) }, {}, "per_layer_vectors"), 0));
  }
  return (layer) => {
    const part = Math.floor(layer / step);
    const at = layer - part * step;
    const own = itemAt(parts, part);
    if (step === 1) return own;
    return b.slice(own, [0, at * size, 0, 0], [1, (at + 1) * size, 1, width]);
  };
}
