/**
 * @file Losses of sequences with few scored tokens and shared beginnings: the choices of a question
 * after its prompt.
 *
 * A decoder looks back only, so a sequence whose input is a prefix of another's needs no separate
 * pass: it reads its positions from the other's. One-token choices share the single pass of their
 * prompt. The head, which is most of the work in a small model or one with a large vocabulary, runs
 * only on the scored positions. Not included: keys and values kept between choices of several
 * tokens; each of those is a pass.
 */

import { throwIfCancelled } from "../cancel.ts";
import type { DecoderRunner } from "../decoder/runner.ts";
import { dim, i32At, itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { float32Data, type Tensor } from "../mil/tensor.ts";
import { type PaddedBatch, padIntoBatches, predictedTokens, type TokenSequence } from "./sequences.ts";

export interface SharedLoss {
  /** Summed over the predicted tokens, in nats. */
  readonly nll: number;
  readonly tokens: number;
}

export interface SharedLossOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after every batch with the passes done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Positions of the head are rounded up to this many, so that few programs are compiled. */
const HEAD_BUCKET = 64;

/** In the order of `sequences`. Throws `numeric/non-finite` naming the sequence. */
export async function sharedLosses(
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  options: SharedLossOptions = {},
): Promise<SharedLoss[]> {
  const { passes, passOf } = passesFor(sequences);
  const own = passes.map((index) => itemAt(sequences, index));
  const readers = own.map((): number[] => []);
  for (const [index, pass] of passOf.entries()) readers[pass]?.push(index);
  const results = new Array<SharedLoss>(sequences.length);
  let done = 0;
  for (const batch of padIntoBatches(own, runner.tokensPerBatch)) {
    throwIfCancelled(options.signal);
    const { x } = await runner.blocks(await runner.embed(batch.ids, batch.shape));
    const read = readPositions(batch, readers, sequences);
    const rows = { x: gatherRows(x, read.positions), perLayer: [], shared: new Map() };
    const nll = await runner.nll(rows, read.targets);
    for (const { index, from, to } of read.spans) {
      const { id } = itemAt(sequences, index);
      const sum = nll.subarray(from, to).reduce((total, v) => total + v, 0);
      if (!Number.isFinite(sum))
        throw new EspalierError("numeric/non-finite", `the loss of ${id} is ${sum}`, {
          hint: "The weights hold values the model cannot compute with; check the checkpoint.",
        });
      results[index] = { nll: sum, tokens: to - from };
    }
    done += batch.rows.length;
    options.onProgress?.(done, passes.length);
  }
  return results;
}

/**
 * The sequences that need a pass, and for every sequence which of those it reads. In lexicographic
 * order of inputs a prefix comes right before its extensions.
 */
export function passesFor(sequences: readonly TokenSequence[]): { passes: number[]; passOf: number[] } {
  const input = (index: number): Int32Array => {
    const { ids } = itemAt(sequences, index);
    return ids.subarray(0, ids.length - 1);
  };
  const order = sequences.map((_, i) => i).sort((a, b) => lexicographic(input(a), input(b)));
  const passes: number[] = [];
  const passOf = new Array<number>(sequences.length);
  let next: Int32Array | null = null;
  for (const index of order.reverse()) {
    const ids = input(index);
    if (!next || !begins(ids, next)) passes.push(index);
    passOf[index] = passes.length - 1;
    next = ids;
  }
  return { passes, passOf };
}

function lexicographic(a: Int32Array, b: Int32Array): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) if (a[i] !== b[i]) return i32At(a, i) - i32At(b, i);
  return a.length - b.length;
}

const begins = (a: Int32Array, b: Int32Array): boolean => a.length <= b.length && a.every((id, i) => id === b[i]);

interface Positions {
  /** Rows of the stream, (batch · length), whose next token counts; padded with row 0. */
  readonly positions: Int32Array;
  readonly targets: Int32Array;
  /** The part that belongs to each sequence. */
  readonly spans: readonly { readonly index: number; readonly from: number; readonly to: number }[];
}

/** `readers`: by pass, the sequences that read it. */
function readPositions(
  batch: PaddedBatch,
  readers: readonly (readonly number[])[],
  sequences: readonly TokenSequence[],
): Positions {
  const members = batch.rows.flatMap((pass, row) => (readers[pass] ?? []).map((index) => ({ index, row })));
  const tokens = members.reduce((n, { index }) => n + predictedTokens(itemAt(sequences, index)), 0);
  const size = Math.ceil(tokens / HEAD_BUCKET) * HEAD_BUCKET;
  const [positions, targets] = [new Int32Array(size), new Int32Array(size)];
  const spans: { index: number; from: number; to: number }[] = [];
  let at = 0;
  for (const { index, row } of members) {
    const { ids, scoredFrom } = itemAt(sequences, index);
    const from = at;
    for (let t = scoredFrom; t < ids.length; t++) {
      positions[at] = row * batch.shape.length + t - 1;
      targets[at++] = i32At(ids, t);
    }
    spans.push({ index, from, to: at });
  }
  return { positions, targets, spans };
}

/** x (batch, length, hidden) → (rows, hidden) */
function gatherRows(x: Tensor, rows: Int32Array): Tensor {
  const width = dim(x.shape, -1);
  const from = float32Data(x);
  const data = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) data.set(from.subarray(row * width, (row + 1) * width), i * width);
  return { dtype: "fp32", shape: [rows.length, width], data };
}
