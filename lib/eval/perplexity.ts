/**
 * @file Loss of a decoder on token sequences, alone or beside a base model, kept per sequence.
 *
 *   NLL = −Σ log p(token | before);  perplexity = exp(NLL / tokens);  bits per byte = NLL / (ln 2 · bytes)
 *   KL  = Σ_v p_base(v) log(p_base(v) / p(v)), mean over positions
 */

import { throwIfCancelled } from "../cancel.ts";
import type { DecoderRunner } from "../decoder/runner.ts";
import { itemAt, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { padIntoBatches, predictedTokens, scoredRange, type TokenSequence, tokensOf } from "./sequences.ts";

export interface SequenceLoss {
  readonly id: string;
  readonly tokens: number;
  readonly sizeBytes: number;
  /** Summed over the predicted tokens, in nats. */
  readonly nll: number;
  /** The same of the base; null without one. */
  readonly baseNll: number | null;
  /** Positions where the most likely token is the right one; null when a base was compared. */
  readonly correct: number | null;
  /** Summed KL(base ‖ model) in nats; null without a base. */
  readonly kl: number | null;
  /** Positions where base and model choose the same token; null without a base. */
  readonly agreed: number | null;
}

export interface LossOptions {
  readonly base?: DecoderRunner | undefined;
  readonly tokensPerBatch?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after every batch with the predicted tokens done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** In the order of `sequences`. Throws `numeric/non-finite` naming the sequence. */
export async function sequenceLosses(
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  options: LossOptions = {},
): Promise<SequenceLoss[]> {
  const results = new Array<SequenceLoss>(sequences.length);
  const total = tokensOf(sequences);
  let done = 0;
  for (const batch of padIntoBatches(sequences, options.tokensPerBatch ?? runner.tokensPerBatch)) {
    throwIfCancelled(options.signal);
    const stream = async (r: DecoderRunner) => r.blocks(await r.embed(batch.ids, batch.shape));
    const x = await stream(runner);
    const measured = options.base
      ? await compareWith(options.base, runner, x, batch.targets, await stream(options.base))
      : null;
    const plain = measured ? null : await runner.loss(x, batch.targets);
    const nll = measured?.nll ?? plain?.nll ?? new Float32Array();
    for (const [row, index] of batch.rows.entries()) {
      const s = itemAt(sequences, index);
      const { from, to } = scoredRange(s, row, batch.shape.length);
      const result: SequenceLoss = {
        id: s.id,
        tokens: predictedTokens(s),
        sizeBytes: s.sizeBytes,
        nll: sum(nll, from, to),
        baseNll: measured ? sum(measured.baseNll, from, to) : null,
        correct: plain ? matches(plain.top1, batch.targets, from, to) : null,
        kl: measured ? sum(measured.kl, from, to) : null,
        agreed: measured ? sum(measured.agree, from, to) : null,
      };
      if (!Number.isFinite(result.nll)) {
        throw new EspalierError("numeric/non-finite", `the loss of ${s.id} is ${result.nll}`, {
          hint: "The weights hold values the model cannot compute with; check the checkpoint.",
        });
      }
      results[index] = result;
      done += result.tokens;
    }
    options.onProgress?.(done, total);
  }
  return results;
}

async function compareWith(
  base: DecoderRunner,
  runner: DecoderRunner,
  x: Awaited<ReturnType<DecoderRunner["blocks"]>>,
  targets: Int32Array,
  baseStream: Awaited<ReturnType<DecoderRunner["blocks"]>>,
) {
  return runner.compare(x, targets, (from, rows, part) => base.logits(baseStream, from, rows, part));
}

function sum(values: ArrayLike<number>, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i++) total += numberAt(values, i);
  return total;
}

function matches(a: Int32Array, b: Int32Array, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (a[i] === b[i]) count++;
  return count;
}
