/**
 * @file The host's part in driving a package in the Neural Engine layout: the choice of a function,
 * its tables, masks and slots, and the soft cap on its logits.
 *
 * Numbers in, numbers out: this file does not use engines or tensors, so it can be ported line by
 * line. The rules are in `docs/package-interface.md`. A call brings v tokens at the positions p … p
 * + v − 1 to a function of width S ≥ v.
 */
import { f32At, numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import type { FunctionCache, NeuralEngineFunction, NeuralEngineInterface, RopeEntry } from "../package-interface.ts";

/** An input before its conversion to the function's type. */
export interface HostArray {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

export interface Call {
  /** p, the position of the first token. */
  readonly position: number;
  /** v, how many tokens come. */
  readonly count: number;
}

/** The non-negative remainder. */
const modulo = (a: number, n: number): number => ((a % n) + n) % n;

/** Whether a call fits a function: inside its context, and inside consecutive slots where it writes those. */
export function fits(fn: NeuralEngineFunction, { position, count }: Call): boolean {
  if (count > fn.width || position + count > fn.context) return false;
  return fn.caches.every((c) => c.write === "blend" || (position % c.slots) + fn.width <= c.slots);
}

/**
 * The function for the next tokens at `position`, and how many of the `remaining` it takes: the
 * widest that they fill, else one that they fill partly, else decode. null when the context is
 * full.
 */
export function chooseFunction(
  functions: readonly NeuralEngineFunction[],
  context: number,
  position: number,
  remaining: number,
): { fn: NeuralEngineFunction; count: number } | null {
  const own = functions.filter((f) => f.context === context).sort((a, b) => b.width - a.width);
  const filled = own.find((fn) => fn.width <= remaining && fits(fn, { position, count: fn.width }));
  const padded = own.filter((fn) => fn.width > remaining && fits(fn, { position, count: remaining })).at(-1);
  if (remaining > 1 && padded && (filled === undefined || filled.width === 1)) return { fn: padded, count: remaining };
  return filled ? { fn: filled, count: filled.width } : null;
}

/** cos and sin, each (S, D), for the positions p … p + S − 1. */
export function rotationTables(
  { inverseFrequencies, attentionFactor }: RopeEntry,
  position: number,
  width: number,
): { cos: Float32Array; sin: Float32Array } {
  const half = inverseFrequencies.length;
  const cos = new Float32Array(width * 2 * half);
  const sin = new Float32Array(width * 2 * half);
  for (let c = 0; c < width; c++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(Math.fround(position + c) * Math.fround(numberAt(inverseFrequencies, i)));
      const at = c * 2 * half + i;
      cos[at] = cos[at + half] = Math.cos(angle) * attentionFactor;
      sin[at] = sin[at + half] = Math.sin(angle) * attentionFactor;
    }
  }
  return { cos, sin };
}

/** The position in slot j after `last` was written; negative for an empty slot. */
export const positionInSlot = (slot: number, slots: number, last: number): number => last - modulo(last - slot, slots);

/** (S, N): 0 where the query sees the key of that column, else `masked`. */
export function maskTable(
  cache: FunctionCache,
  window: number | null,
  width: number,
  { position, count }: Call,
  masked: number,
): Float32Array {
  const beside = cache.attends === "cache-then-chunk";
  const columns = beside ? cache.slots + width : cache.slots;
  const last = beside ? position - 1 : position + count - 1;
  const mask = new Float32Array(width * columns).fill(masked);
  for (let c = 0; c < count; c++) {
    const query = position + c;
    for (let j = 0; j < columns; j++) {
      const inChunk = j - cache.slots;
      if (inChunk >= count) break;
      const key = inChunk < 0 ? positionInSlot(j, cache.slots, last) : position + inChunk;
      const seen = key >= 0 && key <= query && (window === null || query - key < window);
      if (seen) mask[c * columns + j] = 0;
    }
  }
  return mask;
}

/** For `blend`: write (n, S), 1 where a token goes to a slot; keep (n), 0 for slots that are written. */
export function blendTables(
  slots: number,
  width: number,
  { position, count }: Call,
): { write: Float32Array; keep: Float32Array } {
  const write = new Float32Array(slots * width);
  const keep = new Float32Array(slots).fill(1);
  // Of tokens that share a slot the last one stays.
  for (let c = Math.max(0, count - slots); c < count; c++) {
    const slot = (position + c) % slots;
    write[slot * width + c] = 1;
    keep[slot] = 0;
  }
  return { write, keep };
}

/** Rows (v, C) of a table outside the package, times `scale`, as columns (1, C, 1, S); 0 beyond the last. */
export function rowColumns(rows: Float32Array, channels: number, width: number, scale: number): HostArray {
  const values = new Float32Array(channels * width);
  const factor = Math.fround(scale);
  for (let c = 0; c * channels < rows.length; c++) {
    for (let i = 0; i < channels; i++) values[i * width + c] = f32At(rows, c * channels + i) * factor;
  }
  return { shape: [1, channels, 1, width], values };
}

/** Applies the model's final soft cap, c · tanh(z / c), in place; logits that the package already
 * capped do not change. */
export function capLogits(softcap: NeuralEngineInterface["finalSoftcap"], logits: Float32Array): Float32Array {
  if (softcap === null || softcap.applied) return logits;
  const { cap } = softcap;
  for (let i = 0; i < logits.length; i++) logits[i] = cap * Math.tanh(f32At(logits, i) / cap);
  return logits;
}

/** Every input of a function except the tokens, their rows from tables and, where caches are
 * arguments, the caches. */
export function hostInputs(
  description: NeuralEngineInterface,
  fn: NeuralEngineFunction,
  call: Call,
): Record<string, HostArray> {
  if (!fits(fn, call)) {
    throw new EspalierError(
      "input/invalid",
      `${call.count} tokens at position ${call.position} do not fit ${fn.name} (width ${fn.width}, context ${fn.context})`,
    );
  }
  const { width } = fn;
  const inputs: Record<string, HostArray> = {};
  for (const rope of description.ropes) {
    const { cos, sin } = rotationTables(rope, call.position, width);
    const shape = [1, 1, width, 2 * rope.inverseFrequencies.length];
    inputs[rope.cos] = { shape, values: cos };
    inputs[rope.sin] = { shape, values: sin };
  }
  for (const { input, cache, window } of description.masks) {
    const values = maskTable(cacheNamed(fn, cache), window, width, call, description.maskedValue);
    inputs[input] = { shape: [1, 1, width, values.length / width], values };
  }
  for (const cache of fn.caches) {
    const { name, slots } = cache;
    if (cache.write === "slice") {
      const begin = call.position % slots;
      inputs[`begin_${name}`] = { shape: [1], values: Int32Array.of(begin) };
      inputs[`end_${name}`] = { shape: [1], values: Int32Array.of(begin + width) };
    } else {
      const { write, keep } = blendTables(slots, width, call);
      inputs[`write_${name}`] = { shape: [1, 1, slots, width], values: write };
      inputs[`keep_${name}`] = { shape: [1, 1, slots, 1], values: keep };
    }
  }
  if (fn.logits === "last") {
    const select = new Float32Array(width);
    select[call.count - 1] = 1;
    inputs.select = { shape: [1, 1, 1, width], values: select };
  }
  return inputs;
}

function cacheNamed(fn: NeuralEngineFunction, name: string): FunctionCache {
  const cache = fn.caches.find((c) => c.name === name);
  if (!cache) throw new EspalierError("format/malformed", `${fn.name} has no cache ${name}`);
  return cache;
}
