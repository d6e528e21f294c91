/**
 * @file Gemma 4 text decoders, E2B, E4B, 12B and 31B: per-layer embeddings, keys and values shared between layers, two head
 * dimensions, keys as values, layer scalars.
 *
 * Reference: `Gemma4TextConfig`, `Gemma4UnifiedTextConfig` and `modeling_gemma4` of transformers 5, whose defaults these
 * are. Norms are x · w; the attention scale is 1. The last `num_kv_shared_layers` layers read the keys and values of
 * the last layer of their own type before them. Not included, and refused by name: the mixture of
 * experts of 26B-A4B.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { type Family, standardHeadToGroup } from "./family.ts";
import { type LayerType, layerTypes } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { ropeParameters, ropeSpec } from "./rope-config.ts";

const schema = z.looseObject({
  vocab_size: positive.default(262_144),
  hidden_size: positive.default(2304),
  intermediate_size: positive.default(9216),
  num_hidden_layers: positive.default(30),
  num_attention_heads: positive.default(8),
  num_key_value_heads: positive.default(4),
  num_global_key_value_heads: positive.nullish(),
  head_dim: positive.default(256),
  global_head_dim: positive.nullish(),
  /** Newer configs replace the two `global` keys by a list of differences per layer. */
  per_layer_config: z
    .record(z.string(), z.strictObject({ head_dim: positive.optional(), num_key_value_heads: positive.optional() }))
    .nullish(),
  hidden_activation: z.literal("gelu_pytorch_tanh").default("gelu_pytorch_tanh"),
  max_position_embeddings: positive.default(131_072),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_parameters: z
    .looseObject({ full_attention: ropeParameters.nullish(), sliding_attention: ropeParameters.nullish() })
    .nullish(),
  sliding_window: positive.default(512),
  layer_types: layerTypes,
  final_logit_softcapping: z.number().positive().nullish(),
  attention_bias: z.boolean().nullish(),
  attention_k_eq_v: z.boolean().nullish(),
  num_kv_shared_layers: z.number().int().nonnegative().nullish(),
  use_double_wide_mlp: z.boolean().nullish(),
  vocab_size_per_layer_input: positive.default(262_144),
  hidden_size_per_layer_input: z.number().int().nonnegative().nullish(),
  enable_moe_block: z.boolean().nullish(),
  use_bidirectional_attention: z.enum(["all", "vision"]).nullish(),
  tie_word_embeddings: z.boolean().default(true),
});
type Config = z.infer<typeof schema>;

const unified = new Set<unknown>(["gemma4_unified", "gemma4_unified_text"]);

/** Defaults of the unified text config that differ: no per-layer embeddings, and a longer context.
 */
const unifiedDefaults = {
  max_position_embeddings: 262_144,
  sliding_window: 1024,
  hidden_size_per_layer_input: 0,
};

export const gemma4: Family = {
  modelTypes: ["gemma4_text", "gemma4", "gemma4_unified_text", "gemma4_unified"],
  names: { mlpNorm: "pre_feedforward_layernorm.weight" },
  keys: Object.keys(schema.shape),

  architecture(raw) {
    const c = parseConfig(schema, unified.has(raw.model_type) ? { ...unifiedDefaults, ...raw } : raw);
    refuse(c);
    const types = typesOf(c);
    const sources = kvSources(types, c.num_kv_shared_layers ?? 0);
    const layers = types.map((type, i) => layerOf(c, type, i, sources[i] ?? null));
    for (const [i, layer] of layers.entries()) {
      const source = layer.kvSource === null ? layer : layers[layer.kvSource];
      if (source?.headDim !== layer.headDim || source.kvGroups !== layer.kvGroups) {
        throw new EspalierError(
          "model/config",
          `layer ${i} cannot read the keys of layer ${layer.kvSource}: their shapes differ`,
        );
      }
    }
    const width = c.hidden_size_per_layer_input ?? 256;
    if (width > 0 && c.vocab_size_per_layer_input < c.vocab_size) {
      throw new EspalierError(
        "model/config",
        `vocab_size_per_layer_input ${c.vocab_size_per_layer_input} leaves tokens of the vocabulary of ${c.vocab_size} without a row`,
      );
    }
    return {
      family: unified.has(raw.model_type) ? "gemma4_unified_text" : "gemma4_text",
      hidden: c.hidden_size,
      vocab: c.vocab_size,
      maxPositions: c.max_position_embeddings,
      normEpsilon: c.rms_norm_eps,
      normOffset: 0,
      embeddingScale: Math.sqrt(c.hidden_size),
      logitScale: 1,
      finalSoftcap: c.final_logit_softcapping ?? null,
      tiedHead: c.tie_word_embeddings,
      perLayer: width > 0 ? { width, vocab: c.vocab_size_per_layer_input } : null,
      layers,
    };
  },

  /** Full and sliding layers have separate widths; layers that read another's keys may be twice as
   * wide. */
  widths(arch, config) {
    const sliding = arch.layers.filter((l) => l.window !== null);
    const full = arch.layers.filter((l) => l.window === null);
    const groups = Math.max(...(sliding.length > 0 ? sliding : full).map((l) => l.kvGroups));
    const fullGroups = Math.max(...full.map((l) => l.kvGroups));
    // Every layer's groups must divide the heads.
    const divisor = leastCommonMultiple(groups, fullGroups);
    const heads = Math.ceil(Math.max(...arch.layers.map((l) => l.queryHeads)) / divisor) * divisor;
    const narrow = arch.layers.filter((l) => l.kvSource === null);
    const overrides = Object.fromEntries(
      arch.layers.flatMap((l, i) =>
        l.window === null ? [[i, { head_dim: l.headDim, num_key_value_heads: fullGroups }]] : [],
      ),
    );
    const { global_head_dim: _d, num_global_key_value_heads: _g, ...rest } = config;
    return {
      ...rest,
      num_attention_heads: heads,
      num_key_value_heads: groups,
      intermediate_size: Math.max(...narrow.map((l) => l.neurons)),
      head_dim: (sliding[0] ?? full[0])?.headDim,
      per_layer_config: overrides,
    };
  },
};

