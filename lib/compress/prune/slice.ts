/**
 * @file Takes heads out of a layer for good: rows of q, k and v, columns of o.
 *
 * With kept heads S and the groups T they still read: Wq[S·h, :], Wk[T·h, :], Wv[T·h, :], Wo[:, S·h]. A KV group nobody
 * reads goes with its heads; where later layers read the same keys and values, it stays as long as one head of any of them
 * does. Whole heads move freely under RoPE; channels inside one do not. The sliced layer computes what the gated one
 * does with the dropped gates at 0.
 */
import {
  type DecoderArchitecture,
  kvReaders,
  type LayerArchitecture,
  type LayerTensor,
  layerTensorShapes,
} from "../../decoder/architecture.ts";
import type { DecoderWeights } from "../../decoder/weights.ts";
import { decoderWeights, weight } from "../../decoder/weights.ts";
import { EspalierError } from "../../errors.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import type { HeadSelection } from "./selection.ts";

export interface SlicedLayer {
  readonly layer: LayerArchitecture;
  /** In the old numbering. */
  readonly keepHeads: readonly number[];
  /** In the old numbering, of the layer whose keys and values are read. */
  readonly keepGroups: readonly number[];
}

/** Every layer without the dropped heads. Throws `prune/empty-layer`. */
export function slicedLayers(arch: DecoderArchitecture, drop: HeadSelection): SlicedLayer[] {
  const kept = arch.layers.map((layer, l) => {
    const heads = layer.headToGroup.flatMap((_, h) => (drop[l]?.includes(h) ? [] : [h]));
    if (heads.length === 0) throw new EspalierError("prune/empty-layer", `layer ${l} must keep at least one head`);
    return heads;
  });
  return arch.layers.map((layer, l) => {
    const keepHeads = kept[l] ?? [];
    const readers = kvReaders(arch, layer.kvSource ?? l);
    const read = readers.flatMap((r) => (kept[r] ?? []).map((h) => arch.layers[r]?.headToGroup[h] as number));
    const keepGroups = [...new Set(read)].sort((a, b) => a - b);
    const headToGroup = keepHeads.map((h) => keepGroups.indexOf(layer.headToGroup[h] as number));
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
      replace("output", (of) => takeColumns(of, width, sliced.keepHeads, layer.headDim));
    }
    if (sliced.keepGroups.length < layer.kvGroups) {
      replace("key", (of) => takeRows(of, arch.hidden, sliced.keepGroups, layer.headDim));
      replace("value", (of) => takeRows(of, arch.hidden, sliced.keepGroups, layer.headDim));
    }
    return sliced.layer;
  });
  const pruned: DecoderArchitecture = { ...arch, layers };
  return decoderWeights(pruned, tensors, weights.tables);
}
