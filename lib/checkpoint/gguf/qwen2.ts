/**
 * @file GGUF files of architecture `qwen2`: the dense Qwen2 and Qwen2.5 models, with biases on q, k and v.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/qwen2.cpp` of ggml-org/llama.cpp. Not
 * included: windows, which llama.cpp does not compute for it, and frequencies stretched by more
 * than one factor.
 */
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { layerCount, scalingOf, tokenKeys, vocabularySize } from "./shared-keys.ts";
import {
  cannotSay,
  f32,
  linearKeys,
  oneFactor,
  plainAttention,
  ropeBase,
  sizeKeys,
  stretch,
  uniformLayer,
} from "./shared-write.ts";

export const qwen2: GgufFamily = {
  architecture: "qwen2",
  names: commonNames,
  neighboursTurn: false,
  normsPlusOne: false,
  configTensors: [],
  families: ["qwen2"],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
  keys(arch, config) {
    plainAttention("qwen2", arch);
    const base = ropeBase(config);
    const factor = oneFactor(stretch(uniformLayer(arch), base));
    if (factor === null) throw cannotSay("qwen2", "a stretch of frequencies that differs by pair");
    return [...sizeKeys(arch), f32("rope.freq_base", base), ...linearKeys(factor)];
  },
  async config(file) {
    const fields = new MetadataFields(file, "qwen2");
    const heads = fields.sameInAllLayers("attention.head_count");
    const headDim = fields.optional("attention.key_length") ?? fields.number("embedding_length") / heads;
    if ((fields.optional("attention.value_length") ?? headDim) !== headDim)
      throw fields.wrong("attention.value_length", `must be the width of a head, ${headDim}`);
    return {
      architectures: ["Qwen2ForCausalLM"],
      model_type: "qwen2",
      vocab_size: vocabularySize(file),
      hidden_size: fields.number("embedding_length"),
      intermediate_size: fields.sameInAllLayers("feed_forward_length"),
      num_hidden_layers: layerCount(fields),
      num_attention_heads: heads,
      num_key_value_heads: fields.has("attention.head_count_kv")
        ? fields.sameInAllLayers("attention.head_count_kv")
        : heads,
      head_dim: headDim,
      hidden_act: "silu",
      max_position_embeddings: fields.number("context_length"),
      rms_norm_eps: fields.number("attention.layer_norm_rms_epsilon"),
      rope_theta: fields.optional("rope.freq_base") ?? 10_000,
      rope_scaling: scalingOf(fields),
      use_sliding_window: false,
      tie_word_embeddings: !file.tensors.has("output.weight"),
      ...tokenKeys(file),
    };
  },
};
