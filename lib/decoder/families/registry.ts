/**
 * @file Every family by model type; a config to a descriptor, and a descriptor back to a config.
 *
 * Widths that differ by layer are ours: `espalier.layers` in `config.json`, written only when a standard config cannot
 * say it, so that a uniform model stays loadable by `transformers`.
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { DecoderArchitecture } from "../architecture.ts";
import { type Family, standardWidths, withWidths } from "./family.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gemma4 } from "./gemma4.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { olmo2 } from "./olmo2.ts";
import { positive } from "./parse-config.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { smollm3 } from "./smollm3.ts";

export const families: readonly Family[] = [
  llama,
  phi3,
  qwen2,
  qwen3,
  smollm3,
  granite,
  olmo2,
  gemma,
  gemma2,
  gemma3,
  gemma4,
];

const layerExtension = z.object({
  query_heads: positive,
  kv_groups: positive,
  head_to_group: z.array(z.number().int().nonnegative()),
  neurons: positive,
});
const extension = z.looseObject({ version: z.literal(1), layers: z.array(layerExtension).optional() });

/** The descriptor of a parsed `config.json`. Throws `model/unknown-architecture` or `model/config`. */
export function architectureOf(config: Record<string, unknown>): DecoderArchitecture {
  refuseQuantized(config);
  if (isWrapper(config)) refuseQuantized({ ...config.text_config });
  if (config.is_encoder_decoder === true)
    throw new EspalierError(
      "model/config",
      "is_encoder_decoder true is not supported: the model is not a decoder alone",
    );
  const family = familyOf(config);
  const text = textConfig(config);
  refuseOverrides(family, text);
  return withExtension(family.architecture(text), config.espalier);
}

/** Any config of transformers 5 may set keys per layer; a family that does not read them refuses
 * those that change anything. */
function refuseOverrides(family: Family, text: Record<string, unknown>): void {
  const layers = z.record(z.string(), z.record(z.string(), z.unknown())).safeParse(text.per_layer_config ?? {});
  if (family.keys.includes("per_layer_config") || !layers.success) return;
  for (const [layer, own] of Object.entries(layers.data)) {
    const changed = Object.keys(own).find((key) => own[key] !== text[key]);
    if (changed === undefined) continue;
    throw new EspalierError(
      "model/config",
      `per_layer_config.${layer}.${changed}: layers that differ are not supported`,
      {
        hint: "They are for Gemma 4, and for what was pruned here.",
      },
    );
  }
}

const quantizedBy = z.looseObject({ quant_method: z.string().nullish(), bits: z.number().nullish() });

/** In a checkpoint quantized by another tool, codes stand where this reader expects values. */
function refuseQuantized(config: Record<string, unknown>): void {
  for (const key of ["quantization_config", "quantization", "compression_config"]) {
    if (config[key] === undefined || config[key] === null) continue;
    const found = quantizedBy.safeParse(config[key]);
    const how = (found.success ? found.data.quant_method : null) ?? (key === "quantization" ? "mlx" : "unnamed");
    throw new EspalierError("format/unsupported", `config.json: ${key} says the weights are quantized (${how})`, {
      hint: "Take the checkpoint in bf16, fp16 or fp32, or a GGUF file of it.",
    });
  }
}

/** The family of a descriptor, whose `family` is one of its model types. */
export const familyOfArchitecture = (arch: DecoderArchitecture): Family => familyOf({ model_type: arch.family });

function familyOf(config: Record<string, unknown>): Family {
  const type = config.model_type;
  const family = families.find((f) => typeof type === "string" && f.modelTypes.includes(type));
  if (!family) {
    throw new EspalierError(
      "model/unknown-architecture",
      type === undefined
        ? "config.json has no model_type"
        : `config.json: model_type ${JSON.stringify(type)} is not known`,
      {
        hint: `Known are ${families.flatMap((f) => f.modelTypes).join(", ")}.`,
      },
    );
  }
  return family;
}

/** A multimodal model's config, which keeps the decoder's keys in text_config. */
const isWrapper = (config: Record<string, unknown>): config is Record<string, unknown> & { text_config: object } =>
  typeof config.text_config === "object" && config.text_config !== null;

