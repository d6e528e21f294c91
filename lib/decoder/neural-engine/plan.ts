/**
 * @file The plan of a decoder's package in the Neural Engine layout: caches, masks, rotations and
 * functions, before any operation is built.
 *
 * Layers that see everything share the cache `kv_full`, layers with a window share `kv_ring`: two
 * states, as many as devices accept. Where all layers have the same reach but heads of two
 * dimensions, each dimension has a cache. A cache is (1, R, n, D): R rows of n slots, layer after
 * layer the keys and then the values of each KV group; D the largest head dimension, rounded up to
 * a multiple of 32 because states of other widths fail on the engine. A layer that reads another's
 * keys and values has no rows. The slot of position q is q mod n; a ring has n = the widest window
 * rounded up to 32 slots, or the context where that is smaller.
 *
 * A call with one position writes before it reads. So does a chunk if it overwrites nothing that it
 * needs; a chunk on a full ring sees the old ring and, next to it, the chunk itself.
 */
import { itemAt, numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  type LayerArchitecture,
  type LayerTensor,
  projections,
  type RopeSpec,
} from "../architecture.ts";
import { MASKED } from "../block.ts";
import type { FunctionCache, NeuralEngineFunction, NeuralEngineInterface } from "../package-interface.ts";
import { weightList } from "../weights.ts";
import { type DecoderScaling, unscaled } from "./scaling.ts";

/** States whose last two extents are no multiples of this fail on the engine (coremltools issue 2631). */
export const STATE_MULTIPLE = 32;
/** The widest output of one convolution that every engine takes. */
export const LARGEST_HEAD_PART = 16384;
/** The input of the rows of the per-layer table. */
export const PER_LAYER_INPUT = "per_layer";

export interface NeuralEngineOptions {
  /** How many positions a function can see; one set of functions for each. Multiples of 32. */
  readonly contexts: readonly number[];
  /** Widths of prefill functions, made for every context they fit. */
  readonly prefill: readonly number[];
  readonly embedding: "inside" | "host";
  /** `arguments` for systems without states (iOS 17). */
  readonly cacheForm: "state" | "arguments";
  readonly prefillLogits: "all" | "last";
  readonly largestHeadPart?: number;
  /** Rows of the head that share a table; no part may split such a group. Default 1. */
  readonly headRowsTogether?: number;
  readonly beginToken: number | null;
  /** The first token of an empty text without a `beginToken`. */
  readonly startToken?: number | null;
  readonly stopTokens: readonly number[];
  /** Name of the file next to the package with the embedding, where the host looks it up. */
  readonly embeddingFile?: string;
  /** Name of the file with the per-layer table of a model that has one. */
  readonly perLayerFile?: string;
}

export interface CachePlan {
  readonly name: string;
  readonly rows: number;
  /** Of the cache; heads may be narrower. */
  readonly dimension: number;
  /** Null where every position of the context has a slot. */
  readonly ringSlots: number | null;
}

export interface LayerPlan {
  readonly cache: number;
  /** The first of the layer's rows in its cache. */
  readonly row: number;
  readonly mask: number;
  readonly rope: number | null;
}

export interface NeuralEnginePlan {
  readonly interface: NeuralEngineInterface;
  /** Factors that keep the model inside fp16; all 1 unless set by `scaledPlan`. */
  readonly scaling: DecoderScaling;
  readonly caches: readonly CachePlan[];
  readonly layers: readonly LayerPlan[];
}

/** A window on a cache with a slot for every position needs a different mask from one on a ring. */
const maskName = (window: number | null, isRing: boolean): string =>
  window === null ? "mask_full" : `mask_${isRing ? "" : "full_"}${window}`;

