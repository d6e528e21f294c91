/**
 * @file OLMo 2: Llama whose norms follow attention and MLP instead of preceding them, with one norm over all queries of a position and one
 * over all keys.
 *
 * Reference: Team OLMo, "2 OLMo 2 Furious" (2024); defaults are those of `Olmo2Config`. x += norm(attn(x)); x += norm(mlp(x)). The norm of
 * q and k comes before the split in heads, so that a head is divided by a size that the others have a part in: closing the gate of a
 * head leaves that size as it is, cutting the head out would change it, and is refused.
 */
import { z } from "zod";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family } from "./family.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(50_304),
  hidden_size: positive.default(4096),
  intermediate_size: positive.default(11_008),
  num_hidden_layers: positive.default(32),
  num_attention_heads: positive.default(32),
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(2048),
  rms_norm_eps: z.number().positive().default(1e-5),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
});

export const olmo2: Family = {
  modelTypes: ["olmo2"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const layer: LayerArchitecture = {
      ...plain,
      rope: flatRopeSpec(c, { headDim: plain.headDim, maxPositions: c.max_position_embeddings }),
      qkNorm: "projection",
      inputNorms: false,
      outputNorms: true,
      biases: c.attention_bias ? attentionProjections : [],
    };
    return {
      family: "olmo2",
      ...standardDecoder(c),
      layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    };
  },
};
