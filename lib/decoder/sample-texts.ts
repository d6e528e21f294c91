/**
 * @file Texts written by a model, many side by side, for calibration without data.
 *
 * Reference: Liu et al., "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models" (2023), section 3.1: text
 * sampled from the model follows the distribution that the model was trained on. Every next token is drawn from the whole
 * softmax at temperature 1, with a KV cache for each text; one call advances all texts by a token, so that the weights are read
 * once for all of them. After an end token a new text begins. Not included: greedy first tokens,
 * nucleus sampling.
 */

import { throwIfCancelled } from "../cancel.ts";
import { dim, f32At, i32At, named } from "../elements.ts";
import type { Engine } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { elementCount, fp32, int32 } from "../mil/types.ts";
import type { Rng } from "../random.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import { block, embed, head, type KeysAndValues, MASKED, perLayerVectors, splitByLayer } from "./block.ts";
import { ropeTables } from "./rope.ts";
import { layerName } from "./sequence-programs.ts";
import { type DecoderWeights, perLayerRows } from "./weights.ts";

export interface SampleTextsOptions {
  /** Texts, and tokens of each. */
  readonly count: number;
  readonly length: number;
  /** The first token of every text; null: each begins with a random token, all equally likely. */
  readonly bosId: number | null;
  /** After one of these a new text begins. */
  readonly eosIds: readonly number[];
  readonly rng: Rng;
  readonly signal?: AbortSignal | undefined;
  readonly onShare?: ((share: number) => void) | undefined;
}

/** `count` texts of `length` tokens. Throws `numeric/non-finite` when the logits are. */
export async function sampleTexts(
  engine: Engine,
  weights: DecoderWeights,
  { count, length, bosId, eosIds, rng, signal, onShare }: SampleTextsOptions,
): Promise<Int32Array[]> {
  const { arch } = weights;
  const step = stepProgram(arch, count, length);
  const executable = await engine.compile(step.program);
  const caches = step.caches.map((shape) => f32(shape, new Float32Array(elementCount(shape))));
  const given = {
    ...Object.fromEntries(weights.tensors),
    ...Object.fromEntries(caches.map((cache, i) => [`cache_${i}`, cache])),
  };
  const start = (): number => bosId ?? rng.integer(arch.vocab);
  const texts = Array.from({ length: count }, () => new Int32Array(length));
  for (const text of texts) text[0] = start();
  try {
    for (let position = 0; position + 1 < length; position++) {
      throwIfCancelled(signal);
      const ids = Int32Array.from(texts, (text) => i32At(text, position));
      const out = await executable.run({
        ...given,
        ...step.inputsAt(position),
        ...(await perLayerRows(weights, ids, count)),
        ids: i32([count, 1], ids),
      });
      for (const [i, cache] of caches.entries()) place(cache, named(out, `new_${i}`), position);
      const logits = float32Data(named(out, "logits")); // (count, vocab)
      for (const [row, text] of texts.entries()) {
        const ended = eosIds.includes(i32At(text, position));
        text[position + 1] =
          ended && bosId !== null ? bosId : drawn(logits.subarray(row * arch.vocab, (row + 1) * arch.vocab), rng);
      }
      onShare?.((position + 2) / length);
    }
  } finally {
    await executable.dispose();
  }
  return texts;
}

interface StepProgram {
  readonly program: MilFunction;
  /** Shapes of the inputs `cache_<i>`, keys and values in turn: (texts, kvGroups, length, headDim). */
  readonly caches: readonly number[][];
  /** Masks and rotations at a position. */
  inputsAt(position: number): Record<string, Tensor>;
}

/**
 * One token of every text: `ids` (texts, 1) → `logits` (texts, vocab), and as `new_<i>` (texts, kvGroups, 1, headDim) what the
 * caller puts into the caches. The new position follows the cached ones, so that no cached value is
 * copied.
 */