export const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Throws `export/unsupported` for impossible contexts and widths. */
export function neuralEnginePlan(arch: DecoderArchitecture, options: NeuralEngineOptions): NeuralEnginePlan {
  const contexts = sortedUnique(options.contexts);
  const widths = sortedUnique(options.prefill);
  const gap = neuralEngineGap(arch);
  if (gap !== null)
    throw new EspalierError("export/unsupported", `the Neural Engine layout has no place for ${gap}`, {
      hint: "Use --layout plain.",
    });
  checkSizes(arch, contexts, widths);
  const { caches, layers, masks, ropes } = planLayers(arch, numberAt(contexts, contexts.length - 1));
  const functions = contexts.flatMap((context) =>
    [1, ...widths.filter((w) => w < context)].map((width): NeuralEngineFunction => {
      const functionCaches = caches.map((c) => functionCache(c, width, context, options.cacheForm));
      return {
        name: width === 1 ? `decode_${context}` : `prefill${width}_${context}`,
        role: width === 1 ? "decode" : "prefill",
        width,
        context,
        logits: width === 1 ? "all" : options.prefillLogits,
        caches: functionCaches,
      };
    }),
  );
  return {
    caches,
    layers,
    scaling: unscaled(arch.layers.length),
    interface: {
      version: 1,
      layout: "neural-engine",
      family: arch.family,
      hidden: arch.hidden,
      vocab: arch.vocab,
      cacheForm: options.cacheForm,
      beginToken: options.beginToken,
      startToken: options.startToken ?? null,
      stopTokens: [...options.stopTokens],
      embedding:
        options.embedding === "inside"
          ? { location: "inside" }
          : { location: "host", file: options.embeddingFile ?? "embedding.safetensors", scale: arch.embeddingScale },
      ...perLayerOf(arch, options.perLayerFile ?? "per-layer.safetensors"),
      logits: headParts(arch.vocab, options.largestHeadPart ?? LARGEST_HEAD_PART, options.headRowsTogether),
      finalSoftcap: arch.finalSoftcap === null ? null : { cap: arch.finalSoftcap, applied: false },
      maskedValue: MASKED,
      ropes: ropes.map((r, i) => ({
        cos: `cos_${i}`,
        sin: `sin_${i}`,
        inverseFrequencies: [...r.inverseFrequencies],
        attentionFactor: r.attentionFactor,
      })),
      caches: caches.map(({ name }) => ({ name })),
      masks: masks.map(({ cache, window }) => ({
        input: maskName(window, caches[cache]?.ringSlots !== null),
        cache: caches[cache]?.name ?? "",
        window,
      })),
      functions,
    },
  };
}

/** Rows of the per-layer table are part of e = (norm(W x / √C) + √P · row) / √2; the host applies
 * their factor. */
function perLayerOf({ perLayer, layers }: DecoderArchitecture, file: string): Pick<NeuralEngineInterface, "perLayer"> {
  if (!perLayer) return {};
  const { width } = perLayer;
  return { perLayer: { input: PER_LAYER_INPUT, file, channels: layers.length * width, scale: Math.sqrt(width / 2) } };
}

/** The plan with these factors. The scale of tables that the host reads includes α or η. */
export function scaledPlan(plan: NeuralEnginePlan, scaling: DecoderScaling): NeuralEnginePlan {
  const { embedding, perLayer } = plan.interface;
  const alpha = scaling.stream / plan.scaling.stream;
  const eta = scaling.perLayerVectors / plan.scaling.perLayerVectors;
  const description = {
    ...plan.interface,
    embedding: embedding.location === "inside" ? embedding : { ...embedding, scale: embedding.scale * alpha },
    ...(perLayer ? { perLayer: { ...perLayer, scale: perLayer.scale * eta } } : {}),
  };
  return { ...plan, scaling, interface: description };
}

/** The weights this lowering reads. A model with others has unknown parts and is refused; they are
 * never dropped. */
const loweredGlobals: ReadonlySet<string> = new Set<GlobalTensor>([
  ...(["embedding", "finalNorm", "head"] as const),
  ...(["perLayerEmbedding", "perLayerContext", "perLayerContextNorm"] as const),
]);
const loweredLayers: ReadonlySet<string> = new Set<LayerTensor>([
  ...(["query", "key", "value", "output", "gate", "up", "down"] as const),
  ...(["attentionNorm", "postAttentionNorm", "mlpNorm", "postMlpNorm", "queryNorm", "keyNorm"] as const),
  ...projections.map((p) => `${p}Bias` as const),
  ...(["perLayerGate", "perLayerProjection", "perLayerNorm", "layerScalar"] as const),
]);

