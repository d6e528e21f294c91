/**
 * @file Gemma, the first: Llama with norms of 1 + w, a scaled embedding and a GELU.
 *
 * Reference: the Gemma report (2024); defaults are those of `GemmaConfig`. Released configs say "gelu" and mean its tanh form.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family, standardHeadToGroup } from "./family.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";

const schema = z.looseObject({
  vocab_size: positive.default(256_000),
  hidden_size: positive.default(3072),
  intermediate_size: positive.default(24_576),
  num_hidden_layers: positive.default(28),
  num_attention_heads: positive.default(16),
  num_key_value_heads: positive.default(16),
  head_dim: positive.default(256),
  hidden_act: z.enum(["gelu_pytorch_tanh", "gelu"]).default("gelu_pytorch_tanh"),
  max_position_embeddings: positive.default(8192),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  attention_bias: z.boolean().nullish(),
  tie_word_embeddings: z.boolean().default(true),
  use_bidirectional_attention: z.literal(false).nullish(),
});

export const gemma: Family = {
  modelTypes: ["gemma"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    if (c.num_attention_heads % c.num_key_value_heads !== 0) {
      throw new EspalierError(
        "model/config",
        `num_attention_heads ${c.num_attention_heads} is not a multiple of num_key_value_heads ${c.num_key_value_heads}`,
      );
    }
    const layer: LayerArchitecture = {
      queryHeads: c.num_attention_heads,
      kvGroups: c.num_key_value_heads,
      headDim: c.head_dim,
      headToGroup: standardHeadToGroup(c.num_attention_heads, c.num_key_value_heads),
      neurons: c.intermediate_size,
      attentionScale: c.head_dim ** -0.5,
      attentionSoftcap: null,
      window: null,
      rope: flatRopeSpec(c, { headDim: c.head_dim, maxPositions: c.max_position_embeddings }),
      qkNorm: false,
      valueNorm: false,
      valueIsKey: false,
      kvSource: null,
      sandwichNorms: false,
      biases: c.attention_bias ? attentionProjections : [],
      activation: "gelu_tanh",
      layerScalar: false,
    };
    return {
      family: "gemma",
      hidden: c.hidden_size,
      vocab: c.vocab_size,
      maxPositions: c.max_position_embeddings,
      normEpsilon: c.rms_norm_eps,
      normOffset: 1,
      embeddingScale: Math.sqrt(c.hidden_size),
      finalSoftcap: null,
      tiedHead: c.tie_word_embeddings,
      perLayer: null,
      layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    };
  },
};
