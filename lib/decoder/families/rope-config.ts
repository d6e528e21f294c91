/**
 * @file RoPE frequencies from a config, in the old and the new spelling.
 *
 * Recipes: `default` f_i = θ^(−2i/D); `linear` f_i / factor; `llama3` (Llama 3.1): with wavelength λ = 2π/f, f / factor
 * for λ > orig/low, f for λ < orig/high, and between them (1 − s) f / factor + s f, s = (orig/λ − low)/(high − low).
 * `proportional` (Gemma 4): f_i = θ^(−2i/D) / factor for the first ⌊partial · D / 2⌋ pairs, with D the whole head
 * dimension, and 0 for the others, which turn nothing. Left out, and refused by name: dynamic, yarn, longrope.
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

/** `maxPositions` is what a recipe was stretched from where the config does not say it. Throws `model/config`. */
export function ropeSpec(
  parameters: RopeParameters,
  theta: number,
  { headDim, maxPositions }: { readonly headDim: number; readonly maxPositions: number },
): RopeSpec {
  const type = parameters.rope_type ?? parameters.type ?? "default";
  if (headDim % 2 !== 0) throw new EspalierError("model/config", `head_dim ${headDim} is odd, RoPE turns pairs`);
  const base = Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  const factor = parameters.factor ?? 1;
  if (type === "proportional") {
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
  if (type === "linear") return { inverseFrequencies: base.map((f) => f / factor), attentionFactor: 1 };
  if (type === "llama3") {
    const original = parameters.original_max_position_embeddings ?? maxPositions;
    const low = parameters.low_freq_factor ?? 1;
    const high = parameters.high_freq_factor ?? 4;
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
