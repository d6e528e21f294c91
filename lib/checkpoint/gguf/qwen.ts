/**
 * @file GGUF files of the architectures `qwen2` and `qwen3`: the dense models, with biases on q, k and v in the one and norms of q and k in
 * the other.
 *
 * Reference: `convert_hf_to_gguf.py`, `src/models/qwen2.cpp` and `qwen3.cpp` of ggml-org/llama.cpp. Not included: windows, which
 * llama.cpp does not compute for them, and frequencies stretched by more than one factor.
 */
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { scalingOf, sizesOf } from "./shared-keys.ts";
import { noBiases, plainKeys } from "./shared-write.ts";

const shared = {
  neighboursTurn: false,
  normsPlusOne: false,
  configTensors: [],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
} as const satisfies Partial<GgufFamily>;

function commonConfig(name: string, file: GgufFile): Record<string, unknown> {
  const fields = new MetadataFields(file, name);
  return {
    model_type: name,
    ...sizesOf(file, fields).config,
    hidden_act: "silu",
    rope_theta: fields.optional("rope.freq_base") ?? 10_000,
    rope_scaling: scalingOf(fields),
    use_sliding_window: false,
  };
}

export const qwen2: GgufFamily = {
  ...shared,
  architecture: "qwen2",
  names: commonNames,
  families: ["qwen2"],
  keys: (arch, config) => plainKeys("qwen2", arch, config),
  config: async (file) => ({ architectures: ["Qwen2ForCausalLM"], ...commonConfig("qwen2", file) }),
};

export const qwen3: GgufFamily = {
  ...shared,
  architecture: "qwen3",
  names: { ...commonNames, queryNorm: "attn_q_norm", keyNorm: "attn_k_norm" },
  families: ["qwen3"],
  keys(arch, config) {
    noBiases("qwen3", arch);
    return plainKeys("qwen3", arch, config);
  },
  config: async (file) => ({
    architectures: ["Qwen3ForCausalLM"],
    ...commonConfig("qwen3", file),
    attention_bias: file.tensors.has("blk.0.attn_q.bias"),
  }),
};
