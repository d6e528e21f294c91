/**
 * @file A decoder's architecture as data: what a checkpoint's config means, one entry per layer.
 *
 * Family files (`lib/decoder/families`) translate a Hugging Face `config.json` into this descriptor and name
 * the tensors; the program builders read nothing else. All per-layer items are arrays of length L, so layers
 * may differ in heads, groups and neurons after pruning.
 */

export interface RopeSpec {
  /** Frequencies in radians per position, already scaled, (headDim / 2). Pair i rotates channels (i, i + headDim / 2). */
  readonly inverseFrequencies: readonly number[];
  /** Multiplies cos and sin; 1 for every recipe but YaRN and LongRoPE. */
  readonly attentionFactor: number;
}

export interface LayerArchitecture {
  readonly queryHeads: number;
  readonly kvGroups: number;
  readonly headDim: number;
  /** The KV group each query head reads, (queryHeads), ascending. */
  readonly headToGroup: readonly number[];
  readonly neurons: number;
  /** Multiplies q · k before the mask. */
  readonly attentionScale: number;
  /** c in c · tanh(s / c) on attention scores; null for none. */
  readonly attentionSoftcap: number | null;
  /** Keys a query sees, itself included; null for all. */
  readonly window: number | null;
  readonly rope: RopeSpec | null;
  /** RMSNorm over each head of q and k before RoPE. */
  readonly qkNorm: boolean;
  /** Also norm what attention and MLP give back (Gemma 2 and later). */
  readonly sandwichNorms: boolean;
  readonly attentionBias: boolean;
  readonly activation: "silu" | "gelu_tanh";
}

export interface DecoderArchitecture {
  readonly family: string;
  readonly hidden: number;
  readonly vocab: number;
  readonly maxPositions: number;
  readonly normEpsilon: number;
  /** Added to every norm weight: 1 for Gemma up to 3, else 0. */
  readonly normOffset: 0 | 1;
  /** Multiplies the embedding: sqrt(hidden) for Gemma, else 1. */
  readonly embeddingScale: number;
  /** c in c · tanh(z / c) on the logits; null for none. */
  readonly finalSoftcap: number | null;
  readonly tiedHead: boolean;
  readonly layers: readonly LayerArchitecture[];
}

/** The tensors of one layer by their role; Hugging Face layout, linear weights (out, in). */
export type LayerTensor =
  | "attentionNorm" // (hidden)
  | "postAttentionNorm" // (hidden), sandwich norms only
  | "mlpNorm" // (hidden)
  | "postMlpNorm" // (hidden), sandwich norms only
  | "queryNorm" // (headDim)
  | "keyNorm" // (headDim)
  | "query" // (queryHeads * headDim, hidden)
  | "key" // (kvGroups * headDim, hidden)
  | "value" // (kvGroups * headDim, hidden)
  | "output" // (hidden, queryHeads * headDim)
  | "gate" // (neurons, hidden)
  | "up" // (neurons, hidden)
  | "down"; // (hidden, neurons)

export type GlobalTensor =
  | "embedding" /* (vocab, hidden) */
  | "finalNorm" /* (hidden) */
  | "head"; /* (vocab, hidden) */

/** The shape every tensor of `layer` must have, absent roles left out. */
export function layerTensorShapes(
  arch: DecoderArchitecture,
  layer: LayerArchitecture,
): Partial<Record<LayerTensor, number[]>> {
  const { hidden } = arch;
  const queryWidth = layer.queryHeads * layer.headDim;
  const kvWidth = layer.kvGroups * layer.headDim;
  return {
    attentionNorm: [hidden],
    ...(layer.sandwichNorms ? { postAttentionNorm: [hidden], postMlpNorm: [hidden] } : {}),
    mlpNorm: [hidden],
    ...(layer.qkNorm ? { queryNorm: [layer.headDim], keyNorm: [layer.headDim] } : {}),
    query: [queryWidth, hidden],
    key: [kvWidth, hidden],
    value: [kvWidth, hidden],
    output: [hidden, queryWidth],
    gate: [layer.neurons, hidden],
    up: [layer.neurons, hidden],
    down: [hidden, layer.neurons],
  };
}

export function globalTensorShapes(arch: DecoderArchitecture): Partial<Record<GlobalTensor, number[]>> {
  return {
    embedding: [arch.vocab, arch.hidden],
    finalNorm: [arch.hidden],
    ...(arch.tiedHead ? {} : { head: [arch.vocab, arch.hidden] }),
  };
}

/** Hugging Face names, shared by the Llama and Gemma families; `sandwich` decides what "post attention" means. */
export function tensorName(role: GlobalTensor): string;
export function tensorName(role: LayerTensor, layerIndex: number, layer: LayerArchitecture): string;
export function tensorName(role: GlobalTensor | LayerTensor, layerIndex?: number, layer?: LayerArchitecture): string {
  if (role === "embedding") return "model.embed_tokens.weight";
  if (role === "finalNorm") return "model.norm.weight";
  if (role === "head") return "lm_head.weight";
  const names: Record<LayerTensor, string> = {
    attentionNorm: "input_layernorm",
    postAttentionNorm: "post_attention_layernorm",
    mlpNorm: layer?.sandwichNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm",
    postMlpNorm: "post_feedforward_layernorm",
    queryNorm: "self_attn.q_norm",
    keyNorm: "self_attn.k_norm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    output: "self_attn.o_proj",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
  };
  return `model.layers.${layerIndex}.${names[role]}.weight`;
}
