/** @file The metadata that all GGUF architectures share when written, and what none of them can
 * express. */
import { z } from "zod";
import type { DecoderArchitecture, LayerArchitecture } from "../../decoder/architecture.ts";
import { ropeParameters } from "../../decoder/families/rope-config.ts";
import { EspalierError } from "../../errors.ts";
import type { GgufKey } from "../../formats/gguf/write.ts";

export const u32 = (key: string, value: number): GgufKey => ({ key, type: "u32", value });
export const f32 = (key: string, value: number): GgufKey => ({ key, type: "f32", value });

/** Sizes of a model with equal layers. */
export function sizeKeys(arch: DecoderArchitecture): GgufKey[] {
  const { queryHeads, kvGroups, headDim, neurons } = uniformLayer(arch);
  return [
    u32("vocab_size", arch.vocab),
    u32("context_length", arch.maxPositions),
    u32("embedding_length", arch.hidden),
    u32("block_count", arch.layers.length),
    u32("feed_forward_length", neurons),
    u32("attention.head_count", queryHeads),
    u32("attention.head_count_kv", kvGroups),
    u32("attention.key_length", headDim),
    u32("attention.value_length", headDim),
    f32("attention.layer_norm_rms_epsilon", arch.normEpsilon),
  ];
}

/** The first layer, which represents all. Throws `export/unsupported` where widths differ; the
 * exporter evens them out first. */
export function uniformLayer(arch: DecoderArchitecture): LayerArchitecture {
  const [first] = arch.layers;
  if (!first) throw new EspalierError("export/unsupported", "a model without layers");
  const differs = arch.layers.some(
    (l) =>
      l.queryHeads !== first.queryHeads ||
      l.kvGroups !== first.kvGroups ||
      l.headDim !== first.headDim ||
      l.neurons !== first.neurons,
  );
  if (differs)
    throw new EspalierError(
      "export/unsupported",
      "layers of different widths, which this GGUF architecture cannot say",
    );
  return first;
}

/** For a fact of the model that llama.cpp cannot compute. */
export const cannotSay = (architecture: string, what: string): EspalierError =>
  new EspalierError("export/unsupported", `${what} cannot be said in a GGUF file of architecture ${architecture}`, {
    hint: "Export to Core ML, or keep the Hugging Face folder.",
  });

const ropeKeys = z.looseObject({
  rope_theta: z.number().nullish(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
});

/** The base of the frequencies in a config of one RoPE. */
export function ropeBase(config: Readonly<Record<string, unknown>>): number {
  const c = ropeKeys.parse(config);
  return (c.rope_parameters ?? c.rope_scaling)?.rope_theta ?? c.rope_theta ?? 10_000;
}

/** The divisor of each pair's frequency in a layer, relative to the base alone. */
export function stretch(layer: LayerArchitecture, base: number): number[] {
  const { rope, headDim } = layer;
  return (rope?.inverseFrequencies ?? []).map((f, i) => base ** ((-2 * i) / headDim) / f);
}

/** One factor for all pairs, 1 for none; null where pairs differ. */
export function oneFactor(factors: readonly number[]): number | null {
  const [first = 1] = factors;
  return factors.every((f) => Math.abs(f / first - 1) < 1e-6) ? (Math.abs(first - 1) < 1e-6 ? 1 : first) : null;
}

/** Keys of a stretch by one factor. */
export const linearKeys = (factor: number): GgufKey[] =>
  factor === 1
    ? []
    : [{ key: "rope.scaling.type", type: "string", value: "linear" }, f32("rope.scaling.factor", factor)];

/** Sizes and RoPE of a model without windows and caps, whose frequencies are stretched by one factor. Throws `export/unsupported`. */
export function plainKeys(
  architecture: string,
  arch: DecoderArchitecture,
  config: Readonly<Record<string, unknown>>,
): GgufKey[] {
  plainAttention(architecture, arch);
  const base = ropeBase(config);
  const factor = oneFactor(stretch(uniformLayer(arch), base));
  if (factor === null) throw cannotSay(architecture, "a stretch of frequencies that differs by pair");
  return [...sizeKeys(arch), f32("rope.freq_base", base), ...linearKeys(factor)];
}

/** Throws `export/unsupported` for a bias, which llama.cpp does not look for. */
export function noBiases(architecture: string, arch: DecoderArchitecture): void {
  const at = arch.layers.findIndex((l) => l.biases.length > 0);
  if (at >= 0) throw cannotSay(architecture, `the biases of layer ${at}`);
}

/** Throws `export/unsupported` for windows, caps and factors of attention. */
export function plainAttention(architecture: string, arch: DecoderArchitecture): void {
  for (const [i, layer] of arch.layers.entries()) {
    if (layer.window !== null) throw cannotSay(architecture, `the window of layer ${i}`);
    if (layer.attentionSoftcap !== null) throw cannotSay(architecture, `the soft cap on the scores of layer ${i}`);
    if (layer.rope === null) throw cannotSay(architecture, `layer ${i} without RoPE`);
    if (layer.rope.attentionFactor !== 1) throw cannotSay(architecture, `the RoPE factor of layer ${i}`);
  }
  if (arch.finalSoftcap !== null) throw cannotSay(architecture, "the soft cap on the logits");
}
