/**
 * @file Gemma, the first: Llama with norms of 1 + w, a scaled embedding and a GELU.
 *
 * Reference: the Gemma report (2024); defaults are those of `GemmaConfig`. Released configs say "gelu" and mean its tanh form.
 */
import { z } from "zod";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family } from "./family.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { gemmaDecoder, standardLayer } from "./standard-sizes.ts";

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
    const layer: LayerArchitecture = {
      ...standardLayer(c),
      rope: flatRopeSpec(c, { headDim: c.head_dim, maxPositions: c.max_position_embeddings }),
      biases: c.attention_bias ? attentionProjections : [],
      activation: "gelu_tanh",
    };
    return {
      family: "gemma",
      ...gemmaDecoder(c),
      layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    };
  },
};
