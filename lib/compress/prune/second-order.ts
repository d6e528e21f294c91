/**
 * @file The statistics of every half-layer for second-order estimates of a cut, from one forward
 * and backward pass.
 *
 *   H = E[x xᵀ / ‖r‖²]   x the input of the output or down projection, r the stream entering the half
 *   F = E[g gᵀ ‖r‖²]     g = ∂ Σ_s NLL_s / ∂ (what that projection adds to the stream), the empirical Fisher information
 *
 * A change δ of the half's output, in units of ‖r‖, costs ½ E[δᵀ F δ] nats per token. Norms divide
 * by ‖r‖; in its units the few positions with a huge stream count like the others. Positions that
 * predict nothing are ignored.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { DecoderWeights } from "../../decoder/weights.ts";
import { dim, f32At } from "../../elements.ts";
import type { Engine } from "../../engines/engine.ts";
import { padIntoBatches, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { float32Data, type Tensor } from "../../mil/tensor.ts";
import { Backward } from "../../train/backward.ts";
import type { BlockHalf } from "../../train/half-gradients.ts";
import { textObjective } from "../../train/training-program.ts";
import { MomentSums } from "./moments.ts";

export interface HalfMoments {
  readonly inputs: Float64Array; // H (columns, columns)
  readonly gradients: Float64Array; // F (hidden, hidden)
}

/** By layer. */
export async function secondOrder(
  engine: Engine,
  weights: DecoderWeights,
  sequences: readonly TokenSequence[],
  options: {
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
    tokensPerBatch?: number | undefined;
  } = {},
): Promise<Record<BlockHalf, HalfMoments>[]> {
  const sums = new Map<string, Float64Array>();
  const moments = new MomentSums(engine);
  let counted: Float32Array = new Float32Array();
  const sizes = new Map<string, Float32Array>();
  const backward = new Backward(engine, weights, {
    trained: new Set(),
    onStream: async (l, half, g) => {
      const key = `F ${half} ${l}`;
      const size = sizes.get(`${half} ${l}`) ?? counted;
      const weight = counted.map((c, t) => c * f32At(size, t));
      sums.set(key, await moments.add(sums.get(key) ?? null, g, g, weight));
    },
  });
  const batches = padIntoBatches(sequences, options.tokensPerBatch ?? 1024);
  let tokens = 0;
  for (const [done, batch] of batches.entries()) {
    throwIfCancelled(options.signal);
    counted = new Float32Array(batch.targets.length);
    for (const [row, index] of batch.rows.entries()) {
      const s = sequences[index];
      if (!s) continue;
      const { from, to } = scoredRange(s, row, batch.shape.length);
      counted.fill(1, from, to);
      tokens += to - from;
    }
    const tape = await backward.forward(batch.ids, batch.shape, async (l, half, x, entering) => {
      const key = `H ${half} ${l}`;
      const size = squaredSizes(entering);
      sizes.set(`${half} ${l}`, size);
      const weight = counted.map((c, t) => c / f32At(size, t));
      sums.set(key, await moments.add(sums.get(key) ?? null, x, x, weight));
    });
    const { dx } = await backward.head(tape, batch.targets, counted, textObjective, null, () => {});
    throwIfCancelled(options.signal);
    await backward.back(tape, dx, () => {});
    options.onProgress?.(done + 1, batches.length);
  }
  await backward.dispose();
  await moments.dispose();
  const mean = (key: string): Float64Array => (sums.get(key) ?? new Float64Array()).map((v) => v / Math.max(1, tokens));
  return weights.arch.layers.map((_, l) => ({
    attention: { inputs: mean(`H attention ${l}`), gradients: mean(`F attention ${l}`) },
    mlp: { inputs: mean(`H mlp ${l}`), gradients: mean(`F mlp ${l}`) },
  }));
}

/** ‖r‖² of every position of a stream (…, hidden), always above 0. */
export function squaredSizes(stream: Tensor): Float32Array {
  const width = dim(stream.shape, -1);
  const values = float32Data(stream);
  return Float32Array.from({ length: values.length / width }, (_, t) => {
    let sum = 0;
    for (let c = t * width; c < (t + 1) * width; c++) sum += f32At(values, c) ** 2;
    return Math.max(sum, 1e-12);
  });
}
