/**
 * @file GGUF files of architecture `olmo2`: OLMo 2, whose norms follow attention and MLP.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/olmo2.cpp` of ggml-org/llama.cpp. Not included: biases and windows, which belong to
 * OLMo 3.
 */
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { scalingOf, sizesOf } from "./shared-keys.ts";
import { noBiases, plainKeys } from "./shared-write.ts";

export const olmo2: GgufFamily = {
  architecture: "olmo2",
  names: {
    ...commonNames,
    queryNorm: "attn_q_norm",
    keyNorm: "attn_k_norm",
    postAttentionNorm: "post_attention_norm",
    postMlpNorm: "post_ffw_norm",
  },
  neighboursTurn: false,
  normsPlusOne: false,
  configTensors: [],
  families: ["olmo2"],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
  keys(arch, config) {
    noBiases("olmo2", arch);
    return plainKeys("olmo2", arch, config);
  },
  async config(file) {
    const fields = new MetadataFields(file, "olmo2");
    fields.refuse("attention.sliding_window", "this is OLMo 3, some layers of which slide");
    return {
      architectures: ["Olmo2ForCausalLM"],
      model_type: "olmo2",
      ...sizesOf(file, fields).config,
      hidden_act: "silu",
      rope_theta: fields.optional("rope.freq_base") ?? 10_000,
      rope_scaling: scalingOf(fields),
    };
  },
};
