/**
 * @file The decoder that runs step by step with a KV cache: the function a package ships.
 *
 * Inputs `ids` int32 (1, S), the `position` int32 (1) of the first of them, and the state `kv_cache`
 * (1, R, T, headDim), whose rows hold, layer after layer, the keys and then the values of each KV group; output
 * `logits` (S, vocab). Where layers differ in head dimension there is a state for each, `kv_cache_256`, `kv_cache_512`. A layer
 * that reads another's keys and values has no rows. S is 1 for decode and the chunk width for prefill; both share one state
 * and one set of weights. Keys are kept after RoPE. Positions of a padded chunk beyond the text are written and later
 * overwritten before any query can see them. This is the plain layout; the Neural Engine's (B, C, 1, S) is another lowering
 * of the same decoder. Without states (iOS 17) a cache is an input and an output `<name>_out`, written by a one-hot product:
 * keep ⊙ old + write · new.
 */
import { dim, itemAt } from "../elements.ts";
import { EspalierError, invariant } from "../errors.ts";
import { float16FromFloat32 } from "../float16.ts";
import { Builder, typeOf } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { i32, type Tensor, tensor } from "../mil/tensor.ts";
import { type FloatDType, int32, stateType, tensorType } from "../mil/types.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import {
  block,
  embed,
  head,
  type KeysAndValues,
  type KvStore,
  MASKED,
  perLayerVectors,
  splitByLayer,
} from "./block.ts";
import { ropeTables } from "./rope.ts";

export interface CachedShape {
  /** New positions a call brings. */
  readonly length: number;
  /** Positions the cache holds. */
  readonly context: number;
  readonly dtype: FloatDType;
  /** Default `state`. */
  readonly cacheForm?: "state" | "arguments";
  /** Whether the rows of the per-layer table are gathered inside, or given as the input `perLayerRows` (1, S, L · P). */
  readonly perLayerRows: "gather" | "input";
}

/** Returns the value of a weight by its flat name (`embedding`, `L3_query`): an input, a constant
 * or a constexpr. */
export type WeightValues = (b: Builder, name: string, shape: readonly number[]) => Value;

export interface CacheState {
  readonly name: string;
  readonly headDim: number;
  readonly shape: number[]; // (1, R, T, headDim)
}

/** The states that hold keys and values, one for each head dimension. */
export function cacheStates(arch: DecoderArchitecture, context: number): CacheState[] {
  const own = arch.layers.filter((l) => l.kvSource === null);
  const dims = [...new Set(own.map((l) => l.headDim))].sort((a, b) => a - b);
  return dims.map((headDim) => {
    const rows = own.reduce((n, l) => n + (l.headDim === headDim ? 2 * l.kvGroups : 0), 0);
    return {
      name: dims.length === 1 ? "kv_cache" : `kv_cache_${headDim}`,
      headDim,
      shape: [1, rows, context, headDim],
    };
  });
}

export function cachedProgram(
  name: string,
  arch: DecoderArchitecture,
  shape: CachedShape,
  weights: WeightValues,
): MilFunction {
  const { length, context, dtype } = shape;
  if (context < length)
    throw new EspalierError("export/unsupported", `a cache of ${context} cannot take ${length} positions at once`);
  const b = new Builder(name);
  const asArguments = shape.cacheForm === "arguments";
  const ids = b.input("ids", int32(1, length));
  const position = b.input("position", int32(1));
  const caches = new Map(
    cacheStates(arch, context).map((state) => {
      const type = tensorType(dtype, state.shape);
      const input = b.input(state.name, asArguments ? type : stateType(type));
      return [state.headDim, { name: state.name, input, nextRow: 0, leaving: [] as Value[] }];
    }),
  );

  const positions = b.add(b.constant(i32([length], range(length)), "offsets"), position); // (S)
  const table = weights(b, "embedding", [arch.vocab, arch.hidden]);
  const placing = asArguments ? oneHotWrite(b, positions, context, dtype) : null;
  let x = embed(b, ids, table, arch);
  const vectors = arch.perLayer ? perLayerOf(b, ids, x, arch, shape, weights) : [];
  const kvOf: KeysAndValues[] = [];
  const masks = new Map<number | null, Value>();
  const rotations = new Map<string, { cos: Value; sin: Value }>();
  for (const [index, layer] of arch.layers.entries()) {
    const mask = masks.get(layer.window) ?? cacheMask(b, positions, context, layer.window, dtype);
    masks.set(layer.window, mask);
    const ropeKey = JSON.stringify(layer.rope);
    if (layer.rope && !rotations.has(ropeKey)) {
      const tables = ropeTables(layer.rope, context);
      const read = (t: Tensor, label: string): Value => b.gather(b.constant(inType(t, dtype), label), positions, 0);
      rotations.set(ropeKey, { cos: read(tables.cos, "rope_cos"), sin: read(tables.sin, "rope_sin") });
    }
    const rotation = rotations.get(ropeKey);
    const own = Object.fromEntries(
      (Object.entries(layerTensorShapes(arch, layer)) as [LayerTensor, number[]][]).map(([role, dims]) => [
        role,
        weights(b, `L${index}_${role}`, dims),
      ]),
    );
    const cache = caches.get(layer.headDim);
    invariant(cache || layer.kvSource !== null, `layer ${index} has no cache`);
    const kv: KvStore | undefined = cache && {
      update(k, v) {
        const at = { row: cache.nextRow, groups: layer.kvGroups, headDim: layer.headDim };
        const all = placing
          ? blendRows(b, cache, placing, at, context).update(k, v)
          : cacheRows(b, cache.input, position, at, shape).update(k, v);
        cache.nextRow += 2 * layer.kvGroups;
        kvOf[index] = all;
        return all;
      },
    };
    x = b.scope(`L${index}`, () =>
      block(b, x, {
        arch,
        layer,
        weights: own,
        mask,
        cos: rotation?.cos ?? null,
        sin: rotation?.sin ?? null,
        kv,
        sharedKv: layer.kvSource === null ? undefined : kvOf[layer.kvSource],
        perLayer: vectors[index],
      }),
    );
  }
  const norm = weights(b, "finalNorm", [arch.hidden]);
  const projection = arch.tiedHead ? table : weights(b, "head", [arch.vocab, arch.hidden]);
  const logits = head(b, b.reshape(x, [length, arch.hidden]), norm, projection, arch);
  const outputs: Record<string, Value> = { logits };
  for (const { name, leaving } of caches.values())
    if (asArguments) outputs[`${name}_out`] = leaving.length === 1 ? itemAt(leaving, 0) : b.concat(leaving, 1);
  return removeDeadCode(b.build(outputs));
}