/** The part of a model that this lowering does not support, in words; null if it supports all of
 * it. */
export function neuralEngineGap(arch: DecoderArchitecture): string | null {
  const unknown = weightList(arch).find((w) => !(w.layer === null ? loweredGlobals : loweredLayers).has(w.role));
  if (unknown) return `the weight ${unknown.name}`;
  for (const [index, layer] of arch.layers.entries()) {
    if (layer.kvSource === null) continue;
    const source = arch.layers[layer.kvSource];
    if (!source || source.kvSource !== null || layer.kvSource >= index)
      return `layer ${index}, which reads the keys of layer ${layer.kvSource}, where there are none`;
    if (source.headDim !== layer.headDim || source.kvGroups !== layer.kvGroups)
      return `layer ${index}, whose heads are not those of layer ${layer.kvSource} that it reads`;
    if (source.window !== null && (layer.window === null || layer.window > source.window))
      return `layer ${index}, which looks farther back than layer ${layer.kvSource} that it reads`;
  }
  return null;
}

const sortedUnique = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b);

function checkSizes(arch: DecoderArchitecture, contexts: readonly number[], widths: readonly number[]): void {
  if (contexts.length === 0) throw new EspalierError("export/unsupported", "a package needs at least one context");
  for (const context of contexts) {
    if (!Number.isInteger(context) || context < STATE_MULTIPLE || context % STATE_MULTIPLE !== 0) {
      throw new EspalierError(
        "export/unsupported",
        `a context of ${context} positions is not a multiple of ${STATE_MULTIPLE}`,
        {
          hint: `The Neural Engine takes caches whose extents are multiples of ${STATE_MULTIPLE}; try ${roundUp(Math.max(1, context), STATE_MULTIPLE)}.`,
        },
      );
    }
    if (context > arch.maxPositions) {
      throw new EspalierError(
        "export/unsupported",
        `a context of ${context} positions is beyond the model's ${arch.maxPositions}`,
      );
    }
  }
  for (const width of widths) {
    if (!Number.isInteger(width) || width < 2)
      throw new EspalierError("export/unsupported", `a prefill takes at least 2 positions, found ${width}`);
  }
}

interface CacheDraft {
  readonly name: string;
  readonly isRing: boolean;
  rows: number;
  dimension: number;
}

function planLayers(arch: DecoderArchitecture, largestContext: number) {
  const ropes: RopeSpec[] = [];
  const masks: { cache: number; window: number | null }[] = [];
  const windowOf = ({ window }: LayerArchitecture): number | null =>
    window !== null && window < largestContext ? window : null;
  const own = arch.layers.filter((l) => l.kvSource === null);
  const widest = own.reduce((most, l) => Math.max(most, windowOf(l) ?? 0), 0);
  const cacheName = cacheNames(own.map((l) => ({ isRing: windowOf(l) !== null, dimension: dimensionOf(l) })));
  const drafts: CacheDraft[] = [];
  const layers: LayerPlan[] = [];
  for (const layer of arch.layers) {
    const window = windowOf(layer);
    const rope = layer.rope === null ? null : indexOf(ropes, layer.rope);
    const shared = layer.kvSource === null ? undefined : layers[layer.kvSource];
    const at = shared ?? reserveRows(drafts, cacheName, layer, window !== null);
    // Caches of the same kind have the same slots, so one mask serves them.
    const isRing = drafts[at.cache]?.isRing === true;
    const seenIn = drafts.findIndex((d) => d.isRing === isRing);
    layers.push({ cache: at.cache, row: at.row, mask: indexOf(masks, { cache: seenIn, window }), rope });
  }
  const caches = drafts.map(
    ({ name, rows, dimension, isRing }): CachePlan => ({
      name,
      rows,
      dimension,
      ringSlots: isRing ? roundUp(widest, STATE_MULTIPLE) : null,
    }),
  );
  return { caches, layers, masks, ropes };
}

