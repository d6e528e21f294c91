/**
 * @file SmolLM3: Llama in which every fourth layer has no RoPE.
 *
 * Reference: the SmolLM3 report (2025); Yang et al., "Rope to Nope and Back Again" (2025); defaults are those of `SmolLM3Config`.
 * `no_rope_layers` means the reverse of its name: 1 is a layer with RoPE.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family, mlpProjections, standardWidths } from "./family.ts";
import { layerTypes, slidingLayers } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const DEFAULT_THETA = 2_000_000;

const schema = z.looseObject({
  vocab_size: positive.default(128_256),
  hidden_size: positive.default(2048),
  intermediate_size: positive.default(11_008),
  num_hidden_layers: positive.default(36),
  num_attention_heads: positive.default(16),
  num_key_value_heads: positive.nullish().default(4),
  head_dim: positive.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(32_768),
  rms_norm_eps: z.number().positive().default(1e-6),
  ...flatRopeKeys,
  no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
  no_rope_layer_interval: positive.default(4),
  use_sliding_window: z.boolean().default(false),
  sliding_window: positive.nullish(),
  layer_types: layerTypes,
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  tie_word_embeddings: z.boolean().default(true),
});

export const smollm3: Family = {
  modelTypes: ["smollm3"],
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const turns = c.no_rope_layers ?? everyOtherThan(c.num_hidden_layers, c.no_rope_layer_interval);
    if (turns.length !== c.num_hidden_layers) {
      throw new EspalierError(
        "model/config",
        `no_rope_layers has ${turns.length} entries, num_hidden_layers is ${c.num_hidden_layers}`,
      );
    }
    const window = c.use_sliding_window ? (c.sliding_window ?? null) : null;
    const given = slidingLayers({ layer_types: c.layer_types, sliding_window: window }, c.num_hidden_layers);
    const sizes = { headDim: plain.headDim, maxPositions: c.max_position_embeddings, defaultTheta: DEFAULT_THETA };
    const rope = flatRopeSpec(c, sizes);
    const layers = turns.map((turn, i): LayerArchitecture => {
      const slides = given ? given[i] === true : turn === 0;
      return {
        ...plain,
        window: slides ? window : null,
        rope: turn === 1 ? rope : null,
        biases: [...(c.attention_bias ? attentionProjections : []), ...(c.mlp_bias ? mlpProjections : [])],
      };
    });
    return {
      family: "smollm3",
      ...standardDecoder(c),
      layers,
    };
  },
  widths: (arch, config) => ({
    ...standardWidths(arch, config),
    no_rope_layers: arch.layers.map((l) => (l.rope === null ? 0 : 1)),
  }),
};

/** 1 for each layer but every `interval`-th. */
const everyOtherThan = (layers: number, interval: number): (0 | 1)[] =>
  Array.from({ length: layers }, (_, i) => ((i + 1) % interval === 0 ? 0 : 1));
