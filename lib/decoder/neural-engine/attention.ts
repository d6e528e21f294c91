/**
 * @file Grouped-query attention that copies no keys: the queries of one KV group are stacked and multiplied with it at once.
 *
 *   q (1, H, S, D) → (1, g, r·S, D);  p = softmax(q kᵀ + mask);  out = p v            r = heads per group
 *
 * Where pruning left groups with different numbers of heads, runs of groups with the same number
 * are computed side by side and joined. Rank 4 throughout. Heads come from channels: (1, H·D, 1, S)
 * → (1, H, D, S) → (1, H, S, D). Not included: fused attention, which has no grouping and was wrong
 * or refused on some systems.
 */
import { dim, itemAt, numberAt } from "../../elements.ts";
import { type Builder, typeOf } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { sameShape } from "../../mil/types.ts";
import type { LayerArchitecture } from "../architecture.ts";
import type { SeenEntries } from "./cache.ts";

/** Heads and groups, from (inclusive) to (exclusive), whose groups all have `perGroup` heads. */
export interface HeadRun {
  readonly heads: readonly [number, number];
  readonly groups: readonly [number, number];
  readonly perGroup: number;
}

/** Runs of neighbouring groups with the same number of heads; groups that no head reads are
 * skipped. */
export function headRuns(layer: LayerArchitecture): HeadRun[] {
  const counts = new Array<number>(layer.kvGroups).fill(0);
  for (const g of layer.headToGroup) counts[g] = numberAt(counts, g) + 1;
  const runs: HeadRun[] = [];
  let head = 0;
  for (const [group, perGroup] of counts.entries()) {
    const last = runs.at(-1);
    if (perGroup > 0) {
      const heads = [head, head + perGroup] as const;
      if (last && last.perGroup === perGroup && last.groups[1] === group)
        runs[runs.length - 1] = { heads: [last.heads[0], heads[1]], groups: [last.groups[0], group + 1], perGroup };
      else runs.push({ heads, groups: [group, group + 1], perGroup });
    }
    head += perGroup;
  }
  return runs;
}

const reshaped = (b: Builder, x: Value, shape: readonly number[]): Value =>
  sameShape(typeOf(x).shape, shape) ? x : b.reshape(x, shape);

/** (1, n·D, 1, S) to (1, n, S, D). With one position both are the same numbers in the same order. */
export function toHeads(b: Builder, x: Value, heads: number, headDim: number): Value {
  const length = dim(typeOf(x).shape, 3);
  if (length === 1) return b.reshape(x, [1, heads, 1, headDim]);
  return b.transpose(b.reshape(x, [1, heads, headDim, length]), [0, 1, 3, 2]);
}

/** (1, n, S, D) to (1, n·D, 1, S). */
export function toChannels(b: Builder, x: Value): Value {
  const [, heads, length, headDim] = typeOf(x).shape as [number, number, number, number];
  const flat = [1, heads * headDim, 1, length];
  return length === 1 ? b.reshape(x, flat) : b.reshape(b.transpose(x, [0, 1, 3, 2]), flat);
}

/** Attention of q (1, H, S, D), already scaled, to the visible keys and values; mask (1, 1, S, N).
 * Gives (1, H, S, D). */
export function attend(b: Builder, q: Value, seen: SeenEntries, mask: Value, layer: LayerArchitecture): Value {
  const runs = headRuns(layer);
  const parts = runs.map((run) => attendRun(b, q, seen, mask, layer, run));
  return parts.length === 1 ? itemAt(parts, 0) : b.concat(parts, 1);
}

function attendRun(
  b: Builder,
  q: Value,
  seen: SeenEntries,
  mask: Value,
  layer: LayerArchitecture,
  { heads: [h0, h1], groups: [g0, g1], perGroup }: HeadRun,
): Value {
  const [, , length, headDim] = typeOf(q).shape as [number, number, number, number];
  const total = dim(typeOf(seen.k).shape, 2);
  const part = (x: Value, from: number, to: number): Value => {
    const [, n, rows, width] = typeOf(x).shape as [number, number, number, number];
    return from === 0 && to === n ? x : b.slice(x, [0, from, 0, 0], [1, to, rows, width]);
  };
  const [heads, groups] = [h1 - h0, g1 - g0];
  const stacked = reshaped(b, part(q, h0, h1), [1, groups, perGroup * length, headDim]);
  let scores = b.matmul(stacked, part(seen.k, g0, g1), { transposeY: true });
  if (layer.attentionSoftcap !== null)
    scores = b.mul(b.tanh(b.mul(scores, 1 / layer.attentionSoftcap)), layer.attentionSoftcap);
  const masked = b.add(reshaped(b, scores, [1, heads, length, total]), mask);
  const p = reshaped(b, b.softmax(masked, -1), [1, groups, perGroup * length, total]);
  return reshaped(b, b.matmul(p, part(seen.v, g0, g1)), [1, heads, length, headDim]);
}
