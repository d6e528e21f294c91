/**
 * @file Attention under a constant mask, in tiles of queries, without the keys that no query of a tile sees.
 *
 *   softmax(scores + mask) v,  mask (S, T) 0 or far below 0
 *
 * Under a causal mask half of the scores are thrown away, under a window more. Rows a … b of the queries are multiplied with
 * the keys between the first and the last that any of them sees only: the same numbers, since what is left out has probability
 * exp(−40000) = 0, at about half of the work, and scores of one tile at a time, which stay in the cache.
 *
 * Matched as `attention` in lib/decoder/block.ts builds it: heads of one group stacked in rows, soft cap or none, with the
 * transpose behind it or without. Not included: masks that are inputs, sequences too short to gain.
 */
import { f32At, itemAt, numberAt } from "../../../elements.ts";
import type { Operation, Value } from "../../../mil/program.ts";
import type { OnnxGraph } from "../graph.ts";
import { constantFloats, eitherOrder, type Fusion, madeBy, numbers, operand, shapeOf } from "./pattern.ts";

/** Mask values below this hide a key. */
const HIDDEN = -10000;
/** Rows of a tile at least, and tiles of a sequence at most. */
const TILE_ROWS = 32;
const MOST_TILES = 16;
/** Tiles start at a multiple of this many keys, so that rows stay aligned. */
const KEY_STEP = 16;
/** The share of all scores that tiles may compute for the pattern to be worth it. */
const WORTHWHILE = 0.8;

interface Attention {
  readonly query: Value; // (B, H, S, D)
  readonly key: Value; // (B, G, T, D)
  readonly value: Value; // (B, G, T, Dv)
  readonly mask: Float32Array; // (S, T)
  readonly softcap: number | null;
  readonly covers: readonly Operation[];
}

interface Tile {
  /** Queries and keys, from and to. */
  readonly rows: readonly [number, number];
  readonly keys: readonly [number, number];
}

/** x · c for a constant c. */
function scaled(v: Value): { x: Value; factor: number; op: Operation } | null {
  const op = madeBy(v, "mul");
  for (const [x, c] of op ? eitherOrder(op) : []) {
    const factor = constantFloats(c);
    if (op && factor?.length === 1) return { x, factor: f32At(factor, 0), op };
  }
  return null;
}

/** c · tanh(x / c). */
function softcapped(v: Value): { x: Value; cap: number; covers: Operation[] } | null {
  const outer = scaled(v);
  const tanh = outer && madeBy(outer.x, "tanh");
  const inner = tanh && scaled(operand(tanh, "x") as Value);
  if (!outer || !tanh || !inner || Math.abs(outer.factor * inner.factor - 1) > 1e-6) return null;
  return { x: inner.x, cap: outer.factor, covers: [outer.op, tanh, inner.op] };
}

function attentionOf(last: Operation): Attention | null {
  const weighted = madeBy(operand(last, "x"), "matmul");
  const stackedProbabilities = weighted && madeBy(operand(weighted, "x"), "reshape");
  const softmax = stackedProbabilities && madeBy(operand(stackedProbabilities, "x"), "softmax");
  const masked = softmax && madeBy(operand(softmax, "x"), "add");
  if (!weighted || !stackedProbabilities || !softmax || !masked) return null;
  for (const [scores, maskValue] of eitherOrder(masked)) {
    const mask = constantFloats(maskValue);
    const [batch, heads, rows, total] = shapeOf(scores) as [number, number, number, number];
    const maskShape = shapeOf(maskValue);
    if (!mask || shapeOf(scores).length !== 4 || maskShape.length !== 2) continue;
    if (maskShape[0] !== rows || maskShape[1] !== total) continue;
    const capped = softcapped(scores);
    const unstacked = madeBy(capped ? capped.x : scores, "reshape");
    const product = unstacked && madeBy(operand(unstacked, "x"), "matmul");
    const stacked = product && madeBy(operand(product, "x"), "reshape");
    const key = product && operand(product, "y");
    const value = operand(weighted, "y");
    const query = stacked && operand(stacked, "x");
    if (!unstacked || !product || !stacked || !key || !value || !query) continue;
    if (product.params.transpose_y !== true || product.params.transpose_x === true) continue;
    if (weighted.params.transpose_x === true || weighted.params.transpose_y === true) continue;
    const groups = numberAt(shapeOf(key), 1);
    const depth = numberAt(shapeOf(key), 3);
    const axis = Number(softmax.params.axis);
    const fits =
      (axis === -1 || axis === 3) &&
      String(shapeOf(query)) === String([batch, heads, rows, depth]) &&
      String(shapeOf(key)) === String([batch, groups, total, depth]) &&
      String(shapeOf(value).slice(0, 3)) === String([batch, groups, total]) &&
      String(shapeOf(itemAt(product.outputs, 0))) === String([batch, groups, (heads / groups) * rows, total]) &&
      String(shapeOf(itemAt(last.outputs, 0))) === String([batch, heads, rows, shapeOf(value)[3]]);
    if (!fits) continue;
    const covers = [last, weighted, stackedProbabilities, softmax, masked, unstacked, product, stacked];
    return {
      query,
      key,
      value,
      mask,
      softcap: capped?.cap ?? null,
      covers: [...covers, ...(capped?.covers ?? [])],
    };
  }
  return null;
}

