/**
 * @file What the configs of most families say alike: sizes by Llama's keys, and a layer without any of the additions that families make.
 *
 * A family spreads these and names only what it does differently.
 */
import { EspalierError } from "../../errors.ts";
import type { DecoderArchitecture, LayerArchitecture } from "../architecture.ts";
import { standardHeadToGroup } from "./family.ts";

interface LayerSizes {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_attention_heads: number;
  /** Absent: a group for each head. */
  readonly num_key_value_heads?: number | null | undefined;
  /** Absent: hidden_size / num_attention_heads. */
  readonly head_dim?: number | null | undefined;
}

/** A layer of Llama: full attention scaled by √headDim, SwiGLU, no biases. Throws `model/config` for heads that do not divide evenly. */
export function standardLayer(c: LayerSizes): Omit<LayerArchitecture, "rope"> {
  const heads = c.num_attention_heads;
  const kvGroups = c.num_key_value_heads ?? heads;
  if (heads % kvGroups !== 0) {
    throw new EspalierError(
      "model/config",
      `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvGroups}`,
    );
  }
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (!Number.isInteger(headDim)) {
    throw new EspalierError(
      "model/config",
      `hidden_size ${c.hidden_size} is not a multiple of num_attention_heads ${heads}, and head_dim is not given`,
    );
  }
  return {
    queryHeads: heads,
    kvGroups,
    headDim,
    headToGroup: standardHeadToGroup(heads, kvGroups),
    neurons: c.intermediate_size,
    attentionScale: headDim ** -0.5,
    attentionSoftcap: null,
    window: null,
    qkNorm: null,
    valueNorm: false,
    valueIsKey: false,
    kvSource: null,
    inputNorms: true,
    outputNorms: false,
    biases: [],
    activation: "silu",
    residualScale: 1,
    layerScalar: false,
  };
}

interface ModelSizes {
  readonly hidden_size: number;
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  readonly tie_word_embeddings: boolean;
}

/** A decoder of Llama around its layers: plain norms, an embedding as it is, no cap on logits. */
export const standardDecoder = (c: ModelSizes): Omit<DecoderArchitecture, "family" | "layers"> => ({
  hidden: c.hidden_size,
  vocab: c.vocab_size,
  maxPositions: c.max_position_embeddings,
  normEpsilon: c.rms_norm_eps,
  normOffset: 0,
  embeddingScale: 1,
  logitScale: 1,
  finalSoftcap: null,
  tiedHead: c.tie_word_embeddings,
  perLayer: null,
});

/** The same with what Gemma does up to its third version: norms of 1 + w, an embedding times √hidden. */
export const gemmaDecoder = (c: ModelSizes): Omit<DecoderArchitecture, "family" | "layers"> => ({
  ...standardDecoder(c),
  normOffset: 1,
  embeddingScale: Math.sqrt(c.hidden_size),
});
