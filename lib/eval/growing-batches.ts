/**
 * @file Sequences as padded batches for an early answer that becomes more precise: few sequences
 * first, then twice as many each time.
 *
 * Groups follow the order of the text, so that each is a fair sample; batches sorted by length over
 * the whole text would begin with its shortest documents. The first group has at least two
 * sequences, because one has no standard error.
 */
import { itemAt } from "../elements.ts";
import { type PaddedBatch, padIntoBatches, predictedTokens, type TokenSequence } from "./sequences.ts";

/** The first group has at most about `firstTokens` predicted tokens; a text of no more than that is one group. */
export function growingBatches(
  sequences: readonly TokenSequence[],
  firstTokens: number,
  tokensPerBatch: number,
): PaddedBatch[][] {
  const groups: PaddedBatch[][] = [];
  let budget = firstTokens;
  for (let from = 0; from < sequences.length; ) {
    let to = from;
    let tokens = 0;
    while (to < sequences.length) {
      tokens += predictedTokens(itemAt(sequences, to));
      if (to >= from + 2 && tokens > budget) break;
      to++;
    }
    // A single remaining sequence would need its own batch and program.
    if (sequences.length - to === 1) to++;
    const first = from;
    const group = padIntoBatches(sequences.slice(from, to), tokensPerBatch);
    groups.push(group.map((batch) => ({ ...batch, rows: batch.rows.map((i) => first + i) })));
    from = to;
    budget *= 2;
  }
  return groups;
}
