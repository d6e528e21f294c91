/**
 * @file The steps in which one layer can be cut, and the loss expected from each.
 *
 * Neurons go in chunks of a multiple, the least important first. Heads go one by one or with their
 * whole KV group, whichever loses least per parameter. One head and one multiple of neurons stay,
 * unless the layer goes as a whole. Losses are second-order estimates, in nats per token, in which
 * the remaining units compensate (`surgeon.ts`).
 */

import { type DecoderArchitecture, type LayerArchitecture, layerTensorShapes } from "../../decoder/architecture.ts";
import { type DecoderWeights, weight } from "../../decoder/weights.ts";
import { f32At } from "../../elements.ts";
import { float32Data } from "../../mil/tensor.ts";
import { elementCount } from "../../mil/types.ts";
import type { BlockHalf } from "../../train/half-gradients.ts";
import type { Products } from "./products.ts";
import { canLoseHeads } from "./prune-selection.ts";
import type { HalfMoments } from "./second-order.ts";
import { Surgeon } from "./surgeon.ts";

/** The steps of a half: what is removed after each, in order of removal, and the loss so far. */
export interface Removal {
  /** Heads or neurons. */
  readonly gone: readonly number[];
  readonly loss: number;
}

export interface LayerRemovals {
  /** From nothing to all but one head. */
  readonly attention: readonly Removal[];
  /** From nothing to all but one multiple of neurons. */
  readonly mlp: readonly Removal[];
  /** All of a half, so nothing compensates. */
  readonly whole: Readonly<Record<BlockHalf, number>>;
}

/** Most chunks that a layer's neurons are divided into. */
const CHUNKS = 16;

export async function layerRemovals(
  products: Products,
  weights: DecoderWeights,
  l: number,
  moments: Record<BlockHalf, HalfMoments>,
  multiple: number,
): Promise<LayerRemovals> {
  const layer = weights.arch.layers[l] as LayerArchitecture;
  const matrix = (role: "output" | "down"): Float32Array => float32Data(weight(weights, `L${l}_${role}`));
  const surgeon = (half: BlockHalf): Promise<Surgeon> =>
    Surgeon.create(
      products,
      moments[half].inputs,
      matrix(half === "attention" ? "output" : "down"),
      moments[half].gradients,
    );
  return {
    attention: await headRemovals(await surgeon("attention"), layer, weights.arch),
    mlp: await neuronRemovals(await surgeon("mlp"), layer.neurons, multiple),
    whole: {
      attention: await wholeLoss(products, moments.attention, matrix("output")),
      mlp: await wholeLoss(products, moments.mlp, matrix("down")),
    },
  };
}

async function neuronRemovals(surgeon: Surgeon, neurons: number, multiple: number): Promise<Removal[]> {
  const steps: Removal[] = [{ gone: [], loss: 0 }];
  const gone: number[] = [];
  let loss = 0;
  const chunk = Math.ceil(neurons / CHUNKS / multiple) * multiple;
  // The first chunk brings the layer to a multiple.
  for (let size = chunk + (neurons % multiple); neurons - gone.length - size >= multiple; size = chunk) {
    const least = surgeon.columnLosses().sort((a, b) => a.loss - b.loss || a.column - b.column);
    const columns = least.slice(0, size).map((c) => c.column);
    loss += await surgeon.remove(columns);
    gone.push(...columns);
    steps.push({ gone: [...gone], loss });
  }
  return steps;
}

async function headRemovals(surgeon: Surgeon, layer: LayerArchitecture, arch: DecoderArchitecture): Promise<Removal[]> {
  const steps: Removal[] = [{ gone: [], loss: 0 }];
  const gone: number[] = [];
  let loss = 0;
  const { headDim } = layer;
  const columns = (heads: readonly number[]): number[] =>
    heads.flatMap((h) => Array.from({ length: headDim }, (_, i) => h * headDim + i));
  while (canLoseHeads(layer) && gone.length < layer.queryHeads - 1) {
    const left = layer.headToGroup.flatMap((_, h) => (gone.includes(h) ? [] : [h]));
    const groups = [...new Set(left.map((h) => layer.headToGroup[h]))];
    const candidates = [
      ...left.map((h) => [h]),
      ...groups.map((g) => left.filter((h) => layer.headToGroup[h] === g)).filter((own) => own.length > 1),
    ].filter((own) => own.length < left.length);
    let best: { heads: number[]; price: number } | null = null;
    for (const heads of candidates) {
      const saved = attentionParameters(arch, layer, gone) - attentionParameters(arch, layer, [...gone, ...heads]);
      const price = surgeon.loss(columns(heads)) / saved;
      if (!best || price < best.price) best = { heads, price };
    }
    if (!best) break;
    loss += await surgeon.remove(columns(best.heads));
    gone.push(...best.heads);
    steps.push({ gone: [...gone], loss });
  }
  return steps;
}

/** Parameters of query, key, value and output without some heads; a group that no remaining head
 * reads goes with them. */
export function attentionParameters(
  arch: DecoderArchitecture,
  layer: LayerArchitecture,
  gone: readonly number[],
): number {
  const stay = layer.headToGroup.filter((_, h) => !gone.includes(h));
  const sliced = { ...layer, queryHeads: stay.length, kvGroups: new Set(stay).size };
  const shapes = layerTensorShapes(arch, sliced);
  return (["query", "key", "value", "output"] as const).reduce((n, role) => n + elementCount(shapes[role] ?? [0]), 0);
}

/** ½ tr(F W H Wᵀ). */
async function wholeLoss(products: Products, moments: HalfMoments, matrix: Float32Array): Promise<number> {
  const n = Math.sqrt(moments.inputs.length);
  const outputs = matrix.length / n;
  const wh = await products.product(matrix, Float32Array.from(moments.inputs), outputs, n, n);
  const fw = await products.product(Float32Array.from(moments.gradients), matrix, outputs, outputs, n);
  let total = 0;
  for (let i = 0; i < wh.length; i++) total += f32At(wh, i) * f32At(fw, i);
  return total / 2;
}
