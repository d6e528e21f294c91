/**
 * @file Logits of whole sequences by a decoder larger than memory: one layer's weights at a time, in fp32.
 *
 * Weights are decoded from the codes that ship. Only the rows of the current tokens are read from
 * tables; the head is multiplied some tokens of the vocabulary at a time. The logits can then be
 * read step by step, as from a model that decodes.
 */

import { throwIfCancelled } from "../cancel.ts";
import { dim } from "../elements.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { elementCount } from "../mil/types.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight, DeferredWeight } from "../weights/weight.ts";
import { type DecoderArchitecture, type LayerTensor, layerTensorShapes } from "./architecture.ts";
import type { StepModel } from "./generate.ts";
import { hostEmbedding } from "./neural-engine/embedding.ts";
import { DecoderRunner } from "./runner.ts";
import { globalName, layerName } from "./sequence-programs.ts";
import type { Stream } from "./stream.ts";
import { distinctRows, type RowTable } from "./weights.ts";

/** Tokens of the vocabulary whose logits are computed at once. */
const HEAD_ROWS = 8192;

export interface StreamedModel {
  readonly arch: DecoderArchitecture;
  /** Matrices are decoded when needed; norm gains may be kept. */
  readonly weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>;
  /** The rows of `embedding` and `perLayerEmbedding`. */
  table(name: string): RowTable;
}

/** A text and the logits after each requested token. */
export interface KnownText {
  readonly ids: readonly number[];
  readonly logits: readonly (Float32Array | null)[];
}

/** Runs the sequences; logits are returned for the positions from `from` up to, but not including,
 * `to`. */
export async function streamedLogits(
  engine: Engine,
  { arch, weights, table }: StreamedModel,
  sequences: readonly { ids: readonly number[]; from?: number; to?: number }[],
  options: { signal?: AbortSignal | undefined; compiled?: Map<string, Promise<Executable>> } = {},
): Promise<KnownText[]> {
  const { signal, compiled = new Map() } = options;
  const find = (name: string): CompressedWeight | DeferredWeight => {
    const w = weights.get(name);
    if (!w) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
    return w;
  };
  const tokens = [...new Set(sequences.flatMap((s) => s.ids))];
  const compact = new Map(tokens.map((token, i) => [token, i]));
  // The vocabulary of the current tokens, renumbered.
  const small: DecoderArchitecture = { ...arch, vocab: tokens.length };
  const rows = await table("embedding").rows(tokens);
  const tables = new Map<string, RowTable>();
  const globals = new Map<string, Tensor>([["embedding", f32([tokens.length, arch.hidden], rows)]]);
  if (arch.perLayer) {
    const vectors = await table("perLayerEmbedding").rows(tokens);
    const width = vectors.length / tokens.length;
    tables.set("perLayerEmbedding", {
      shape: [tokens.length, width],
      rows: (indices) => distinctRows(indices, width, async (i) => vectors.subarray(i * width, (i + 1) * width)),
    });
    for (const name of ["perLayerContext", "perLayerContextNorm"] as const)
      globals.set(name, await wholeWeight(find(globalName(name))));
  }
  const embedder = new DecoderRunner(engine, { arch: small, tensors: globals, tables }, compiled);
  let streams: Stream[] = [];
  for (const { ids } of sequences) {
    const numbered = Int32Array.from(ids, (id) => compact.get(id) as number);
    streams.push(await embedder.embed(numbered, { batch: 1, length: ids.length }));
  }
  for (const [index, layer] of arch.layers.entries()) {
    throwIfCancelled(signal);
    const tensors = new Map<string, Tensor>();
    for (const role of Object.keys(layerTensorShapes(arch, layer)) as LayerTensor[])
      tensors.set(layerName(index, role), await wholeWeight(find(layerName(index, role))));
    const runner = new DecoderRunner(engine, { arch: small, tensors, tables: new Map() }, compiled);
    const next: Stream[] = [];
    for (const stream of streams) next.push(await runner.block(index, stream));
    streams = next;
  }
  const known = sequences.map(({ ids }) => ({ ids, logits: ids.map((): Float32Array | null => null) }));
  const norm = await wholeWeight(find("finalNorm"));
  let at = 0;
  for await (const part of headParts(find(arch.tiedHead ? "embedding" : "head"))) {
    throwIfCancelled(signal);
    const vocab = dim(part.shape, 0);
    const head: DecoderArchitecture = { ...arch, vocab, tiedHead: false };
    const tensors = new Map([
      ["finalNorm", norm],
      ["head", part],
    ]);
    const runner = new DecoderRunner(engine, { arch: head, tensors, tables: new Map() }, compiled);
    for (const [s, { ids, from = 0, to = ids.length }] of sequences.entries()) {
      const values = float32Data(await runner.logits(streams[s] as Stream, from, to - from));
      for (let p = from; p < to; p++) {
        const all = (known[s] as (typeof known)[number]).logits;
        const row = all[p] ?? new Float32Array(arch.vocab);
        all[p] = row;
        row.set(values.subarray((p - from) * vocab, (p - from + 1) * vocab), at);
      }
    }
    at += vocab;
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

/** All values of a weight in fp32, decoded piece by piece. */
export async function wholeWeight(w: CompressedWeight | DeferredWeight): Promise<Tensor> {
  if (w.kind !== "deferred") return f32(w.shape, decodeWeight(w));
  const values = new Float32Array(elementCount(w.form.shape));
  let at = 0;
  for await (const piece of w.pieces()) {
    const part = decodeWeight(piece);
    values.set(part, at);
    at += part.length;
  }
  return f32(w.form.shape, values);
}

/** Consecutive rows of the head, decoded, (rows, hidden). */
async function* headParts(w: CompressedWeight | DeferredWeight): AsyncGenerator<Tensor> {
  for await (const piece of w.kind === "deferred" ? w.pieces() : [w]) {
    const [count, hidden] = piece.shape as [number, number];
    const table = hostEmbedding(piece);
    for (let from = 0; from < count; from += HEAD_ROWS) {
      const rows = Int32Array.from({ length: Math.min(count - from, HEAD_ROWS) }, (_, i) => from + i);
      yield f32([rows.length, hidden], await table.rows(rows));
    }
  }
}
