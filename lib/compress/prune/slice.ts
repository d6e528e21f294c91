/**
 * @file Removes heads, neurons and layers: rows of q, k, v, gate and up, columns of o and down.
 *
 * With kept heads S and the groups T they still read: Wq[S·h, :], Wk[T·h, :], Wv[T·h, :], Wo[:,
 * S·h]. A KV group without readers goes with its heads; where later layers read the same keys and
 * values, it stays as long as any of their heads does. Whole heads move freely under RoPE; channels
 * inside one do not. With kept neurons N: Wgate[N, :], Wup[N, :], Wdown[:, N]. The biases of q, k, v,
 * gate and up lose the same rows. The remaining layers are renumbered. The sliced model computes
 * what the gated one does with the dropped gates at 0. Not included, and refused: heads under a norm over the whole
 * projection (OLMo 2), whose mean square would change with them.
 */

import {
  type DecoderArchitecture,
  kvReaders,
  type LayerArchitecture,
  type LayerTensor,
  layerTensorShapes,
} from "../../decoder/architecture.ts";
import type { DecoderWeights } from "../../decoder/weights.ts";
import { decoderWeights, weight, weightList } from "../../decoder/weights.ts";
import { numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import {
  emptySelection,
  type HeadSelection,
  type PruneSelection,
  refuseHeads,
  refuseLayer,
} from "./prune-selection.ts";

export interface SlicedLayer {
  readonly layer: LayerArchitecture;
  /** In the old numbering. */
  readonly keepHeads: readonly number[];
  /** In the old numbering, of the layer whose keys and values are read. */
  readonly keepGroups: readonly number[];
}

/** All layers, without the dropped heads. Throws `prune/empty-layer`. */
export function slicedLayers(arch: DecoderArchitecture, drop: HeadSelection): SlicedLayer[] {
  const kept = arch.layers.map((layer, l) => {
    const heads = layer.headToGroup.flatMap((_, h) => (drop[l]?.includes(h) ? [] : [h]));
    if (heads.length < layer.queryHeads) refuseHeads(arch, l);
    if (heads.length === 0) throw new EspalierError("prune/empty-layer", `layer ${l} must keep at least one head`);
    return heads;
  });
  return arch.layers.map((layer, l) => {
    const keepHeads = kept[l] ?? [];
    const readers = kvReaders(arch, layer.kvSource ?? l);
    const read = readers.flatMap((r) => (kept[r] ?? []).map((h) => arch.layers[r]?.headToGroup[h] as number));
    const keepGroups = [...new Set(read)].sort((a, b) => a - b);
    const headToGroup = keepHeads.map((h) => keepGroups.indexOf(numberAt(layer.headToGroup, h)));
    return {
      layer: { ...layer, queryHeads: keepHeads.length, kvGroups: keepGroups.length, headToGroup },
      keepHeads,
      keepGroups,
    };
  });
}

/** Blocks of `size` consecutive rows of values (rows, columns). */
export function takeRows(values: Float32Array, columns: number, blocks: readonly number[], size: number): Float32Array {
  const out = new Float32Array(blocks.length * size * columns);
  for (const [i, block] of blocks.entries()) {
    out.set(values.subarray(block * size * columns, (block + 1) * size * columns), i * size * columns);
  }
  return out;
}

/** Blocks of `size` consecutive columns of values (rows, columns). */
export function takeColumns(
  values: Float32Array,
  columns: number,
  blocks: readonly number[],
  size: number,
): Float32Array {
  const rows = values.length / columns;
  const width = blocks.length * size;
  const out = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    for (const [i, block] of blocks.entries()) {
      const from = r * columns + block * size;
      out.set(values.subarray(from, from + size), r * width + i * size);
    }
  }
  return out;
}

/** The model without the dropped heads. Tensors that do not change are shared, not copied. */
export function pruneHeads(weights: DecoderWeights, drop: HeadSelection): DecoderWeights {
  const { arch } = weights;
  const tensors = new Map<string, Tensor>(weights.tensors);
  const layers = slicedLayers(arch, drop).map((sliced, l) => {
    const layer = arch.layers[l] as LayerArchitecture;
    const shapes = layerTensorShapes(arch, sliced.layer);
    const replace = (role: LayerTensor, values: (of: Float32Array) => Float32Array): void => {
      const shape = shapes[role];
      if (shape) tensors.set(`L${l}_${role}`, f32(shape, values(float32Data(weight(weights, `L${l}_${role}`)))));
    };
    if (sliced.keepHeads.length < layer.queryHeads) {
      const width = layer.queryHeads * layer.headDim;
      replace("query", (of) => takeRows(of, arch.hidden, sliced.keepHeads, layer.headDim));
      replace("queryBias", (of) => takeRows(of, 1, sliced.keepHeads, layer.headDim));
      replace("output", (of) => takeColumns(of, width, sliced.keepHeads, layer.headDim));
    }
    if (sliced.keepGroups.length < layer.kvGroups) {
      for (const role of ["key", "value"] as const) {
        replace(role, (of) => takeRows(of, arch.hidden, sliced.keepGroups, layer.headDim));
        replace(`${role}Bias`, (of) => takeRows(of, 1, sliced.keepGroups, layer.headDim));
      }
    }
    return sliced.layer;
  });
  const pruned: DecoderArchitecture = { ...arch, layers };
  return decoderWeights(pruned, tensors, weights.tables);
}

