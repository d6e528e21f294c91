/**
 * @file GGUF files of the architectures `gemma` and `gemma2`.
 *
 * Reference: `convert_hf_to_gguf.py`, `src/models/gemma.cpp` and `gemma2.cpp` of ggml-org/llama.cpp. What a Gemma 2 file does not say
 * is llama.cpp's: caps of 50 and 30, a window in every other layer from the first on, and scores scaled by the width of a
 * head, of 46 layers (27B) by hidden / heads.
 */
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import type { GgufKey } from "../../formats/gguf/write.ts";
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { layerCount, scalingOf, sizesOf } from "./shared-keys.ts";
import { cannotSay, f32, noBiases, oneFactor, ropeBase, sizeKeys, stretch, u32, uniformLayer } from "./shared-write.ts";

const LAYERS_OF_27B = 46;
const ATTENTION_CAP = 50;
const LOGIT_CAP = 30;

const shared = { neighboursTurn: false, normsPlusOne: true, configTensors: [] } as const;

/** Sizes, and what neither architecture can express. */
function commonKeys(name: string, arch: DecoderArchitecture, config: Readonly<Record<string, unknown>>): GgufKey[] {
  noBiases(name, arch);
  const first = uniformLayer(arch);
  const base = ropeBase(config);
  if (oneFactor(stretch(first, base)) !== 1 || first.rope?.attentionFactor !== 1)
    throw cannotSay(name, "a stretch of frequencies");
  if (first.activation !== "gelu_tanh") throw cannotSay(name, `the activation ${first.activation}`);
  return [...sizeKeys(arch), f32("rope.freq_base", base)];
}

const ropeConfig = (fields: MetadataFields): Record<string, unknown> => ({
  rope_theta: fields.optional("rope.freq_base") ?? 10_000,
  rope_scaling: scalingOf(fields),
  attention_bias: false,
});

export const gemma: GgufFamily = {
  ...shared,
  architecture: "gemma",
  names: commonNames,
  families: ["gemma"],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
  keys: (arch, config) => commonKeys("gemma", arch, config),
  async config(file) {
    const fields = new MetadataFields(file, "gemma");
    return {
      architectures: ["GemmaForCausalLM"],
      model_type: "gemma",
      hidden_act: "gelu_pytorch_tanh",
      ...sizesOf(file, fields).config,
      ...ropeConfig(fields),
    };
  },
};

const scaleOf = (arch: DecoderArchitecture, headDim: number, heads: number): number =>
  (arch.layers.length === LAYERS_OF_27B ? arch.hidden / heads : headDim) ** -0.5;

export const gemma2: GgufFamily = {
  ...shared,
  architecture: "gemma2",
  names: { ...commonNames, postAttentionNorm: "post_attention_norm", postMlpNorm: "post_ffw_norm" },
  families: ["gemma2"],
  attentionScale: (arch, layer) => scaleOf(arch, layer.headDim, layer.queryHeads),
  keys(arch, config) {
    const common = commonKeys("gemma2", arch, config);
    const first = uniformLayer(arch);
    const { attentionSoftcap, attentionScale } = first;
    if (Math.abs(attentionScale / scaleOf(arch, first.headDim, first.queryHeads) - 1) > 1e-6)
      throw cannotSay("gemma2", `the attention scale ${attentionScale}`);
    if (attentionSoftcap === null || arch.finalSoftcap === null)
      throw cannotSay("gemma2", "scores or logits without a cap");
    const window = arch.layers[0]?.window ?? null;
    if (window === null || arch.layers.some((l, i) => l.window !== (i % 2 === 0 ? window : null)))
      throw cannotSay("gemma2", "windows in other layers than every other one");
    return [
      ...common,
      u32("attention.sliding_window", window),
      f32("attn_logit_softcapping", attentionSoftcap),
      f32("final_logit_softcapping", arch.finalSoftcap),
    ];
  },
  async config(file) {
    const fields = new MetadataFields(file, "gemma2");
    const { heads, headDim, config } = sizesOf(file, fields);
    const is27B = layerCount(fields) === LAYERS_OF_27B;
    return {
      architectures: ["Gemma2ForCausalLM"],
      model_type: "gemma2",
      hidden_activation: "gelu_pytorch_tanh",
      ...config,
      ...ropeConfig(fields),
      query_pre_attn_scalar: is27B ? fields.number("embedding_length") / heads : headDim,
      sliding_window: fields.optional("attention.sliding_window") ?? 4096,
      attn_logit_softcapping: fields.optional("attn_logit_softcapping") ?? ATTENTION_CAP,
      final_logit_softcapping: fields.optional("final_logit_softcapping") ?? LOGIT_CAP,
    };
  },
};
