/**
 * @file Gemma 3 text decoders: sandwich norms with 1 + w, QK-norm, sliding layers with their own
 * RoPE.
 *
 * Reference: the Gemma 3 report (2025); defaults are those of `Gemma3TextConfig`, which larger checkpoints rely on.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import { attentionProjections, type Family } from "./family.ts";
import { type LayerType, layerTypes, slidingLayers } from "./layer-types.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { ropeParameters, ropeSpec } from "./rope-config.ts";
import { gemmaDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(262208),
  hidden_size: positive.default(2304),
  intermediate_size: positive.default(9216),
  num_hidden_layers: positive.default(26),
  num_attention_heads: positive.default(8),
  num_key_value_heads: positive.default(4),
  head_dim: positive.default(256),
  hidden_activation: z.string().default("gelu_pytorch_tanh"),
  max_position_embeddings: positive.default(131072),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_local_base_freq: z.number().positive().nullish(),
  partial_rotary_factor: z.number().nullish(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: z
    .looseObject({ full_attention: ropeParameters.nullish(), sliding_attention: ropeParameters.nullish() })
    .nullish(),
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: positive.nullish().default(4096),
  sliding_window_pattern: positive.nullish(),
  layer_types: layerTypes,
  attention_bias: z.boolean().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  tie_word_embeddings: z.boolean().default(true),
  use_bidirectional_attention: z.boolean().nullish(),
});

const activations: ReadonlyMap<string, LayerArchitecture["activation"]> = new Map([
  ["gelu_pytorch_tanh", "gelu_tanh"],
  ["gelu", "gelu"],
]);

const sixth = (layer: number, pattern: number): LayerType =>
  (layer + 1) % pattern === 0 ? "full_attention" : "sliding_attention";

export const gemma3: Family = {
  modelTypes: ["gemma3_text", "gemma3"],
  names: { mlpNorm: "pre_feedforward_layernorm.weight" },
  keys: Object.keys(schema.shape),
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    if (c.use_bidirectional_attention)
      throw new EspalierError(
        "model/config",
        "use_bidirectional_attention true is not supported: the model is not a causal decoder",
      );
    const activation = activations.get(c.hidden_activation);
    if (!activation) {
      throw new EspalierError(
        "model/config",
        `hidden_activation "${c.hidden_activation}" is not supported; Gemma models use gelu_pytorch_tanh`,
      );
    }
    const pattern = c.sliding_window_pattern ?? 6;
    const types = c.layer_types ?? Array.from({ length: c.num_hidden_layers }, (_, i) => sixth(i, pattern));
    const slides = slidingLayers({ layer_types: types, sliding_window: c.sliding_window }, c.num_hidden_layers) ?? [];
    const partial = { partial_rotary_factor: c.partial_rotary_factor };
    const full = { ...partial, ...c.rope_parameters?.full_attention, ...c.rope_scaling };
    const sliding = { ...partial, ...c.rope_parameters?.sliding_attention };
    const sizes = { headDim: c.head_dim, maxPositions: c.max_position_embeddings };
    const ropes = {
      full_attention: ropeSpec(full, full.rope_theta ?? c.rope_theta ?? 1_000_000, sizes),
      sliding_attention: ropeSpec(sliding, sliding.rope_theta ?? c.rope_local_base_freq ?? 10_000, sizes),
    };
    const layers = slides.map(
      (isSliding): LayerArchitecture => ({
        ...plain,
        attentionScale: c.query_pre_attn_scalar ** -0.5,
        // `transformers` keeps Gemma 2's attn_logit_softcapping in the config and never applies it.
        attentionSoftcap: null,
        window: isSliding ? (c.sliding_window ?? null) : null,
        rope: ropes[isSliding ? "sliding_attention" : "full_attention"],
        qkNorm: "head",
        outputNorms: true,
        biases: c.attention_bias ? attentionProjections : [],
        activation,
      }),
    );
    return {
      family: "gemma3_text",
      ...gemmaDecoder(c),
      finalSoftcap: c.final_logit_softcapping ?? null,
      layers,
    };
  },
};
