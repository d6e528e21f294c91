/**
 * @file A decoder's architecture as data: the meaning of a checkpoint's config, one entry per
 * layer.
 *
 * Family files (`lib/decoder/families`) translate a Hugging Face `config.json` into this descriptor
 * and name its tensors; the program builders read only the descriptor. All per-layer items are
 * arrays of length L, so layers may differ in heads, groups and neurons after pruning.
 */

export interface RopeSpec {
  /** Frequencies in radians per position, already scaled, (headDim / 2). Pair i rotates channels (i, i + headDim / 2); 0 leaves it. */
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
  /** RMSNorm over each head of q and k before RoPE, or over all heads of the projection at once; null for none. */
  readonly qkNorm: "head" | "projection" | null;
  /** RMSNorm without a gain over each head of v. */
  readonly valueNorm: boolean;
  /** There is no value projection: v is the output of the key projection, before norm and RoPE. */
  readonly valueIsKey: boolean;
  /** The earlier layer whose keys and values this one reads; `kvGroups` is then that layer's. Null
   * for its own. */
  readonly kvSource: number | null;
  /** Attention and MLP read the stream through a norm; in OLMo 2 they read it as it is. */
  readonly inputNorms: boolean;
  /** What attention and MLP add to the stream is normalised (Gemma 2 and later, OLMo 2). */
  readonly outputNorms: boolean;
  /** The projections that add a learned vector to their product. */
  readonly biases: readonly Projection[];
  readonly activation: "silu" | "gelu" | "gelu_tanh";
  /** Multiplies what attention and MLP each add to the stream; 1 for most. */
  readonly residualScale: number;
  /** The layer ends by multiplying the whole stream with one learned number. */
  readonly layerScalar: boolean;
}

export const projections = ["query", "key", "value", "output", "gate", "up", "down"] as const;
export type Projection = (typeof projections)[number];

/** Per-layer embeddings: besides its embedding, every token has a small vector for each layer. */
export interface PerLayerInput {
  /** P, of one layer's vector. */
  readonly width: number;
  readonly vocab: number;
}

export interface DecoderArchitecture {
  readonly family: string;
  readonly hidden: number;
  readonly vocab: number;
  readonly maxPositions: number;
  readonly normEpsilon: number;
  /** Added to every norm weight: 1 for Gemma up to 3, else 0. */
  readonly normOffset: 0 | 1;
  /** Multiplies the embedding: sqrt(hidden) for Gemma, a number of its config for Granite, else 1. */
  readonly embeddingScale: number;
  /** Multiplies the logits before their cap; 1 for most. */
  readonly logitScale: number;
  /** c in c · tanh(z / c) on the logits; null for none. */
  readonly finalSoftcap: number | null;
  readonly tiedHead: boolean;
  /** Null for models without per-layer embeddings. */
  readonly perLayer: PerLayerInput | null;
  readonly layers: readonly LayerArchitecture[];
}

/** The tensors of one layer by their role; Hugging Face layout, linear weights (out, in). */
export type LayerTensor =
  | "attentionNorm" // (hidden), input norms only
  | "postAttentionNorm" // (hidden), output norms only
  | "mlpNorm" // (hidden), input norms only
  | "postMlpNorm" // (hidden), output norms only
  | "queryNorm" // (headDim), or (queryHeads * headDim) where the norm is over the projection
  | "keyNorm" // (headDim), or (kvGroups * headDim)
  | "query" // (queryHeads * headDim, hidden)
  | "key" // (kvGroups * headDim, hidden), own keys and values only
  | "value" // (kvGroups * headDim, hidden), own keys and values only
  | "output" // (hidden, queryHeads * headDim)
  | "gate" // (neurons, hidden)
  | "up" // (neurons, hidden)
  | "down" // (hidden, neurons)
  | `${Projection}Bias` // (rows of that projection)
  | "perLayerGate" // (P, hidden), per-layer embeddings only
  | "perLayerProjection" // (hidden, P)
  | "perLayerNorm" // (hidden)
  | "layerScalar"; // (1)

