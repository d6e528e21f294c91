/**
 * @file What a selection takes away, counted exactly: parameters, bytes in fp16, KV cache.
 *
 * A head is its rows of query and columns of output; the last head of a KV group takes the group's key and value along; a
 * neuron is its rows of gate and up and its column of down; a layer is all of it. Keys and values of a layer with a window are
 * kept for the window only.
 */

import { findUnit } from "../../lib/units.ts";
import { neuronsOf, type Selection } from "./dropped-units.ts";
import type { Anatomy } from "./grid-units.ts";

export interface LayerParts {
  readonly head: number;
  readonly group: number;
  readonly neuron: number;
  readonly all: number;
}

export interface Kept {
  readonly heads: number;
  readonly groups: number;
  readonly neurons: number;
}

export interface Cost {
  readonly parameters: number;
  readonly removed: number;
  readonly positions: number;
  readonly cacheBytes: number;
  readonly cacheRemoved: number;
  readonly kept: readonly Kept[];
}

/** Bytes of a number in fp16. */
const HALF = 2;

/** Parameters of one head, group, neuron and of the whole layer. */
export function layerParts(anatomy: Anatomy): LayerParts[] {
  const of = new Map<string, number>();
  const all = anatomy.layers.map(() => 0);
  for (const t of anatomy.tensors) {
    if (t.layer === null) continue;
    of.set(`${t.layer} ${t.role}`, t.elements);
    all[t.layer] = (all[t.layer] ?? 0) + t.elements;
  }
  return anatomy.layers.map((layer, l) => {
    const sum = (...roles: string[]): number => roles.reduce((n, r) => n + (of.get(`${l} ${r}`) ?? 0), 0);
    return {
      head: sum("query", "output") / Math.max(1, layer.queryHeads),
      group: sum("key", "value") / Math.max(1, layer.kvGroups),
      neuron: sum("gate", "up", "down") / Math.max(1, layer.neurons),
      all: all[l] ?? 0,
    };
  });
}

export function costOf(anatomy: Anatomy, selection: Selection, parts = layerParts(anatomy)): Cost {
  const positions = Math.min(512, anatomy.maxPositions);
  const byLayer = new Map<number, string[]>();
  for (const name of selection) {
    const layer = findUnit(name)?.layer ?? -1;
    byLayer.set(layer, [...(byLayer.get(layer) ?? []), name]);
  }
  const kept: Kept[] = [];
  let [removed, cacheBytes, cacheRemoved] = [0, 0, 0];
  for (const [l, layer] of anatomy.layers.entries()) {
    const own = new Set(byLayer.get(l) ?? []);
    const part = parts[l];
    const perGroup = HALF * 2 * layer.headDim * Math.min(positions, layer.window ?? positions);
    cacheBytes += perGroup * layer.kvGroups;
    if (!part) continue;
    if (own.has(`L${l}`)) {
      removed += part.all;
      cacheRemoved += perGroup * layer.kvGroups;
      kept.push({ heads: 0, groups: 0, neurons: 0 });
      continue;
    }
    const noAttention = own.has(`L${l}.attn`);
    const readers = layer.headToGroup.filter((_, h) => !noAttention && !own.has(`L${l}.H${h}`));
    const groups = new Set(readers).size;
    const neurons = own.has(`L${l}.mlp`) ? 0 : Math.max(0, layer.neurons - neuronsOf(own));
    removed +=
      (layer.queryHeads - readers.length) * part.head +
      (layer.kvGroups - groups) * part.group +
      (layer.neurons - neurons) * part.neuron;
    cacheRemoved += perGroup * (layer.kvGroups - groups);
    kept.push({ heads: readers.length, groups, neurons });
  }
  const parameters = anatomy.tensors.reduce((n, t) => n + t.elements, 0);
  return { parameters, removed, positions, cacheBytes, cacheRemoved, kept };
}

/** Bytes of weights in fp16. */
export const weightBytes = (parameters: number): number => HALF * parameters;