/** Tiles of queries and the keys they see; null where they save too little, or a query sees nothing. */
export function tilesOf(mask: Float32Array, total: number): Tile[] | null {
  const rows = mask.length / total;
  const height = Math.max(TILE_ROWS, Math.ceil(rows / MOST_TILES));
  const tiles: Tile[] = [];
  let area = 0;
  for (let a = 0; a < rows; a += height) {
    const b = Math.min(rows, a + height);
    let [from, to] = [total, 0];
    for (let i = a; i < b; i++) {
      let [first, end] = [0, total];
      while (first < total && f32At(mask, i * total + first) <= HIDDEN) first++;
      while (end > first && f32At(mask, i * total + end - 1) <= HIDDEN) end--;
      if (first === total) return null;
      [from, to] = [Math.min(from, first), Math.max(to, end)];
    }
    from -= from % KEY_STEP;
    tiles.push({ rows: [a, b], keys: [from, to] });
    area += (b - a) * (to - from);
  }
  return area <= WORTHWHILE * rows * total ? tiles : null;
}

/** Each tile's result, (batch, heads, rows of the tile, Dv). */
function emitTiles(g: OnnxGraph, nameOf: (v: Value) => string, attention: Attention, tiles: readonly Tile[]): string[] {
  const { query, key, value, mask, softcap } = attention;
  const [batch, heads, rows, depth] = shapeOf(query) as [number, number, number, number];
  const [, groups, total] = shapeOf(key) as [number, number, number, number];
  const width = numberAt(shapeOf(value), 3);
  const perGroup = heads / groups;
  const cut = (x: string, axis: number, [from, to]: readonly [number, number], size: number): string =>
    from === 0 && to === size ? x : g.node("Slice", [x, g.int64([from]), g.int64([to]), g.int64([axis])]);
  const grouped = g.reshape(nameOf(query), [batch, groups, perGroup, rows, depth]);
  return tiles.map((tile) => {
    const [n, t] = [tile.rows[1] - tile.rows[0], tile.keys[1] - tile.keys[0]];
    const q = g.reshape(cut(grouped, 3, tile.rows, rows), [batch, groups, perGroup * n, depth]);
    const k = cut(nameOf(key), 2, tile.keys, total);
    const v = cut(nameOf(value), 2, tile.keys, total);
    let scores = g.product([q, 4], [k, 4], { transposeY: true });
    if (softcap !== null) {
      const bounded = g.node("Tanh", [g.node("Mul", [scores, g.float(1 / softcap)])]);
      scores = g.node("Mul", [bounded, g.float(softcap)]);
    }
    const seen = new Float32Array(n * t);
    for (let i = 0; i < n; i++) {
      const at = (tile.rows[0] + i) * total + tile.keys[0];
      seen.set(mask.subarray(at, at + t), i * t);
    }
    scores = g.reshape(scores, [batch, heads, n, t]);
    if (seen.some((m) => m !== 0)) scores = g.node("Add", [scores, g.initializer("float", [n, t], seen)]);
    const p = g.reshape(g.node("Softmax", [scores], { axis: -1 }), [batch, groups, perGroup * n, t]);
    return g.reshape(g.node("MatMul", [p, v]), [batch, heads, n, width]);
  });
}

export const causalAttention: Fusion = (last) => {
  const transposes = last.type === "transpose" && String(numbers(last, "perm")) === "0,2,1,3";
  const end = transposes ? madeBy(operand(last, "x"), "reshape") : last.type === "reshape" ? last : null;
  const attention = end && attentionOf(end);
  const tiles = attention && tilesOf(attention.mask, numberAt(shapeOf(attention.key), 2));
  if (!tiles) return null;
  return {
    covers: transposes ? [last, ...attention.covers] : attention.covers,
    emit: (g, nameOf) => {
      const parts = emitTiles(g, nameOf, attention, tiles);
      if (!transposes) return g.node("Concat", parts, { axis: 2 });
      return g.node(
        "Concat",
        parts.map((part) => g.node("Transpose", [part], { perm: [0, 2, 1, 3] })),
        { axis: 1 },
      );
    },
  };
};