/** The text_config of a wrapper, except for the tie of the head, which is set on the wrapper. */
function textConfig(config: Record<string, unknown>): Record<string, unknown> {
  if (!isWrapper(config)) return config;
  const { model_type, tie_word_embeddings: tied } = config;
  return { model_type, ...config.text_config, ...(typeof tied === "boolean" ? { tie_word_embeddings: tied } : {}) };
}

/** Keys of a wrapper outside text_config that concern the text decoder. Only the decoder is
 * written, so no others are kept. */
function textOnly(config: Record<string, unknown>, family: string): Record<string, unknown> {
  const kept = ["bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "dtype", "torch_dtype"];
  const causal = causalClasses[family];
  return {
    ...Object.fromEntries(Object.entries(config).filter(([key]) => kept.includes(key))),
    ...(causal ? { architectures: [causal] } : {}),
  };
}

const causalClasses: Readonly<Record<string, string>> = {
  gemma3_text: "Gemma3ForCausalLM",
  gemma4_text: "Gemma4ForCausalLM",
  gemma4_unified_text: "Gemma4UnifiedForCausalLM",
};

function withExtension(arch: DecoderArchitecture, raw: unknown): DecoderArchitecture {
  if (raw === undefined) return arch;
  const parsed = extension.safeParse(raw);
  if (!parsed.success) {
    throw new EspalierError(
      "model/config",
      `config.json: espalier.${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`,
    );
  }
  const widths = parsed.data.layers;
  if (!widths) return arch;
  if (widths.length !== arch.layers.length) {
    throw new EspalierError(
      "model/config",
      `config.json: espalier.layers has ${widths.length} entries for ${arch.layers.length} layers`,
    );
  }
  const layers = arch.layers.map((layer, i) => {
    const w = widths[i];
    if (!w) return layer;
    const legal =
      w.head_to_group.length === w.query_heads &&
      w.head_to_group.every((g, h) => g < w.kv_groups && g >= (w.head_to_group[h - 1] ?? 0));
    if (!legal) {
      throw new EspalierError(
        "model/config",
        `config.json: espalier.layers.${i}.head_to_group must give ${w.query_heads} ascending groups below ${w.kv_groups}`,
      );
    }
    return withWidths(layer, {
      queryHeads: w.query_heads,
      kvGroups: w.kv_groups,
      headToGroup: w.head_to_group,
      neurons: w.neurons,
    });
  });
  for (const [i, layer] of layers.entries()) {
    const source = layer.kvSource === null ? layer : layers[layer.kvSource];
    if (source?.kvGroups !== layer.kvGroups) {
      throw new EspalierError(
        "model/config",
        `config.json: espalier.layers.${i}.kv_groups is ${layer.kvGroups}, but layer ${layer.kvSource}, whose keys it reads, has ${source?.kvGroups}`,
      );
    }
  }
  return { ...arch, layers };
}

/** `original` with the widths of `arch`: in the family's own keys where they can express them, else
 * in `espalier.layers`. */
export function configFor(arch: DecoderArchitecture, original: Record<string, unknown>): Record<string, unknown> {
  if (arch.layers.length === 0) throw new EspalierError("model/config", "a decoder needs at least one layer");
  const family = familyOf(original);
  const { espalier: before, ...rest } = original;
  const widths = (family.widths ?? standardWidths)(arch, textConfig(rest));
  const kind = isWrapper(rest) ? { ...textOnly(rest, arch.family), ...widths, model_type: arch.family } : widths;
  // The weights may have a separate head that the config does not mention.
  const base = architectureOf(kind).tiedHead === arch.tiedHead ? kind : { ...kind, tie_word_embeddings: arch.tiedHead };
  // The record of what pruning kept is copied too.
  const kept = keptIn(before);
  if (isDeepStrictEqual(architectureOf(base).layers, arch.layers))
    return "kept" in kept ? { ...base, espalier: { version: 1, ...kept } } : base;
  // With per-layer widths the standard keys stay a legal description of some model, though not of this one.
  const layers = arch.layers.map((l) => ({
    query_heads: l.queryHeads,
    kv_groups: l.kvGroups,
    head_to_group: l.headToGroup,
    neurons: l.neurons,
  }));
  return { ...base, espalier: { version: 1, layers, ...kept } };
}

const keptIn = (espalier: unknown): { kept?: unknown } =>
  typeof espalier === "object" && espalier !== null && "kept" in espalier && espalier.kept !== undefined
    ? { kept: espalier.kept }
    : {};
