/**
 * @file Takes heads out of a layer for good: rows of q, k and v, columns of o.
 *
 * With kept heads S and the groups T they still read: Wq[S·h, :], Wk[T·h, :], Wv[T·h, :], Wo[:, S·h]. A KV group nobody
 * reads goes with its heads. Whole heads move freely under RoPE; channels inside one do not. The sliced layer computes
 * what the gated one does with the dropped gates at 0.
 */
import type { DecoderArchitecture, LayerArchitecture, LayerTensor } from "../../decoder/architecture.ts";
import { layerTensorShapes } from "../../decoder/architecture.ts";
import type { DecoderWeights } from "../../decoder/weights.ts";
import { decoderWeights, weight } from "../../decoder/weights.ts";
import { EspalierError } from "../../errors.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import type { HeadSelection } from "./selection.ts";

/** The layer without the dropped heads, with `keepHeads` and `keepGroups` in the old numbering. */
export function slicedLayer(
  layer: LayerArchitecture,
  drop: readonly number[],
): { layer: LayerArchitecture; keepHeads: number[]; keepGroups: number[] } {
  const keepHeads = layer.headToGroup.flatMap((_, h) => (drop.includes(h) ? [] : [h]));
  if (keepHeads.length === 0) throw new EspalierError("prune/empty-layer", "a layer must keep at least one head");
  const keepGroups = [...new Set(keepHeads.map((h) => layer.headToGroup[h] as number))].sort((a, b) => a - b);
  const headToGroup = keepHeads.map((h) => keepGroups.indexOf(layer.headToGroup[h] as number));
  return {
    layer: { ...layer, queryHeads: keepHeads.length, kvGroups: keepGroups.length, headToGroup },
    keepHeads,
    keepGroups,
  };
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
  const layers = arch.layers.map((layer, l) => {
    const dropped = drop[l] ?? [];
    if (dropped.length === 0) return layer;
    const sliced = slicedLayer(layer, dropped);
    const shapes = layerTensorShapes(arch, sliced.layer);
    const replace = (role: LayerTensor, values: Float32Array): void => {
      tensors.set(`L${l}_${role}`, f32(shapes[role] ?? [], values));
    };
    const of = (role: LayerTensor): Float32Array => float32Data(weight(weights, `L${l}_${role}`));
    replace("query", takeRows(of("query"), arch.hidden, sliced.keepHeads, layer.headDim));
    replace("key", takeRows(of("key"), arch.hidden, sliced.keepGroups, layer.headDim));
    replace("value", takeRows(of("value"), arch.hidden, sliced.keepGroups, layer.headDim));
    replace("output", takeColumns(of("output"), layer.queryHeads * layer.headDim, sliced.keepHeads, layer.headDim));
    return sliced.layer;
  });
  const pruned: DecoderArchitecture = { ...arch, layers };
  return decoderWeights(pruned, tensors);
}