/** The tokens' vectors for each layer, (1, S, P). */
function perLayerOf(
  b: Builder,
  ids: Value,
  x: Value,
  arch: DecoderArchitecture,
  { length, dtype, perLayerRows }: CachedShape,
  weights: WeightValues,
): Value[] {
  const shapes = globalTensorShapes(arch);
  const global = (role: GlobalTensor): Value => weights(b, role, shapes[role] ?? []);
  const rows =
    perLayerRows === "gather"
      ? b.gather(global("perLayerEmbedding"), ids, 0)
      : b.input("perLayerRows", tensorType(dtype, [1, length, shapes.perLayerEmbedding?.[1] ?? 0]));
  const own = { context: global("perLayerContext"), norm: global("perLayerContextNorm") };
  return splitByLayer(b, perLayerVectors(b, x, rows, own, arch));
}

/** 0 where the cache position j is at most the query's and inside its window, (S, T). */
function cacheMask(b: Builder, positions: Value, context: number, window: number | null, dtype: FloatDType): Value {
  const length = dim(typeOf(positions).shape, 0);
  const query = b.reshape(positions, [length, 1]);
  const key = b.constant(i32([1, context], range(context)), "cache_positions");
  let seen = b.lessEqual(key, query);
  if (window !== null && window < context) {
    seen = itemAt(b.op("logical_and", { x: seen, y: b.greater(key, b.sub(query, window)) }), 0);
  }
  // Arithmetic instead of `select`, whose two scalars Apple's parser does not broadcast: (seen − 1) · 40000.
  return b.mul(b.sub(b.cast(seen, dtype), 1), -MASKED);
}

/** Where a layer's keys and values lie in a cache: the keys' rows, then the values'. */
interface LayerRows {
  readonly row: number;
  readonly groups: number;
  readonly headDim: number;
}

/** write (1, 1, T, S), 1 where the slot is that of the new position; keep (1, 1, T, 1), 0 for slots that are written. */
function oneHotWrite(b: Builder, positions: Value, context: number, dtype: FloatDType): { write: Value; keep: Value } {
  const length = dim(typeOf(positions).shape, 0);
  const slots = b.constant(i32([context, 1], range(context)), "cache_slots");
  const write = b.cast(b.equal(slots, b.reshape(positions, [1, length])), dtype);
  const keep = b.sub(1, b.sum(write, [1], true));
  return { write: b.reshape(write, [1, 1, context, length]), keep: b.reshape(keep, [1, 1, context, 1]) };
}

/** The updated rows of a cache that is an input. */
function blendRows(
  b: Builder,
  cache: { readonly input: Value; readonly leaving: Value[] },
  { write, keep }: { write: Value; keep: Value },
  { row, groups, headDim }: LayerRows,
  context: number,
): KvStore {
  return {
    update(k, v) {
      const old = b.slice(cache.input, [0, row, 0, 0], [1, row + 2 * groups, context, headDim]);
      const fresh = b.add(b.mul(old, keep), b.matmul(write, b.concat([k, v], 1)));
      cache.leaving.push(fresh);
      const part = (from: number): Value => b.slice(fresh, [0, from, 0, 0], [1, from + groups, context, headDim]);
      return { k: part(0), v: part(groups) };
    },
  };
}

function cacheRows(
  b: Builder,
  cache: Value,
  position: Value,
  { row, groups, headDim }: LayerRows,
  { length, context }: CachedShape,
): KvStore {
  return {
    update(k, v) {
      const constant = (n: number): Value => b.constant(i32([1], Int32Array.of(n)));
      const begin = b.concat([constant(0), constant(row), position, constant(0)], 0);
      const end = b.concat(
        [constant(1), constant(row + 2 * groups), b.add(position, constant(length)), constant(headDim)],
        0,
      );
      const masks = { begin: [true, false, false, true], end: [true, false, false, true] };
      b.writeState(cache, b.sliceUpdate(b.readState(cache), b.concat([k, v], 1), begin, end, masks));
      const all = b.readState(cache);
      const part = (from: number): Value => b.slice(all, [0, from, 0, 0], [1, from + groups, context, headDim]);
      return { k: part(row), v: part(row + groups) };
    },
  };
}

const range = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

function inType(t: Tensor, dtype: FloatDType): Tensor {
  if (dtype === "fp32" || !(t.data instanceof Float32Array)) return t;
  return tensor("fp16", t.shape, float16FromFloat32(t.data));
}
