/**
 * @file Phi-3 and Phi-4: Llama with query, key and value in one tensor, and gate and up in another.
 *
 * Reference: the Phi-3 report (2024); defaults are those of `Phi3Config`. Not included, and refused
 * by name: LongRoPE, which uses other frequencies for longer texts, and partial rotation of heads
 * (Phi-4-mini).
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { LayerArchitecture } from "../architecture.ts";
import type { Family } from "./family.ts";
import { parseConfig, positive } from "./parse-config.ts";
import { flatRopeKeys, flatRopeSpec } from "./rope-config.ts";
import { standardDecoder, standardLayer } from "./standard-sizes.ts";

const schema = z.looseObject({
  vocab_size: positive.default(32064),
  hidden_size: positive.default(3072),
  intermediate_size: positive.default(8192),
  num_hidden_layers: positive.default(32),
  num_attention_heads: positive.default(32),
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  max_position_embeddings: positive.default(4096),
  rms_norm_eps: z.number().positive().default(1e-5),
  ...flatRopeKeys,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.literal(false).nullish(),
  sliding_window: positive.nullish(),
});

export const phi3: Family = {
  modelTypes: ["phi3"],
  keys: Object.keys(schema.shape),
  fused: {
    "self_attn.qkv_proj.weight": ["query", "key", "value"],
    "mlp.gate_up_proj.weight": ["gate", "up"],
  },
  architecture(raw) {
    const c = parseConfig(schema, raw);
    const plain = standardLayer(c);
    const given = c.rope_scaling ?? c.rope_parameters;
    const recipe = given?.rope_type ?? given?.type ?? "default";
    if (recipe !== "default")
      throw new EspalierError("model/config", `rope_type "${recipe}" is not supported in this family`);
    const layer: LayerArchitecture = {
      ...plain,
      window: c.sliding_window ?? null,
      rope: flatRopeSpec(c, { headDim: plain.headDim, maxPositions: c.max_position_embeddings }),
    };
    return {
      family: "phi3",
      ...standardDecoder(c),
      layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    };
  },
};
