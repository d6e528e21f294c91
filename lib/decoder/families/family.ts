/** @file What a model family is: how its config becomes a descriptor, and back after pruning, and where its weights lie. */
import type { DecoderArchitecture, GlobalTensor, LayerArchitecture, LayerTensor } from "../architecture.ts";

/** Where an architecture's widths differ by layer; written only when a standard config cannot say it. */
export interface LayerWidths {
  readonly queryHeads: number;
  readonly kvGroups: number;
  readonly headToGroup: readonly number[];
  readonly neurons: number;
}

export interface Family {
  /** `model_type` values this family reads. */
  readonly modelTypes: readonly string[];
  /** The keys of the config that are read; others change nothing, or are refused by name. */
  readonly keys: readonly string[];
  /** The part of the config that describes the text decoder. Throws `model/config`. */
  architecture(config: Record<string, unknown>): DecoderArchitecture;
  /**
   * The same part of the config, said again for an architecture whose widths may have changed, where `standardWidths` do not
   * serve. It need not describe every architecture: what it cannot say is written beside it.
   */
  widths?(arch: DecoderArchitecture, config: Record<string, unknown>): Record<string, unknown>;
  /** Names of its tensors where they are not Llama's: those of a layer without `model.layers.N.`, the others whole. */
  readonly names?: Readonly<Partial<Record<GlobalTensor | LayerTensor, string>>>;
  /** Tensors of a layer that hold several weights, one below the other by rows: their names, and the roles in order. */
  readonly fused?: Readonly<Record<string, readonly LayerTensor[]>>;
}

/** One number of heads, groups and neurons for all layers, large enough for each; which layers slide, when some are missing. */
export function standardWidths(arch: DecoderArchitecture, config: Record<string, unknown>): Record<string, unknown> {
  const most = (pick: (l: LayerArchitecture) => number): number => Math.max(...arch.layers.map(pick));
  const groups = most((l) => l.kvGroups);
  return {
    ...config,
    num_hidden_layers: arch.layers.length,
    num_attention_heads: Math.ceil(most((l) => l.queryHeads) / groups) * groups,
    num_key_value_heads: groups,
    intermediate_size: most((l) => l.neurons),
    head_dim: most((l) => l.headDim),
    ...layerTypes(arch, config),
  };
}

/** Which layers slide follows from a pattern, or from the list there is, only as long as no layer is missing. */
function layerTypes(arch: DecoderArchitecture, config: Record<string, unknown>): Record<string, unknown> {
  const slides = arch.layers.some((l) => l.window !== null);
  const fewer = arch.layers.length !== config.num_hidden_layers;
  if (!fewer || !(slides || Array.isArray(config.layer_types))) return {};
  return { layer_types: arch.layers.map((l) => (l.window === null ? "full_attention" : "sliding_attention")) };
}

/** Query heads spread evenly over the groups, in order: head h reads group ⌊h / (H / K)⌋. */
export function standardHeadToGroup(queryHeads: number, kvGroups: number): number[] {
  return Array.from({ length: queryHeads }, (_, h) => Math.floor(h / (queryHeads / kvGroups)));
}

export function withWidths(layer: LayerArchitecture, widths: LayerWidths): LayerArchitecture {
  return { ...layer, ...widths };
}
