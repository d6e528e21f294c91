/** @file What a model family is: how its config becomes a descriptor, and back after pruning. */
import type { DecoderArchitecture, LayerArchitecture } from "../architecture.ts";

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
  /** The part of the config that describes the text decoder. Throws `model/config`. */
  architecture(config: Record<string, unknown>): DecoderArchitecture;
}

/** Query heads spread evenly over the groups, in order: head h reads group ⌊h / (H / K)⌋. */
export function standardHeadToGroup(queryHeads: number, kvGroups: number): number[] {
  return Array.from({ length: queryHeads }, (_, h) => Math.floor(h / (queryHeads / kvGroups)));
}

export function withWidths(layer: LayerArchitecture, widths: LayerWidths): LayerArchitecture {
  return { ...layer, ...widths };
}
