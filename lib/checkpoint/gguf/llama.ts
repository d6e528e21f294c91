/**
 * @file GGUF files of architecture `llama`: Llama 2 to 3.2, SmolLM2, TinyLlama, Mistral without a window.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/llama.cpp` of ggml-org/llama.cpp. The factors
 * with which Llama 3.1 stretches frequencies are in a tensor, `rope_freqs.weight` (headDim / 2); we
 * recover their recipe, and refuse any that was never published. Not included: experts,
 * layers of different widths.
 */
import { ropeSpec } from "../../decoder/families/rope-config.ts";
import { EspalierError } from "../../errors.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { scalingOf, sizesOf } from "./shared-keys.ts";
import {
  f32,
  linearKeys,
  oneFactor,
  plainAttention,
  ropeBase,
  sizeKeys,
  stretch,
  u32,
  uniformLayer,
} from "./shared-write.ts";

const FREQUENCIES = "rope_freqs.weight";

export const llama: GgufFamily = {
  architecture: "llama",
  names: commonNames,
  neighboursTurn: true,
  normsPlusOne: false,
  configTensors: [FREQUENCIES],
  families: ["llama"],
  attentionScale: (_arch, layer) => layer.headDim ** -0.5,
  keys(arch, config) {
    plainAttention("llama", arch);
    const { headDim } = uniformLayer(arch);
    const base = ropeBase(config);
    const factor = oneFactor(stretch(uniformLayer(arch), base));
    return [
      ...sizeKeys(arch),
      u32("rope.dimension_count", headDim),
      f32("rope.freq_base", base),
      ...linearKeys(factor ?? 1),
    ];
  },
  tensors(arch, config) {
    const factors = stretch(uniformLayer(arch), ropeBase(config));
    return new Map(oneFactor(factors) === null ? [[FREQUENCIES, Float32Array.from(factors)]] : []);
  },
  async config(file) {
    const fields = new MetadataFields(file, "llama");
    fields.refuse("expert_count", "this is a mixture of experts");
    const sizes = sizesOf(file, fields, fields.optional("rope.dimension_count"));
    const { headDim } = sizes;
    const turned = fields.optional("rope.dimension_count") ?? headDim;
    if (turned !== headDim) throw fields.wrong("rope.dimension_count", `must be the width of a head, ${headDim}`);
    const theta = fields.optional("rope.freq_base") ?? 10000;
    const scaling = (await publishedStretch(file, theta, headDim)) ?? scalingOf(fields);
    return {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      ...sizes.config,
      hidden_act: "silu",
      rope_theta: theta,
      rope_scaling: scaling,
      attention_bias: file.tensors.has("blk.0.attn_q.bias"),
      mlp_bias: file.tensors.has("blk.0.ffn_gate.bias"),
    };
  },
};

/** The context that Llama 3 was trained on. */
const ORIGINAL_POSITIONS = 8192;

/** What Meta published: Llama 3.1 stretches by 8, 3.2 by 32. */
const published = [8, 32].map((factor) => ({
  rope_type: "llama3",
  factor,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: ORIGINAL_POSITIONS,
}));

async function publishedStretch(file: GgufFile, theta: number, headDim: number): Promise<object | null> {
  if (!file.tensors.has(FREQUENCIES)) return null;
  const factors = await file.readFloat32(FREQUENCIES);
  const sizes = { headDim, maxPositions: ORIGINAL_POSITIONS };
  const plain = ropeSpec({}, theta, sizes).inverseFrequencies;
  const found = published.find((recipe) => {
    const stretched = ropeSpec(recipe, theta, sizes).inverseFrequencies;
    return (
      factors.length === plain.length &&
      factors.every((f, i) => Math.abs((f * (stretched[i] ?? 0)) / (plain[i] ?? 1) - 1) < 1e-5)
    );
  });
  if (found) return found;
  throw new EspalierError("format/unsupported", `${file.path}: ${FREQUENCIES} holds factors of no published recipe`, {
    hint: "Read are those of Llama 3.1 and 3.2; give the Hugging Face folder instead.",
  });
}
