/**
 * @file The base model's state on a text, from which a changed model can continue: the stream at
 * every layer boundary, the logits and the loss of every sequence.
 *
 * A change in layer ℓ re-runs only layers ≥ ℓ, from `stream(batch, ℓ)`. Differences are paired by sequence:
 *
 *   Δ_s = NLL_s(changed) − NLL_s(base),  KL_s = mean_t Σ_v p_base (log p_base − log p)
 *
 * in nats per token. A batch is run on first use, so the first answer waits only for the first
 * batch. Streams and logits beyond a budget of bytes are not kept; they are recomputed from the
 * nearest boundary that was kept.
 */

import { throwIfCancelled } from "../cancel.ts";
import type { BaseLogits, DecoderRunner } from "../decoder/runner.ts";
import type { Stream } from "../decoder/stream.ts";
import type { VocabularyPart } from "../decoder/weights.ts";
import { dim, f64At, itemAt, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { growingBatches } from "./growing-batches.ts";
import { type PaddedBatch, padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "./sequences.ts";

export interface PrefixOptions {
  readonly tokensPerBatch?: number | undefined;
  /** Tokens of the first sequences to be run; the batches grow from there. Absent: batches by length, all of one size. */
  readonly firstTokens?: number | undefined;
  /** Of streams, and again of logits. */
  readonly budgetBytes?: number | undefined;
  /** False if the base's logits are not needed for comparison. */
  readonly keepsLogits?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One sequence beside the base, per token. */
export interface SequenceComparison {
  /** Change of loss in nats. */
  readonly loss: number;
  /** From base to changed, in nats. */
  readonly kl: number;
  /** Share of positions where both choose the same token. */
  readonly agreement: number;
}

const BUDGET_BYTES = 512 * 2 ** 20;

export class PrefixStreams {
  readonly runner: DecoderRunner;
  readonly sequences: readonly TokenSequence[];
  readonly batches: readonly PaddedBatch[];
  /** How many of them hold the sequences that are run first. */
  readonly firstBatches: number;
  /** Nats per token, by sequence; NaN until its batch is prepared. */
  readonly baseNll: Float64Array;
  /** Layers between kept boundaries. */
  private readonly stride: number;
  private readonly kept: Map<string, Stream> = new Map();
  private readonly logits: Map<number, Tensor> = new Map();
  private readonly prepared: Map<number, Promise<void>> = new Map();
  private readonly logitBatches: ReadonlySet<number>;

  private constructor(runner: DecoderRunner, sequences: readonly TokenSequence[], options: PrefixOptions) {
    const { arch } = runner.weights;
    const { budgetBytes = BUDGET_BYTES, firstTokens, keepsLogits = true } = options;
    const tokensPerBatch = options.tokensPerBatch ?? runner.engine.tokensPerCall;
    this.runner = runner;
    this.sequences = sequences;
    const groups =
      firstTokens === undefined
        ? [padIntoBatches(sequences, tokensPerBatch)]
        : growingBatches(sequences, firstTokens, tokensPerBatch);
    this.batches = groups.flat();
    this.firstBatches = groups[0]?.length ?? 0;
    this.baseNll = new Float64Array(sequences.length).fill(Number.NaN);
    const positions = (b: PaddedBatch): number => b.shape.batch * b.shape.length;
    const boundaryBytes = 4 * this.batches.reduce((n, b) => n + positions(b), 0) * arch.hidden;
    this.stride = Math.max(1, Math.ceil((boundaryBytes * (arch.layers.length + 1)) / budgetBytes));
    // The first batches answer first, so theirs are kept.
    let left = budgetBytes;
    this.logitBatches = new Set(
      this.batches.flatMap((batch, b) => {
        left -= 4 * positions(batch) * arch.vocab;
        return keepsLogits && left >= 0 ? [b] : [];
      }),
    );
  }

  /** Nothing is run until it is asked for. */
  static open(
    runner: DecoderRunner,
    sequences: readonly TokenSequence[],
    options: Omit<PrefixOptions, "signal"> = {},
  ): PrefixStreams {
    return new PrefixStreams(runner, sequences, options);
  }

  /** All batches are run now. */
  static async compute(
    runner: DecoderRunner,
    sequences: readonly TokenSequence[],
    options: PrefixOptions = {},
  ): Promise<PrefixStreams> {
    const found = new PrefixStreams(runner, sequences, options);
    for (const b of found.batches.keys()) {
      throwIfCancelled(options.signal);
      await found.prepare(b);
    }
    return found;
  }

  /** The base losses of a batch, and its logits where they are kept; run once. */
  prepare(b: number): Promise<void> {
    let found = this.prepared.get(b);
    if (!found) {
      found = this.run(b);
      this.prepared.set(b, found);
      found.catch(() => this.prepared.delete(b));
    }
    return found;
  }

  private async run(b: number): Promise<void> {
    const batch = itemAt(this.batches, b);
    const x = await this.stream(b, this.layers);
    const nll = await this.runner.nll(x, batch.targets);
    for (const [row, index] of batch.rows.entries()) {
      const mean = this.meanOver(nll, b, row);
      if (!Number.isFinite(mean))
        throw new EspalierError("numeric/non-finite", `the loss of ${this.sequences[index]?.id} is ${mean}`);
      this.baseNll[index] = mean;
    }
    if (this.logitBatches.has(b)) this.logits.set(b, await this.runner.logits(x));
  }

  private get layers(): number {
    return this.runner.weights.arch.layers.length;
  }

  /** The stream entering `layer`, or leaving the last one. */
  async stream(batch: number, layer: number): Promise<Stream> {
    let from = layer;
    while (from > 0 && !this.kept.has(`${batch} ${from}`)) from--;
    const { ids, shape } = itemAt(this.batches, batch);
    let x = this.kept.get(`${batch} ${from}`);
    if (!x) {
      x = await this.runner.embed(ids, shape);
      this.keep(batch, 0, x);
    }
    for (let l = from; l < layer; l++) {
      x = await this.runner.block(l, x);
      this.keep(batch, l + 1, x);
    }
    return x;
  }

  private keep(batch: number, layer: number, x: Stream): void {
    if (layer % this.stride === 0) this.kept.set(`${batch} ${layer}`, x);
  }

  /** Forgets the streams and logits of a batch; its losses stay. */
  release(batch: number): void {
    for (const key of this.kept.keys()) if (key.startsWith(`${batch} `)) this.kept.delete(key);
    this.logits.delete(batch);
  }

  /** Sequences of a batch whose changed stream leaves the last layer as `x`; the head is that of `runner`. */
  async compare(batch: number, x: Stream, runner: DecoderRunner = this.runner): Promise<SequenceComparison[]> {
    await this.prepare(batch);
    const { targets, rows } = itemAt(this.batches, batch);
    const kept = this.logits.get(batch);
    const last = kept ? null : await this.stream(batch, this.layers);
    const baseLogits: BaseLogits = async (from, count, part) => {
      if (last) return this.runner.logits(last, from, count, part);
      const width = runner.weights.arch.vocab;
      const rows = f32([count, width], float32Data(kept as Tensor).subarray(from * width, (from + count) * width));
      return part ? columnsOf(rows, part) : rows;
    };
    const { nll, kl, agree } = await runner.compare(x, targets, baseLogits);
    return rows.map((index, row) => ({
      loss: this.meanOver(nll, batch, row) - f64At(this.baseNll, index),
      // Rounding may leave a divergence a hair below 0.
      kl: Math.max(0, this.meanOver(kl, batch, row)),
      agreement: this.meanOver(agree, batch, row),
    }));
  }

  /** The mean over the predicted positions of one row of a batch. */
  meanOver(values: ArrayLike<number>, batch: number, row: number): number {
    const { rows, shape } = itemAt(this.batches, batch);
    const s = itemAt(this.sequences, numberAt(rows, row));
    const { from, to } = scoredRange(s, row, shape.length);
    let total = 0;
    for (let i = from; i < to; i++) total += numberAt(values, i);
    return total / predictedTokens(s);
  }
}

/** Some columns of t (rows, vocab). */
function columnsOf(t: Tensor, { from, to }: VocabularyPart): Tensor {
  const [rows, vocab] = [dim(t.shape, 0), dim(t.shape, 1)];
  const [data, out] = [float32Data(t), new Float32Array(rows * (to - from))];
  for (let r = 0; r < rows; r++) out.set(data.subarray(r * vocab + from, r * vocab + to), r * (to - from));
  return f32([rows, to - from], out);
}
