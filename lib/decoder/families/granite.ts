/**
 * @file Granite 3, the dense models: Llama with four constant multipliers.
 *
 * Reference: the Granite 3.0 report (2024); defaults are those of `GraniteConfig`. The embedding is multiplied by
 * `embedding_multiplier`, q · k by `attention_multiplier`, what attention and MLP add to the stream by `residual_multiplier`, and the
 * logits are divided by `logits_scaling`. Not included: experts and state-space layers, which have other model types.
 */
import { z } from "zod";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family, mlpProjections } from "./family.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(32_000),
  hidden_size: positive.default(4096),
  intermediate_size: positive.default(11_008),
  num_hidden_layers: positive.default(32),
  num_attention_heads: positive.default(32),
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  embedding_multiplier: z.number().positive().default(1),
  attention_multiplier: z.number().positive().default(1),
  residual_multiplier: z.number().positive().default(1),
  logits_scaling: z.number().positive().default(1),
});

export const granite: Family = {
  modelTypes: ["granite"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const layer: LayerArchitecture = {
      ...plain,
      attentionScale: c.attention_multiplier,
      rope: flatRopeSpec(c, { headDim: plain.headDim, maxPositions: c.max_position_embeddings }),
      biases: [...(c.attention_bias ? attentionProjections : []), ...(c.mlp_bias ? mlpProjections : [])],
      residualScale: c.residual_multiplier,
    };
    return {
      family: "granite",
      ...standardDecoder(c),
      embeddingScale: c.embedding_multiplier,
      logitScale: 1 / c.logits_scaling,
      layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    };
  },
};
