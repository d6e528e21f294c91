/** @file The definition of a model family: how its config becomes a descriptor, and back after
 * pruning, and how its weights are stored. */
import type { DecoderArchitecture, GlobalTensor, LayerArchitecture, LayerTensor, Projection } from "../architecture.ts";

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
  /** The config keys that are read; others have no effect or are refused by name. */
  readonly keys: readonly string[];
  /** The part of the config that describes the text decoder. Throws `model/config`. */
  architecture(config: Record<string, unknown>): DecoderArchitecture;
  /**
   * The same part of the config, rewritten for an architecture whose widths may have changed, where
   * `standardWidths` is not enough. It does not have to describe every architecture: the rest is
   * written in our own keys.
   */
  widths?(arch: DecoderArchitecture, config: Record<string, unknown>): Record<string, unknown>;
  /** Names of its tensors where they differ from Llama's: without `model.layers.N.` for those of a
   * layer, in full for the others. */
  readonly names?: Readonly<Partial<Record<GlobalTensor | LayerTensor, string>>>;
  /** Tensors of a layer that hold several weights, one below the other by rows: their names, and the roles in order. */
  readonly fused?: Readonly<Record<string, readonly LayerTensor[]>>;
}

/** What `attention_bias` and `mlp_bias` of a config speak of. */
export const attentionProjections: readonly Projection[] = ["query", "key", "value", "output"];
export const mlpProjections: readonly Projection[] = ["gate", "up", "down"];

/** One number of heads, groups and neurons for all layers, large enough for each; and which layers
 * slide, if some layers were removed. */
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

/** A pattern or the existing list tells which layers slide only while no layer has been removed. */
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
