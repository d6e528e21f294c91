/**
 * @file A base model's results on a text, kept so that each changed model can be compared with it
 * in one pass.
 *
 * We keep the stream after the last layer, (positions, hidden), and the loss; the base's logits are
 * recomputed from it for the rows the head processes. Per sequence, as `sequenceLosses` gives them:
 *
 *   NLL = −Σ log p(token | before);  KL = Σ_t Σ_v p_base (log p_base − log p)
 */

import { throwIfCancelled } from "../cancel.ts";
import type { DecoderRunner } from "../decoder/runner.ts";
import type { Stream } from "../decoder/stream.ts";
import { itemAt, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import type { SequenceLoss } from "./perplexity.ts";
import { type PaddedBatch, padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "./sequences.ts";

export interface BesideBaseOptions {
  readonly tokensPerBatch?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After every batch, with the share of the text done. */
  readonly onShare?: ((share: number) => void) | undefined;
}

export class BesideBase {
  readonly sequences: readonly TokenSequence[];
  /** Of the base itself; what compares it is null. Empty if only its streams were requested. */
  readonly losses: readonly SequenceLoss[];
  private readonly base: DecoderRunner;
  private readonly batches: readonly PaddedBatch[];
  private readonly last: readonly Stream[];

  private constructor(
    base: DecoderRunner,
    sequences: readonly TokenSequence[],
    batches: readonly PaddedBatch[],
    last: readonly Stream[],
    losses: readonly SequenceLoss[],
  ) {
    this.base = base;
    this.sequences = sequences;
    this.batches = batches;
    this.last = last;
    this.losses = losses;
  }

  /** One pass of the base; afterwards all its weights except the head's may be freed. */
  static async streams(
    base: DecoderRunner,
    sequences: readonly TokenSequence[],
    options: BesideBaseOptions = {},
  ): Promise<BesideBase> {
    const batches = padIntoBatches(sequences, options.tokensPerBatch ?? base.tokensPerBatch);
    const last: Stream[] = [];
    for (const batch of batches) {
      last.push(await lastStream(base, batch, options.signal));
      options.onShare?.(last.length / batches.length);
    }
    return new BesideBase(base.headAlone(), sequences, batches, last, []);
  }

  /** As `streams`, with the losses of the base itself. Throws `numeric/non-finite` naming the sequence. */
  static async compute(
    base: DecoderRunner,
    sequences: readonly TokenSequence[],
    options: BesideBaseOptions = {},
  ): Promise<BesideBase> {
    const batches = padIntoBatches(sequences, options.tokensPerBatch ?? base.tokensPerBatch);
    const last: Stream[] = [];
    const losses = new Array<SequenceLoss>(sequences.length);
    for (const [b, batch] of batches.entries()) {
      const stream = await lastStream(base, batch, options.signal);
      last.push(stream);
      const { nll, top1 } = await base.loss(stream, batch.targets);
      take(losses, sequences, batch, nll, (from, to) => ({
        correct: count(from, to, (i) => top1[i] === batch.targets[i]),
        baseNll: null,
        kl: null,
        agreed: null,
      }));
      options.onShare?.((b + 1) / batches.length);
    }
    return new BesideBase(base.headAlone(), sequences, batches, last, losses);
  }

  /** One pass of a changed model, in the order of the sequences. Throws `numeric/non-finite` naming the sequence. */
  async compare(changed: DecoderRunner, options: BesideBaseOptions = {}): Promise<SequenceLoss[]> {
    const losses = new Array<SequenceLoss>(this.sequences.length);
    for (const [b, batch] of this.batches.entries()) {
      throwIfCancelled(options.signal);
      const x = await changed.blocks(await changed.embed(batch.ids, batch.shape));
      const { nll, baseNll, kl, agree } = await changed.compare(x, batch.targets, (from, rows, part) =>
        this.base.logits(itemAt(this.last, b), from, rows, part),
      );
      take(losses, this.sequences, batch, nll, (from, to) => ({
        correct: null,
        baseNll: sum(baseNll, from, to),
        // Rounding may leave a divergence a hair below 0.
        kl: Math.max(0, sum(kl, from, to)),
        agreed: sum(agree, from, to),
      }));
      options.onShare?.((b + 1) / this.batches.length);
    }
    return losses;
  }
}

/** The stream after the last layer, without the data that later layers read from earlier ones. */
async function lastStream(base: DecoderRunner, batch: PaddedBatch, signal: AbortSignal | undefined): Promise<Stream> {
  throwIfCancelled(signal);
  const { x } = await base.blocks(await base.embed(batch.ids, batch.shape));
  return { x, perLayer: [], shared: new Map() };
}

function take(
  losses: SequenceLoss[],
  sequences: readonly TokenSequence[],
  batch: PaddedBatch,
  nll: ArrayLike<number>,
  rest: (from: number, to: number) => Omit<SequenceLoss, "id" | "tokens" | "sizeBytes" | "nll">,
): void {
  for (const [row, index] of batch.rows.entries()) {
    const s = itemAt(sequences, index);
    const { from, to } = scoredRange(s, row, batch.shape.length);
    const total = sum(nll, from, to);
    if (!Number.isFinite(total)) {
      throw new EspalierError("numeric/non-finite", `the loss of ${s.id} is ${total}`, {
        hint: "The weights hold values the model cannot compute with; check the checkpoint.",
      });
    }
    losses[index] = { id: s.id, tokens: predictedTokens(s), sizeBytes: s.sizeBytes, nll: total, ...rest(from, to) };
  }
}

function sum(values: ArrayLike<number>, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i++) total += numberAt(values, i);
  return total;
}

function count(from: number, to: number, holds: (i: number) => boolean): number {
  let found = 0;
  for (let i = from; i < to; i++) if (holds(i)) found++;
  return found;
}