function stepProgram(arch: DecoderArchitecture, texts: number, length: number): StepProgram {
  const b = new Builder("sample");
  const inputs = new Map<string, Value>();
  const input = (name: string, shape: readonly number[]): Value => {
    const value = inputs.get(name) ?? b.input(name, fp32(...shape));
    inputs.set(name, value);
    return value;
  };
  const ids = b.input("ids", int32(texts, 1));
  const shapes = globalTensorShapes(arch);
  const global = (role: GlobalTensor): Value => input(role, shapes[role] ?? []);
  let x = embed(b, ids, global("embedding"), arch);
  const vectors = arch.perLayer
    ? splitByLayer(
        b,
        perLayerVectors(
          b,
          x,
          input("perLayerRows", [texts, 1, shapes.perLayerEmbedding?.[1] ?? 0]),
          { context: global("perLayerContext"), norm: global("perLayerContextNorm") },
          arch,
        ),
      )
    : [];
  const windows = [...new Set(arch.layers.map((l) => l.window))];
  const ropes = new Map(arch.layers.flatMap((l) => (l.rope ? [[JSON.stringify(l.rope), l.rope] as const] : [])));
  const tables = [...ropes].map(([key, rope]) => ({ key, tables: ropeTables(rope, length) }));
  const caches: number[][] = [];
  const outputs: Record<string, Value> = {};
  const kvOf: KeysAndValues[] = [];
  for (const [index, layer] of arch.layers.entries()) {
    const rope = tables.findIndex((t) => t.key === JSON.stringify(layer.rope));
    const joined = (fresh: Value): Value => {
      const shape = [texts, layer.kvGroups, length, layer.headDim];
      const name = `cache_${caches.length}`;
      outputs[`new_${caches.length}`] = fresh;
      caches.push(shape);
      return b.concat([input(name, shape), fresh], 2);
    };
    const own = Object.fromEntries(
      (Object.entries(layerTensorShapes(arch, layer)) as [LayerTensor, number[]][]).map(([role, dims]) => [
        role,
        input(layerName(index, role), dims),
      ]),
    );
    x = b.scope(`L${index}`, () =>
      block(b, x, {
        arch,
        layer,
        weights: own,
        mask: input(`mask_${windows.indexOf(layer.window)}`, [1, length + 1]),
        cos: layer.rope ? input(`cos_${rope}`, [1, layer.headDim]) : null,
        sin: layer.rope ? input(`sin_${rope}`, [1, layer.headDim]) : null,
        kv: {
          update(k, v) {
            const all = { k: joined(k), v: joined(v) };
            kvOf[index] = all;
            return all;
          },
        },
        sharedKv: layer.kvSource === null ? undefined : kvOf[layer.kvSource],
        perLayer: vectors[index],
      }),
    );
  }
  const projection = global(arch.tiedHead ? "embedding" : "head");
  outputs.logits = head(b, b.reshape(x, [texts, arch.hidden]), global("finalNorm"), projection, arch);
  return {
    program: removeDeadCode(b.build(outputs)),
    caches,
    inputsAt(position) {
      const masks = windows.map((window, i): [string, Tensor] => {
        const mask = new Float32Array(length + 1).fill(MASKED);
        mask.fill(0, window === null ? 0 : Math.max(0, position + 1 - window), position);
        mask[length] = 0;
        return [`mask_${i}`, f32([1, length + 1], mask)];
      });
      const rotations = tables.flatMap((t, i): [string, Tensor][] => [
        [`cos_${i}`, rowOf(t.tables.cos, position)],
        [`sin_${i}`, rowOf(t.tables.sin, position)],
      ]);
      return Object.fromEntries([...masks, ...rotations]);
    },
  };
}

function rowOf(table: Tensor, row: number): Tensor {
  const width = dim(table.shape, 1);
  return f32([1, width], float32Data(table).subarray(row * width, (row + 1) * width));
}

/** Puts `fresh` (texts, groups, 1, headDim) at `position` of a cache (texts, groups, length, headDim). */
function place(cache: Tensor, fresh: Tensor, position: number): void {
  const [, , length, width] = cache.shape as [number, number, number, number];
  const from = float32Data(fresh);
  const to = float32Data(cache);
  for (let i = 0; i * width < from.length; i++)
    to.set(from.subarray(i * width, (i + 1) * width), (i * length + position) * width);
}

/** An index with probability softmax(logits), by the inverse of the cumulative sum. */
function drawn(logits: Float32Array, rng: Rng): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (f32At(logits, i) > top) top = f32At(logits, i);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(f32At(logits, i) - top);
  if (!Number.isFinite(total))
    throw new EspalierError("numeric/non-finite", "the model's logits are not finite, so no token can be drawn");
  let left = rng.uniform() * total;
  let last = 0;
  for (let i = 0; i < logits.length; i++) {
    const p = Math.exp(f32At(logits, i) - top);
    if (p > 0) last = i;
    left -= p;
    if (left <= 0) return i;
  }
  return last;
}
