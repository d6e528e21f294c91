/**
 * @file Logits of whole sequences by a decoder larger than memory: one layer's weights at a time, in fp32.
 *
 * Weights are decoded from the codes that ship. All sequences pass a layer before the next is read,
 * so that a layer is read once. The logits can then be read step by step, as from a model that decodes.
 */

import { throwIfCancelled } from "../cancel.ts";
import { itemAt } from "../elements.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { float32Data } from "../mil/tensor.ts";
import type { StepModel } from "./generate.ts";
import { vocabularyParts } from "./head-in-parts.ts";
import { pagedWeights, type StoredModel } from "./paged-weights.ts";
import { DecoderRunner } from "./runner.ts";
import type { Stream } from "./stream.ts";

/** A text and the logits after each requested token. */
export interface KnownText {
  readonly ids: readonly number[];
  readonly logits: readonly (Float32Array | null)[];
}

/** Runs the sequences; logits are returned for the positions from `from` up to, but not including,
 * `to`. */
export async function streamedLogits(
  engine: Engine,
  model: StoredModel,
  sequences: readonly { ids: readonly number[]; from?: number; to?: number }[],
  options: { signal?: AbortSignal | undefined; compiled?: Map<string, Promise<Executable>> } = {},
): Promise<KnownText[]> {
  const { signal, compiled = new Map() } = options;
  const { arch } = model;
  const runner = new DecoderRunner(engine, await pagedWeights(model, 0), compiled);
  let streams: Stream[] = [];
  for (const { ids } of sequences)
    streams.push(await runner.embed(Int32Array.from(ids), { batch: 1, length: ids.length }));
  for (const index of arch.layers.keys()) {
    throwIfCancelled(signal);
    const next: Stream[] = [];
    for (const stream of streams) next.push(await runner.block(index, stream));
    streams = next;
  }
  const known = sequences.map(({ ids }) => ({ ids, logits: ids.map((): Float32Array | null => null) }));
  for (const part of vocabularyParts(arch.vocab)) {
    throwIfCancelled(signal);
    const width = part.to - part.from;
    for (const [s, { ids, from = 0, to = ids.length }] of sequences.entries()) {
      const values = float32Data(await runner.logits(itemAt(streams, s), from, to - from, part));
      const all = itemAt(known, s).logits;
      for (let p = from; p < to; p++) {
        const row = all[p] ?? new Float32Array(arch.vocab);
        all[p] = row;
        row.set(values.subarray((p - from) * width, (p - from + 1) * width), part.from);
      }
    }
  }
  return known;
}

/** A step model that can replay these texts and no others. */
export function knownTextModel(vocab: number, context: number, texts: readonly KnownText[]): StepModel {
  return {
    vocab,
    context,
    open() {
      let fitting = texts;
      return {
        chunk: () => 1,
        async feed(tokens, position) {
          for (const [i, token] of tokens.entries()) fitting = fitting.filter((t) => t.ids[position + i] === token);
          const last = position + tokens.length - 1;
          const logits = fitting.map((t) => t.logits[last]).find((l) => l !== null && l !== undefined);
          if (!logits)
            throw new EspalierError("internal/invariant", `internal: no logits are known at position ${last}`);
          return logits;
        },
        dispose() {},
      };
    },
    async dispose() {},
  };
}
