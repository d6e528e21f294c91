/**
 * @file GGUF files of architecture `granite`: Granite 3, dense. Llama's tensors, and four multipliers among the metadata.
 *
 * Reference: `convert_hf_to_gguf.py` and `src/models/granite.cpp` of ggml-org/llama.cpp, which divides the logits by `logit_scale` and
 * takes 0 for a multiplier that is absent. Not included: experts, biases, and heads that are not hidden / heads wide, which
 * llama.cpp has no place for.
 */
import { commonNames, type GgufFamily } from "./family.ts";
import { MetadataFields } from "./metadata-fields.ts";
import { scalingOf, sizesOf } from "./shared-keys.ts";
import { cannotSay, f32, noBiases, plainKeys, u32, uniformLayer } from "./shared-write.ts";

export const granite: GgufFamily = {
  architecture: "granite",
  names: commonNames,
  neighboursTurn: true,
  normsPlusOne: false,
  configTensors: [],
  families: ["granite"],
  attentionScale: (_arch, layer) => layer.attentionScale,
  keys(arch, config) {
    noBiases("granite", arch);
    const first = uniformLayer(arch);
    if (first.headDim * first.queryHeads !== arch.hidden)
      throw cannotSay("granite", `${first.queryHeads} heads of ${first.headDim} for a width of ${arch.hidden}`);
    return [
      ...plainKeys("granite", arch, config),
      u32("rope.dimension_count", first.headDim),
      f32("attention.scale", first.attentionScale),
      f32("embedding_scale", arch.embeddingScale),
      f32("residual_scale", first.residualScale),
      f32("logit_scale", 1 / arch.logitScale),
    ];
  },
  async config(file) {
    const fields = new MetadataFields(file, "granite");
    fields.refuse("expert_count", "this is a mixture of experts");
    const { headDim, config } = sizesOf(file, fields, fields.optional("rope.dimension_count"));
    const multiplier = (key: string, otherwise: number): number => fields.optional(key) || otherwise;
    return {
      architectures: ["GraniteForCausalLM"],
      model_type: "granite",
      ...config,
      hidden_act: "silu",
      rope_theta: fields.optional("rope.freq_base") ?? 10_000,
      rope_scaling: scalingOf(fields),
      attention_multiplier: multiplier("attention.scale", headDim ** -0.5),
      embedding_multiplier: multiplier("embedding_scale", 1),
      residual_multiplier: multiplier("residual_scale", 1),
      logits_scaling: fields.number("logit_scale"),
    };
  },
};