const dimensionOf = (layer: LayerArchitecture): number => roundUp(layer.headDim, STATE_MULTIPLE);

type CacheKind = { readonly isRing: boolean; readonly dimension: number };

/** The name of the cache for each kind of layer: one for each kind where that makes no more than two, else one for rings and one for the rest. */
function cacheNames(layers: readonly CacheKind[]): (kind: CacheKind) => string {
  const kinds = new Set(layers.map(({ isRing, dimension }) => `${isRing} ${dimension}`));
  const bySight = new Set(layers.map((l) => l.isRing));
  const byDimension = kinds.size === 2 && bySight.size === 1;
  return ({ isRing, dimension }) => `${isRing ? "kv_ring" : "kv_full"}${byDimension ? `_${dimension}` : ""}`;
}

/** Rows for a layer's own keys and values, after those of earlier layers. */
function reserveRows(
  drafts: CacheDraft[],
  nameOf: (kind: CacheKind) => string,
  layer: LayerArchitecture,
  isRing: boolean,
): { cache: number; row: number } {
  const dimension = dimensionOf(layer);
  const name = nameOf({ isRing, dimension });
  let cache = drafts.findIndex((d) => d.name === name);
  if (cache < 0) cache = drafts.push({ name, isRing, rows: 0, dimension: 0 }) - 1;
  const draft = itemAt(drafts, cache);
  const row = draft.rows;
  draft.rows += 2 * layer.kvGroups;
  draft.dimension = Math.max(draft.dimension, dimension);
  return { cache, row };
}

/** The index of an equal entry, added if there is none yet. */
function indexOf<T>(list: T[], entry: T): number {
  const key = JSON.stringify(entry);
  const found = list.findIndex((e) => JSON.stringify(e) === key);
  return found < 0 ? list.push(entry) - 1 : found;
}

function functionCache(cache: CachePlan, width: number, context: number, form: "state" | "arguments"): FunctionCache {
  const slots = Math.min(context, cache.ringSlots ?? context);
  const wraps = slots < context;
  if (width > slots) {
    throw new EspalierError(
      "export/unsupported",
      `a prefill of ${width} positions is wider than the ${slots} slots of ${cache.name}`,
      { hint: `Use prefill widths of at most ${slots}.` },
    );
  }
  return {
    name: cache.name,
    slots,
    // A padded chunk must not touch a ring's other slots, and without states there is no slice to update.
    write: form === "state" && (width === 1 || !wraps) ? "slice" : "blend",
    attends: width === 1 || !wraps ? "cache" : "cache-then-chunk",
  };
}

/**
 * The vocabulary in parts of at most `largest` tokens, as equal as multiples of 64 allow. `together` rows of the head share a
 * table, and no part ends inside some of them, unless they are more than a part holds: then a part has some of one table's.
 */
export function headParts(
  vocab: number,
  largest: number,
  together = 1,
): { output: string; from: number; to: number }[] {
  if (vocab <= largest) return [{ output: "logits", from: 0, to: vocab }];
  const starts = together > largest ? startsWithin(vocab, together, largest) : startsOf(vocab, largest, together);
  return starts.map((from, i) => ({ output: `logits_${i}`, from, to: starts[i + 1] ?? vocab }));
}

/** Where the equal parts of `count` rows begin. */
function startsOf(count: number, largest: number, together: number): number[] {
  const both = leastCommonMultiple(64, together);
  const step = both <= largest ? both : together;
  const most = Math.floor(largest / step) * step;
  const size = Math.min(most, roundUp(Math.ceil(count / Math.ceil(count / most)), step));
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => i * size);
}

const startsWithin = (vocab: number, together: number, largest: number): number[] =>
  Array.from({ length: Math.ceil(vocab / together) }, (_, i) => i * together).flatMap((first) =>
    startsOf(Math.min(together, vocab - first), largest, 1).map((start) => first + start),
  );

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