export type GlobalTensor =
  | "embedding" /* (vocab, hidden) */
  | "finalNorm" /* (hidden) */
  | "head" /* (vocab, hidden) */
  | "perLayerEmbedding" /* (perLayer.vocab, layers * P), by far the largest tensor: only rows of it are read */
  | "perLayerContext" /* (layers * P, hidden), from the embedding to all layers' vectors */
  | "perLayerContextNorm"; /* (P) */

/** Whether a tensor is kept as a table from which only the rows of the current tokens are read. */
export const isRowTable = (role: GlobalTensor | LayerTensor): boolean => role === "perLayerEmbedding";

/** Whether training changes a tensor: all except the per-layer table, which is too large, and layer
 * scalars, which are not parameters. */
export const isTrained = (role: GlobalTensor | LayerTensor): boolean => !isRowTable(role) && role !== "layerScalar";

/** The shape every tensor of `layer` must have, without absent roles. */
export function layerTensorShapes(
  arch: DecoderArchitecture,
  layer: LayerArchitecture,
): Partial<Record<LayerTensor, number[]>> {
  const { hidden, perLayer } = arch;
  const queryWidth = layer.queryHeads * layer.headDim;
  const kvWidth = layer.kvGroups * layer.headDim;
  const ownKv = layer.kvSource === null;
  const matrices = {
    query: [queryWidth, hidden],
    ...(ownKv ? { key: [kvWidth, hidden] } : {}),
    ...(ownKv && !layer.valueIsKey ? { value: [kvWidth, hidden] } : {}),
    output: [hidden, queryWidth],
    gate: [layer.neurons, hidden],
    up: [layer.neurons, hidden],
    down: [hidden, layer.neurons],
  };
  const biases = Object.entries(matrices).flatMap(([role, [rows = 0]]) =>
    layer.biases.some((p) => p === role) ? [[`${role}Bias`, [rows]] as const] : [],
  );
  const normed = (heads: number): number[] => [(layer.qkNorm === "head" ? 1 : heads) * layer.headDim];
  return {
    ...(layer.inputNorms ? { attentionNorm: [hidden] } : {}),
    ...(layer.outputNorms ? { postAttentionNorm: [hidden], postMlpNorm: [hidden] } : {}),
    ...(layer.inputNorms ? { mlpNorm: [hidden] } : {}),
    ...(layer.qkNorm ? { queryNorm: normed(layer.queryHeads) } : {}),
    ...(layer.qkNorm && ownKv ? { keyNorm: normed(layer.kvGroups) } : {}),
    ...matrices,
    ...Object.fromEntries(biases),
    ...(perLayer
      ? { perLayerGate: [perLayer.width, hidden], perLayerProjection: [hidden, perLayer.width], perLayerNorm: [hidden] }
      : {}),
    ...(layer.layerScalar ? { layerScalar: [1] } : {}),
  };
}

export function globalTensorShapes(arch: DecoderArchitecture): Partial<Record<GlobalTensor, number[]>> {
  const { perLayer, hidden } = arch;
  const allLayers = arch.layers.length * (perLayer?.width ?? 0);
  return {
    embedding: [arch.vocab, hidden],
    finalNorm: [hidden],
    ...(arch.tiedHead ? {} : { head: [arch.vocab, hidden] }),
    ...(perLayer
      ? {
          perLayerEmbedding: [perLayer.vocab, allLayers],
          perLayerContext: [allLayers, hidden],
          perLayerContextNorm: [perLayer.width],
        }
      : {}),
  };
}

/** The layers that read the keys and values of layer `index`, itself among them unless it reads another's. */
export const kvReaders = (arch: DecoderArchitecture, index: number): number[] =>
  arch.layers.flatMap((l, i) => ((l.kvSource ?? i) === index ? [i] : []));

/** Whether later layers read the keys and values of layer `index`. */
export const isKvSource = (arch: DecoderArchitecture, index: number): boolean =>
  arch.layers.some((l) => l.kvSource === index);
