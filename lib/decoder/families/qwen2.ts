/**
 * @file Qwen2 and Qwen2.5, the dense models: Llama with biases on q, k and v.
 *
 * Reference: the Qwen2 report (2024); defaults are those of `Qwen2Config`. Not included: mixtures of
 * experts, which have a different model type.
 */
import { z } from "zod";
import type { LayerArchitecture } from "../architecture.ts";
import type { Family } from "./family.ts";
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
  head_dim: positive.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(32768),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  sliding_window: positive.nullish().default(4096),
  /** Layers from this one on slide, if windows are used and `layer_types` is absent. */
  max_window_layers: z.number().int().nonnegative().default(28),
  layer_types: layerTypes,
});

export const qwen2: Family = {
  modelTypes: ["qwen2"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const window = c.use_sliding_window ? (c.sliding_window ?? null) : null;
    const given = slidingLayers({ layer_types: c.layer_types, sliding_window: window }, c.num_hidden_layers);
    const slides = (i: number): boolean => (given ? given[i] === true : i >= c.max_window_layers);
    const rope = flatRopeSpec(c, { headDim: plain.headDim, maxPositions: c.max_position_embeddings });
    const layer = (i: number): LayerArchitecture => ({
      ...plain,
      window: slides(i) ? window : null,
      rope,
      biases: ["query", "key", "value"],
    });
    return {
      family: "qwen2",
      ...standardDecoder(c),
      layers: Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)),
    };
  },
};
