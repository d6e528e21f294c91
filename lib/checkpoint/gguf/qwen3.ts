/**
 * @file GGUF files of architecture `qwen3`: the dense Qwen3 models.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/qwen3.cpp` of ggml-org/llama.cpp. Not
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
  noBiases,
  oneFactor,
  plainAttention,
  ropeBase,
  sizeKeys,
  stretch,
  uniformLayer,
} from "./shared-write.ts";

export const qwen3: GgufFamily = {
  architecture: "qwen3",
  names: { ...commonNames, queryNorm: "attn_q_norm", keyNorm: "attn_k_norm" },
  neighboursTurn: false,
  normsPlusOne: false,
  configTensors: [],
  families: ["qwen3"],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
  keys(arch, config) {
    plainAttention("qwen3", arch);
    noBiases("qwen3", arch);
    const base = ropeBase(config);
    const factor = oneFactor(stretch(uniformLayer(arch), base));
    if (factor === null) throw cannotSay("qwen3", "a stretch of frequencies that differs by pair");
    return [...sizeKeys(arch), f32("rope.freq_base", base), ...linearKeys(factor)];
  },
  async config(file) {
    const fields = new MetadataFields(file, "qwen3");
    const heads = fields.sameInAllLayers("attention.head_count");
    const headDim = fields.optional("attention.key_length") ?? fields.number("embedding_length") / heads;
    if ((fields.optional("attention.value_length") ?? headDim) !== headDim)
      throw fields.wrong("attention.value_length", `must be the width of a head, ${headDim}`);
    return {
      architectures: ["Qwen3ForCausalLM"],
      model_type: "qwen3",
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
      attention_bias: file.tensors.has("blk.0.attn_q.bias"),
      use_sliding_window: false,
      tie_word_embeddings: !file.tensors.has("output.weight"),
      ...tokenKeys(file),
    };
  },
};
