/** @file The starter's shape: Gemma 3 in small, with grouped queries and three sliding layers to each full one. */
import type { DecoderArchitecture, LayerArchitecture, RopeSpec } from "../../lib/decoder/architecture.ts";
import { VOCAB } from "./corpus.ts";

const HIDDEN = 128;
const HEAD_DIM = 32;
export const LAYERS = 8;
export const CONTEXT = 256;
const WINDOW = 128;
/** Below the head dimension, because normed queries and keys of so few channels could not otherwise tell one token from all. */
const QUERY_SCALAR = 4;

const rope = (theta: number): RopeSpec => ({
  inverseFrequencies: Array.from({ length: HEAD_DIM / 2 }, (_, i) => theta ** ((-2 * i) / HEAD_DIM)),
  attentionFactor: 1,
});

const layer = (index: number): LayerArchitecture => {
  const full = (index + 1) % 4 === 0;
  return {
    queryHeads: 8,
    kvGroups: 2,
    headDim: HEAD_DIM,
    headToGroup: [0, 0, 0, 0, 1, 1, 1, 1],
    neurons: 384,
    attentionScale: QUERY_SCALAR ** -0.5,
    attentionSoftcap: null,
    window: full ? null : WINDOW,
    rope: rope(full ? 1e6 : 1e4),
    qkNorm: "head",
    valueNorm: false,
    valueIsKey: false,
    kvSource: null,
    inputNorms: true,
    outputNorms: true,
    biases: [],
    activation: "gelu_tanh",
    residualScale: 1,
    layerScalar: false,
  };
};

export const starterArchitecture: DecoderArchitecture = {
  family: "gemma3_text",
  hidden: HIDDEN,
  vocab: VOCAB,
  maxPositions: CONTEXT,
  normEpsilon: 1e-6,
  normOffset: 1,
  embeddingScale: Math.sqrt(HIDDEN),
  logitScale: 1,
  finalSoftcap: null,
  tiedHead: true,
  perLayer: null,
  layers: Array.from({ length: LAYERS }, (_, i) => layer(i)),
};

/** The `config.json` that says the same to any loader. */
export const starterConfig = {
  architectures: ["Gemma3ForCausalLM"],
  model_type: "gemma3_text",
  vocab_size: VOCAB,
  hidden_size: HIDDEN,
  intermediate_size: 384,
  num_hidden_layers: LAYERS,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: HEAD_DIM,
  hidden_activation: "gelu_pytorch_tanh",
  max_position_embeddings: CONTEXT,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  rope_local_base_freq: 10_000,
  rope_scaling: null,
  query_pre_attn_scalar: QUERY_SCALAR,
  sliding_window: WINDOW,
  layer_types: Array.from({ length: LAYERS }, (_, i) => ((i + 1) % 4 === 0 ? "full_attention" : "sliding_attention")),
  attention_bias: false,
  attention_dropout: 0,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
  tie_word_embeddings: true,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
  torch_dtype: "bfloat16",
};
