/**
 * @file Qwen3, the dense models: Llama with an RMSNorm over each head of q and k and an independent
 * head size.
 *
 * Reference: the Qwen3 report (2025); defaults are those of `Qwen3Config`. Not included:
 * mixtures of experts, which have a different model type.
 */
import { z } from "zod";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family } from "./family.ts";
import { layerTypes, slidingLayers } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(151936),
  hidden_size: positive.default(4096),
  intermediate_size: positive.default(22016),
  num_hidden_layers: positive.default(32),
  num_attention_heads: positive.default(32),
  num_key_value_heads: positive.nullish().default(32),
  head_dim: positive.default(128),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(32768),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  sliding_window: positive.nullish().default(4096),
  /** Layers from this one on slide, if windows are used and `layer_types` is absent. */
  max_window_layers: z.number().int().nonnegative().default(28),
  layer_types: layerTypes,
});

export const qwen3: Family = {
  modelTypes: ["qwen3"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const window = c.use_sliding_window ? (c.sliding_window ?? null) : null;
    const given = slidingLayers({ layer_types: c.layer_types, sliding_window: window }, c.num_hidden_layers);
    const slides = (i: number): boolean => (given ? given[i] === true : i >= c.max_window_layers);
    const rope = flatRopeSpec(c, { headDim: c.head_dim, maxPositions: c.max_position_embeddings });
    const layer = (i: number): LayerArchitecture => ({
      ...plain,
      window: slides(i) ? window : null,
      rope,
      qkNorm: "head",
      biases: c.attention_bias ? attentionProjections : [],
    });
    return {
      family: "qwen3",
      ...standardDecoder(c),
      layers: Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)),
    };
  },
};
