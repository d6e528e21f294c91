/**
 * @file The diagonal Fisher information of every weight: how much an error in it raises the loss.
 *
 * Reference: Kim et al., "SqueezeLLM: Dense-and-Sparse Quantization" (2023), which weights k-means by it.
 *
 *   F_w = mean_s (∂NLL_s / ∂w)²,  NLL_s in nats per token
 *
 * One forward and backward pass per sequence, because gradients are squared before they are
 * averaged. Not included: gradients of single tokens, which would be sharper but cost one pass per
 * token.
 */

import { throwIfCancelled } from "../../cancel.ts";
import { isTrained } from "../../decoder/architecture.ts";
import { type DecoderWeights, perLayerRows, weightList } from "../../decoder/weights.ts";
import { f32At, itemAt, named, numberAt } from "../../elements.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { f32, float32Data, i32 } from "../../mil/tensor.ts";
import { textObjective, trainingProgram } from "../../train/training-program.ts";

/** Sums by flat name of a matrix, each (rows, columns). */
export async function diagonalFisher(
  engine: Engine,
  weights: DecoderWeights,
  sequences: readonly TokenSequence[],
  options: {
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<Map<string, Float32Array>> {
  const wanted = weightList(weights.arch).filter((w) => w.shape.length > 1 && isTrained(w.role));
  const fisher = new Map(wanted.map((w) => [w.name, new Float32Array(w.shape.reduce((n, d) => n * d, 1))]));
  const compiled = new Map<number, Executable>();
  let done = 0;
  // Batches of one: each sequence's gradient must be squared before it is summed.
  for (const batch of padIntoBatches(sequences, 1)) {
    throwIfCancelled(options.signal);
    const { length } = batch.shape;
    const exe =
      compiled.get(length) ?? (await engine.compile(trainingProgram(weights.arch, batch.shape, textObjective)));
    compiled.set(length, exe);
    const s = itemAt(sequences, numberAt(batch.rows, 0));
    const { from, to } = scoredRange(s, 0, length);
    const tokenWeights = new Float32Array(length).fill(0).fill(1 / predictedTokens(s), from, to);
    const out = await exe.run({
      ids: i32([1, length], batch.ids),
      targets: i32([length], batch.targets),
      tokenWeights: f32([length], tokenWeights),
      ...Object.fromEntries(weights.tensors),
      ...(await perLayerRows(weights, batch.ids, 1)),
    });
    for (const [name, sums] of fisher) {
      const gradient = float32Data(named(out, `d_${name}`));
      for (let i = 0; i < sums.length; i++) sums[i] = f32At(sums, i) + f32At(gradient, i) ** 2 / sequences.length;
    }
    options.onProgress?.(++done, sequences.length);
  }
  for (const exe of compiled.values()) await exe.dispose();
  return fisher;
}

/**
 * Fisher information as weights of k-means: the largest is 1, and weights that the text never
 * touched get the smallest nonzero value, so that none is free to move anywhere.
 */
export function asClusterWeights(fisher: Float32Array): Float32Array {
  let most = 0;
  for (const v of fisher) if (v > most) most = v;
  if (!(most > 0)) return new Float32Array(fisher.length).fill(1);
  let least = 1;
  for (const v of fisher) if (v > 0 && v / most < least) least = v / most;
  least = Math.max(1e-12, least);
  return fisher.map((v) => Math.max(least, v / most));
}