/** The model without the dropped neurons, by layer. Throws `prune/empty-layer` where none would be left. */
export function pruneNeurons(weights: DecoderWeights, drop: readonly (readonly number[])[]): DecoderWeights {
  const { arch } = weights;
  const tensors = new Map<string, Tensor>(weights.tensors);
  const layers = arch.layers.map((layer, l) => {
    const gone = new Set(drop[l]);
    if (gone.size === 0) return layer;
    const keep = Array.from({ length: layer.neurons }, (_, n) => n).filter((n) => !gone.has(n));
    if (keep.length === 0)
      throw new EspalierError("prune/empty-layer", `layer ${l} must keep at least one neuron, or go as a whole`);
    const of = (role: LayerTensor): Float32Array => float32Data(weight(weights, `L${l}_${role}`));
    for (const role of ["gate", "up"] as const) {
      tensors.set(`L${l}_${role}`, f32([keep.length, arch.hidden], takeRows(of(role), arch.hidden, keep, 1)));
      if (layer.biases.includes(role))
        tensors.set(`L${l}_${role}Bias`, f32([keep.length], takeRows(of(`${role}Bias`), 1, keep, 1)));
    }
    tensors.set(`L${l}_down`, f32([arch.hidden, keep.length], takeColumns(of("down"), layer.neurons, keep, 1)));
    return { ...layer, neurons: keep.length };
  });
  return decoderWeights({ ...arch, layers }, tensors, weights.tables);
}

/** The model without the dropped layers. Throws `prune/empty-layer` when none would be left. */
export function pruneLayers(weights: DecoderWeights, drop: readonly number[]): DecoderWeights {
  const { arch } = weights;
  const keep = arch.layers.flatMap((_, l) => (drop.includes(l) ? [] : [l]));
  if (keep.length === 0) throw new EspalierError("prune/empty-layer", "a model must keep at least one layer");
  if (keep.length === arch.layers.length) return weights;
  for (const l of drop) refuseLayer(arch, l, new Set(drop));
  const layers = keep.map((l): LayerArchitecture => {
    const layer = arch.layers[l] as LayerArchitecture;
    return layer.kvSource === null ? layer : { ...layer, kvSource: keep.indexOf(layer.kvSource) };
  });
  const pruned: DecoderArchitecture = { ...arch, layers };
  const tensors = weightList(pruned).map(({ name, layer, role }): [string, Tensor] => [
    name,
    weight(weights, layer === null ? name : `L${keep[layer]}_${role}`),
  ]);
  return decoderWeights(pruned, new Map(tensors), weights.tables);
}

/** The architecture that `pruneModel` leaves. */
export function slicedArchitecture(arch: DecoderArchitecture, drop: Partial<PruneSelection>): DecoderArchitecture {
  const { heads, neurons, layers } = { ...emptySelection(arch), ...drop };
  const keep = arch.layers.flatMap((_, l) => (layers.includes(l) ? [] : [l]));
  const sliced = slicedLayers(
    arch,
    heads.map((own, l) => (layers.includes(l) ? [] : own)),
  );
  return {
    ...arch,
    layers: keep.map((l) => {
      const layer = sliced[l]?.layer as LayerArchitecture;
      const kvSource = layer.kvSource === null ? null : keep.indexOf(layer.kvSource);
      return { ...layer, kvSource, neurons: layer.neurons - (neurons[l]?.length ?? 0) };
    }),
  };
}

/** Heads, neurons and layers at once; all in the numbering of `weights`. */
export function pruneModel(weights: DecoderWeights, drop: Partial<PruneSelection>): DecoderWeights {
  const { heads, neurons, layers } = { ...emptySelection(weights.arch), ...drop };
  // The heads and neurons to drop in a removed layer do not matter; the list may even name all of
  // them.
  const staying = (list: readonly (readonly number[])[]) => list.map((d, l) => (layers.includes(l) ? [] : d));
  return pruneLayers(pruneNeurons(pruneHeads(weights, staying(heads)), staying(neurons)), layers);
}
