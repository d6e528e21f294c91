/**
 * @file Llama 2, 3, 3.1, 3.2 and what shares their layout (SmolLM2, TinyLlama, Mistral without a window).
 *
 * Reference: Touvron et al. (2023), Dubey et al. (2024); defaults are those of `LlamaConfig`.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family, mlpProjections } from "./family.ts";
import { layerTypes, slidingLayers } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(32000),
  hidden_size: positive.default(4096),
  intermediate_size: positive.default(11008),
  num_hidden_layers: positive.default(32),
  num_attention_heads: positive.default(32),
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  hidden_act: z.string().default("silu"),
  max_position_embeddings: positive.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  /** Only Mistral slides; with `layer_types`, transformers treats it as Ministral, in which some
   * layers slide. */
  sliding_window: positive.nullish(),
  layer_types: layerTypes,
});

/** Keys with a different default in Mistral's config. */
const mistralDefaults = {
  intermediate_size: 14_336,
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  sliding_window: 4096,
};

export const llama: Family = {
  modelTypes: ["llama", "mistral"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const isMistral = raw.model_type === "mistral";
    const c = parseConfig(schema, isMistral ? { ...mistralDefaults, ...raw } : raw);
    const slides = slidingLayers(c, c.num_hidden_layers) ?? Array.from({ length: c.num_hidden_layers }, () => true);
    if (c.hidden_act !== "silu")
      throw new EspalierError("model/config", `hidden_act "${c.hidden_act}" is not supported; Llama models use silu`);
    const plain = standardLayer(c);
    const layer: LayerArchitecture = {
      ...plain,
      rope: flatRopeSpec(c, { headDim: plain.headDim, maxPositions: c.max_position_embeddings }),
      // Mistral has none: transformers does not read these keys there.
      biases: isMistral
        ? []
        : [...(c.attention_bias ? attentionProjections : []), ...(c.mlp_bias ? mlpProjections : [])],
    };
    return {
      family: "llama",
      ...standardDecoder(c),
      layers: slides.map((own) => ({ ...layer, window: isMistral && own ? (c.sliding_window ?? null) : null })),
    };
  },
};
