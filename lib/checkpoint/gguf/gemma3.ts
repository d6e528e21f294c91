/**
 * @file GGUF files of architecture `gemma3`: the text decoder of Gemma 3.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/gemma3.cpp` of ggml-org/llama.cpp. Missing
 * settings are those of llama.cpp: every sixth layer sees everything, sliding layers use a RoPE
 * base of 10 000 and are never stretched, and scores are scaled by the width of a head, of 62
 * layers (27B) by hidden / heads.
 */

import type { LayerArchitecture } from "../../decoder/architecture.ts";
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { layerCount, scalingOf, sizesOf } from "./shared-keys.ts";
import { cannotSay, f32, linearKeys, noBiases, oneFactor, sizeKeys, stretch, u32 } from "./shared-write.ts";

const LAYERS_OF_27B = 62;

export const gemma3: GgufFamily = {
  architecture: "gemma3",
  names: {
    ...commonNames,
    postAttentionNorm: "post_attention_norm",
    postMlpNorm: "post_ffw_norm",
    queryNorm: "attn_q_norm",
    keyNorm: "attn_k_norm",
  },
  neighboursTurn: false,
  normsPlusOne: true,
  configTensors: [],
  families: ["gemma3_text"],
  attentionScale: (arch, layer) =>
    (arch.layers.length === LAYERS_OF_27B ? arch.hidden / layer.queryHeads : layer.headDim) ** -0.5,
  keys(arch) {
    noBiases("gemma3", arch);
    const { layers, finalSoftcap } = arch;
    const sliding = layers.find((l) => l.window !== null);
    const full = layers.find((l) => l.window === null);
    if (Math.abs(arch.embeddingScale - Math.sqrt(arch.hidden)) > 1e-6)
      throw cannotSay("gemma3", `the embedding scale ${arch.embeddingScale}`);
    const base = full ? baseOf(full) : 1_000_000;
    const factor = full ? oneFactor(stretch(full, base)) : 1;
    const slidingBase = sliding ? baseOf(sliding) : 10_000;
    if (factor === null || (sliding && oneFactor(stretch(sliding, slidingBase)) !== 1))
      throw cannotSay("gemma3", "a stretch of frequencies that differs by pair, or in sliding layers");
    const odd = layers.findIndex(
      (l) => l.attentionSoftcap !== null || l.activation !== "gelu_tanh" || (l.rope?.attentionFactor ?? 0) !== 1,
    );
    if (odd >= 0) throw cannotSay("gemma3", `the activation, cap or RoPE of layer ${odd}`);
    return [
      ...sizeKeys(arch),
      f32("rope.freq_base", base),
      f32("rope.freq_base_swa", slidingBase),
      ...linearKeys(factor),
      // Full attention everywhere is a window that holds every position.
      u32("attention.sliding_window", sliding?.window ?? arch.maxPositions),
      u32("attention.sliding_window_pattern", period(layers.map((l) => l.window !== null))),
      ...(finalSoftcap === null ? [] : [f32("final_logit_softcapping", finalSoftcap)]),
    ];
  },
  async config(file) {
    const fields = new MetadataFields(file, "gemma3");
    const layers = layerCount(fields);
    const { heads, headDim, config } = sizesOf(file, fields, 256);
    const scale = fields.optional("attention.scale");
    const softcap = fields.optional("final_logit_softcapping");
    return {
      architectures: ["Gemma3ForCausalLM"],
      model_type: "gemma3_text",
      ...config,
      hidden_activation: "gelu_pytorch_tanh",
      query_pre_attn_scalar: scale
        ? scale ** -2
        : layers === LAYERS_OF_27B
          ? fields.number("embedding_length") / heads
          : headDim,
      rope_theta: fields.optional("rope.freq_base") ?? 1_000_000,
      rope_local_base_freq: fields.optional("rope.freq_base_swa") ?? 10_000,
      rope_scaling: scalingOf(fields),
      sliding_window: fields.number("attention.sliding_window"),
      layer_types: layerTypes(fields, layers),
      ...(softcap ? { final_logit_softcapping: softcap } : {}),
      attention_bias: false,
    };
  },
};

/** The base of plain or evenly stretched frequencies θ^(−2i/D) / f, from the quotients of neighbours. */
function baseOf({ rope, headDim }: LayerArchitecture): number {
  const [first = 1, second = 1] = rope?.inverseFrequencies ?? [];
  return Number(((first / second) ** (headDim / 2)).toPrecision(9));
}

/** n when every n-th layer sees everything and the others slide. */
function period(slides: readonly boolean[]): number {
  const first = slides.indexOf(false);
  const n = first < 0 ? slides.length + 1 : first + 1;
  if (slides.every((s, i) => s === ((i + 1) % n !== 0))) return n;
  throw cannotSay("gemma3", "sliding layers that follow no period");
}

function layerTypes(fields: MetadataFields, layers: number): string[] {
  const given = fields.value("attention.sliding_window_pattern") ?? 6;
  const slides = (layer: number): boolean => {
    if (Array.isArray(given)) return given[layer] === true || given[layer] === 1;
    return (layer + 1) % Number(given) !== 0;
  };
  if (Array.isArray(given) ? given.length !== layers : !(Number.isInteger(given) && Number(given) > 0))
    throw fields.wrong("attention.sliding_window_pattern", `must be a positive number or ${layers} truth values`);
  return Array.from({ length: layers }, (_, i) => (slides(i) ? "sliding_attention" : "full_attention"));
}