function leastCommonMultiple(a: number, b: number): number {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
}

function refuse(c: Config): void {
  if (c.enable_moe_block) {
    throw new EspalierError(
      "model/config",
      "enable_moe_block true is not supported: a mixture of experts (Gemma 4 26B-A4B)",
      {
        hint: "The dense Gemma 4 models are: E2B, E4B, 12B and 31B.",
      },
    );
  }
  if (c.attention_bias) throw new EspalierError("model/config", "attention_bias true is not supported");
  if (c.use_bidirectional_attention === "all") {
    throw new EspalierError(
      "model/config",
      'use_bidirectional_attention "all" is not supported: the model is not a causal decoder',
    );
  }
}

function typesOf(c: Config): LayerType[] {
  const types =
    c.layer_types ??
    Array.from(
      { length: c.num_hidden_layers },
      (_, i): LayerType => ((i + 1) % 6 === 0 ? "full_attention" : "sliding_attention"),
    );
  if (types.length !== c.num_hidden_layers) {
    throw new EspalierError(
      "model/config",
      `layer_types has ${types.length} entries, num_hidden_layers is ${c.num_hidden_layers}`,
    );
  }
  // The reference also forces the last layer to full attention.
  return [...types.slice(0, -1), "full_attention"];
}

/** For each of the last `shared` layers, the last earlier layer of the same type; null for the
 * others. */
function kvSources(types: readonly LayerType[], shared: number): (number | null)[] {
  const first = types.length - shared;
  return types.map((type, i) => {
    if (i < first) return null;
    const source = types.lastIndexOf(type, first - 1);
    if (first < 1 || source < 0) {
      throw new EspalierError(
        "model/config",
        `num_kv_shared_layers ${shared} leaves no ${type} layer whose keys could be read`,
      );
    }
    return source;
  });
}

function layerOf(c: Config, type: LayerType, index: number, kvSource: number | null): LayerArchitecture {
  const full = type === "full_attention";
  const valueIsKey = full && c.attention_k_eq_v === true;
  const globalGroups = c.attention_k_eq_v ? c.num_global_key_value_heads : null;
  const override = c.per_layer_config
    ? (c.per_layer_config[index] ?? {})
    : full
      ? { head_dim: c.global_head_dim ?? 512, num_key_value_heads: globalGroups ?? undefined }
      : {};
  const headDim = override.head_dim ?? c.head_dim;
  const kvGroups = override.num_key_value_heads ?? c.num_key_value_heads;
  if (c.num_attention_heads % kvGroups !== 0) {
    throw new EspalierError(
      "model/config",
      `layer ${index}: num_attention_heads ${c.num_attention_heads} is not a multiple of its ${kvGroups} key-value heads`,
    );
  }
  const rope = c.rope_parameters ? c.rope_parameters[type] : defaultRope[type];
  const theta = rope?.rope_theta;
  if (!rope || typeof theta !== "number") {
    throw new EspalierError("model/config", `rope_parameters gives no rope_theta for layers of ${type}`, {
      hint: "Copy config.json again from the model it belongs to.",
    });
  }
  return {
    queryHeads: c.num_attention_heads,
    kvGroups,
    headDim,
    headToGroup: standardHeadToGroup(c.num_attention_heads, kvGroups),
    neurons: c.intermediate_size * (c.use_double_wide_mlp && kvSource !== null ? 2 : 1),
    attentionScale: 1,
    attentionSoftcap: null,
    window: full ? null : c.sliding_window,
    rope: ropeSpec(rope, theta, { headDim, maxPositions: c.max_position_embeddings }),
    qkNorm: "head",
    valueNorm: true,
    valueIsKey,
    kvSource,
    inputNorms: true,
    outputNorms: true,
    biases: [],
    activation: "gelu_tanh",
    residualScale: 1,
    layerScalar: true,
  };
}

const defaultRope = {
  sliding_attention: { rope_type: "default", rope_theta: 10_000 },
  full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1_000_000 },
} as const;
