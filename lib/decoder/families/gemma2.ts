/**
 * @file Gemma 2: Gemma with sandwich norms, caps on scores and logits, and a window in every other layer.
 *
 * Reference: the Gemma 2 report (2024); defaults are those of `Gemma2Config`. Without `layer_types` the even layers slide, the first
 * among them.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family } from "./family.ts";
import { type LayerType, layerTypes, slidingLayers } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { gemmaDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(256_000),
  hidden_size: positive.default(2304),
  intermediate_size: positive.default(9216),
  num_hidden_layers: positive.default(26),
  num_attention_heads: positive.default(8),
  num_key_value_heads: positive.default(4),
  head_dim: positive.default(256),
  hidden_activation: z.enum(["gelu_pytorch_tanh", "gelu"]).default("gelu_pytorch_tanh"),
  max_position_embeddings: positive.default(8192),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: positive.nullish().default(4096),
  layer_types: layerTypes,
  final_logit_softcapping: z.number().positive().nullish().default(30),
  attn_logit_softcapping: z.number().positive().nullish().default(50),
  attention_bias: z.boolean().nullish(),
  tie_word_embeddings: z.boolean().default(true),
  use_bidirectional_attention: z.literal(false).nullish(),
});

export const gemma2: Family = {
  modelTypes: ["gemma2"],
  names: { mlpNorm: "pre_feedforward_layernorm.weight" },
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    // head_dim does not depend on it; transformers refuses such configs all the same.
    if (c.hidden_size % c.num_attention_heads !== 0) {
      throw new EspalierError(
        "model/config",
        `hidden_size ${c.hidden_size} is not a multiple of num_attention_heads ${c.num_attention_heads}`,
      );
    }
    const everyOther = (i: number): LayerType => (i % 2 === 0 ? "sliding_attention" : "full_attention");
    const types = c.layer_types ?? Array.from({ length: c.num_hidden_layers }, (_, i) => everyOther(i));
    const slides = slidingLayers({ layer_types: types, sliding_window: c.sliding_window }, c.num_hidden_layers) ?? [];
    const layer: LayerArchitecture = {
      ...standardLayer(c),
      attentionScale: c.query_pre_attn_scalar ** -0.5,
      attentionSoftcap: c.attn_logit_softcapping ?? null,
      rope: flatRopeSpec(c, { headDim: c.head_dim, maxPositions: c.max_position_embeddings }),
      outputNorms: true,
      biases: c.attention_bias ? attentionProjections : [],
      activation: c.hidden_activation === "gelu" ? "gelu" : "gelu_tanh",
    };
    return {
      family: "gemma2",
      ...gemmaDecoder(c),
      finalSoftcap: c.final_logit_softcapping ?? null,
      layers: slides.map((own) => ({ ...layer, window: own ? (c.sliding_window ?? null) : null })),
    };
  },
};
