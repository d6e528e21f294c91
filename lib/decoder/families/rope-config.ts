/**
 * @file RoPE frequencies from a config, in the old and the new spelling.
 *
 * Recipes: `default` f_i = θ^(−2i/D); `linear` f_i / factor; `llama3` (Llama 3.1): with wavelength λ = 2π/f, f / factor
 * for λ > orig/low, f for λ < orig/high, and between them (1 − s) f / factor + s f, s = (orig/λ − low)/(high − low).
 * `proportional` (Gemma 4): f_i = θ^(−2i/D) / factor for the first ⌊partial · D / 2⌋ pairs, with D the whole head
 * dimension, and 0 for the others, which do not rotate. Not included, and refused by name: dynamic,
 * yarn, longrope.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { RopeSpec } from "../architecture.ts";

export const ropeParameters = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  factor: z.number().positive().nullish(),
  low_freq_factor: z.number().nullish(),
  high_freq_factor: z.number().nullish(),
  original_max_position_embeddings: z.number().nullish(),
  partial_rotary_factor: z.number().nullish(),
});
export type RopeParameters = z.infer<typeof ropeParameters>;

/** The RoPE settings of a config with one RoPE for all layers: the old spelling wins over the new
 * one, as in transformers 5. */
export const flatRopeKeys = {
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
  original_max_position_embeddings: z.number().positive().nullish(),
  partial_rotary_factor: z.number().nullish(),
};
const flatRope = z.object(flatRopeKeys);

/** Throws `model/config`. */
export function flatRopeSpec(
  config: z.infer<typeof flatRope>,
  sizes: { readonly headDim: number; readonly maxPositions: number; readonly defaultTheta?: number },
): RopeSpec {
  const { rope_scaling: old, rope_parameters, original_max_position_embeddings: original } = config;
  const parameters = (old && Object.keys(old).length > 0 ? old : rope_parameters) ?? {};
  const nested = ["full_attention", "sliding_attention"].find((key) => key in parameters);
  if (nested !== undefined) {
    throw new EspalierError(
      "model/config",
      `rope_parameters.${nested}: layers of this family have one RoPE, not one for each type of layer`,
    );
  }
  const theta = parameters.rope_theta ?? config.rope_theta ?? sizes.defaultTheta ?? 10_000;
  const whole = {
    ...parameters,
    original_max_position_embeddings: original ?? parameters.original_max_position_embeddings,
    partial_rotary_factor: parameters.partial_rotary_factor ?? config.partial_rotary_factor,
  };
  return ropeSpec(whole, theta, sizes);
}

/** `maxPositions` is the context before stretching, if the config does not give it. Throws
 * `model/config`. */
export function ropeSpec(
  parameters: RopeParameters,
  theta: number,
  { headDim, maxPositions }: { readonly headDim: number; readonly maxPositions: number },
): RopeSpec {
  const type = parameters.rope_type ?? parameters.type ?? "default";
  if (headDim % 2 !== 0) throw new EspalierError("model/config", `head_dim ${headDim} is odd, RoPE turns pairs`);
  const base = Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  const required = (key: "factor" | "low_freq_factor" | "high_freq_factor"): number => {
    const value = parameters[key];
    if (typeof value === "number") return value;
    throw new EspalierError("model/config", `rope_type "${type}" needs ${key} in rope_parameters`, {
      hint: "Copy config.json again from the model it belongs to.",
    });
  };
  if (type === "proportional") {
    const factor = parameters.factor ?? 1;
    const live = Math.floor(((parameters.partial_rotary_factor ?? 1) * headDim) / 2);
    return { inverseFrequencies: base.map((f, i) => (i < live ? f / factor : 0)), attentionFactor: 1 };
  }
  if ((parameters.partial_rotary_factor ?? 1) !== 1) {
    throw new EspalierError(
      "model/config",
      `partial_rotary_factor ${parameters.partial_rotary_factor} is not supported`,
    );
  }
  if (type === "default") return { inverseFrequencies: base, attentionFactor: 1 };
  if (type === "linear") {
    const factor = required("factor");
    return { inverseFrequencies: base.map((f) => f / factor), attentionFactor: 1 };
  }
  if (type === "llama3") {
    const factor = required("factor");
    const original = parameters.original_max_position_embeddings ?? maxPositions;
    const low = required("low_freq_factor");
    const high = required("high_freq_factor");
    const scaled = base.map((f) => {
      const wavelength = (2 * Math.PI) / f;
      if (wavelength > original / low) return f / factor;
      if (wavelength < original / high) return f;
      const s = (original / wavelength - low) / (high - low);
      return ((1 - s) * f) / factor + s * f;
    });
    return { inverseFrequencies: scaled, attentionFactor: 1 };
  }
  throw new EspalierError("model/config", `rope_type "${type}" is not supported`, {
    hint: "Supported: default, linear, llama3, proportional.",
  });
}
