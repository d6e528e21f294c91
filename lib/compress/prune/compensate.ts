/**
 * @file Compensates for a cut: refits the output and down projections of the pruned model, layer by
 * layer.
 *
 * References: Frantar and Alistarh, "SparseGPT" (2023) for fitting to the inputs that occur in the
 * pruned model itself; Ashkboos et al., "SliceGPT" (2024) and An et al., "FLAP" (2023) for
 * compensation without training. In the order of the layers, with x the input of a projection in
 * the pruned model, and t the output that would restore the original's stream:
 *
 *   W ← W₀ + (C − W₀ H)(H + λ diag H)⁻¹,   H = Σ w x xᵀ,  C = Σ w t xᵀ,  w = 1 / ‖stream‖²
 *
 * with t divided by the layer's residual scale where it has one, which is the least squares fit, held near the sliced W₀ by λ. Later projections also correct
 * earlier cuts, whole layers included, as far as they can. With norms after the projection (Gemma),
 * t is the output of the original's projection. Not included: biases, which the formats of released
 * models have no place for.
 */

import { throwIfCancelled } from "../../cancel.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { layerName } from "../../decoder/sequence-programs.ts";
import type { Stream } from "../../decoder/stream.ts";
import { type DecoderWeights, weight } from "../../decoder/weights.ts";
import { f32At, f64At, numberAt } from "../../elements.ts";
import type { Engine } from "../../engines/engine.ts";
import { padIntoBatches, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { lastInput } from "../../train/backward.ts";
import { MomentSums } from "./moments.ts";
import { Products, transposed } from "./products.ts";
import { squaredSizes } from "./second-order.ts";

export interface CompensationOptions {
  /** λ, a share of the diagonal. */
  readonly ridge?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const RIDGE = 0.5;

/**
 * `pruned` with its output and down projections fitted to `original`; `kept` gives the original layer of each of its layers.
 * Other tensors are shared.
 */
export async function compensate(
  engine: Engine,
  original: DecoderWeights,
  pruned: DecoderWeights,
  kept: readonly number[],
  sequences: readonly TokenSequence[],
  options: CompensationOptions = {},
): Promise<DecoderWeights> {
  const tensors = new Map<string, Tensor>(pruned.tensors);
  const fitted: DecoderWeights = { ...pruned, tensors };
  const [from, to] = [new DecoderRunner(engine, original), new DecoderRunner(engine, fitted)];
  const [moments, products] = [new MomentSums(engine), new Products(engine)];
  const batches = padIntoBatches(sequences);
  const counted = batches.map((batch) => {
    const own = new Float32Array(batch.targets.length);
    for (const [row, index] of batch.rows.entries()) {
      const s = sequences[index];
      if (!s) continue;
      const range = scoredRange(s, row, batch.shape.length);
      own.fill(1, range.from, range.to);
    }
    return own;
  });
  const truth: Stream[] = [];
  for (const batch of batches) truth.push(await from.embed(batch.ids, batch.shape));
  const streams = [...truth];
  let next = 0;
  for (const [l, layer] of pruned.arch.layers.entries()) {
    const source = numberAt(kept, l);
    // Removed layers still run in the original; the pruned model skips them.
    for (; next < source; next++) for (const [b, stream] of truth.entries()) truth[b] = await from.block(next, stream);
    for (const half of ["attention", "mlp"] as const) {
      throwIfCancelled(options.signal);
      const tap = lastInput[half];
      const name = layerName(l, half === "attention" ? "output" : "down");
      let h: Float64Array | null = null;
      let c: Float64Array | null = null;
      for (const b of batches.keys()) {
        throwIfCancelled(options.signal);
        const wanted = await from.part(half, source, truth[b] as Stream, { taps: [tap] });
        const here = await to.part(half, l, streams[b] as Stream, { taps: [tap] });
        const goal = layer.outputNorms
          ? await projected(
              products,
              wanted[tap],
              weight(original, layerName(source, half === "attention" ? "output" : "down")),
            )
          : difference(wanted.stream.x, (streams[b] as Stream).x, 1 / layer.residualScale);
        const size = squaredSizes(wanted.stream.x);
        const weights = (counted[b] as Float32Array).map((v, t) => v / f32At(size, t));
        h = await moments.add(h, here[tap], here[tap], weights);
        c = await moments.add(c, goal, here[tap], weights);
        truth[b] = wanted.stream;
      }
      const start = weight(pruned, name);
      if (h && c)
        tensors.set(
          name,
          f32(start.shape, await leastSquares(products, h, c, float32Data(start), options.ridge ?? RIDGE)),
        );
      for (const b of batches.keys()) streams[b] = (await to.part(half, l, streams[b] as Stream)).stream;
    }
    next = source + 1;
    options.onProgress?.(l + 1, pruned.arch.layers.length);
  }
  await from.dispose();
  await to.dispose();
  await moments.dispose();
  await products.dispose();
  return fitted;
}

/** W₀ + (C − W₀ H)(H + λ diag H)⁻¹, (outputs, n). `h` (n, n), `c` (outputs, n). */
export async function leastSquares(
  products: Products,
  h: Float64Array,
  c: Float64Array,
  start: Float32Array,
  ridge: number,
): Promise<Float32Array> {
  const n = Math.sqrt(h.length);
  const outputs = c.length / n;
  const size = Float64Array.from({ length: n }, (_, i) => Math.sqrt(f64At(h, i * n + i)) || 1);
  // Inputs scaled to unit size, which does not change W · x and keeps the system well conditioned.
  const unit = h.map((v, i) => v / (f64At(size, Math.floor(i / n)) * f64At(size, i % n)));
  const scaled = start.map((w, i) => w * f64At(size, i % n));
  const before = await products.product(scaled, Float32Array.from(unit), outputs, n, n);
  const damped = Float32Array.from(unit, (v, i) => (i % (n + 1) === 0 ? v + ridge : v));
  const inverse = await products.inverse(damped, n);
  // Solves for C − W₀ H, then once more for the residual of the single-precision solution.
  let rest = Float32Array.from(c, (v, i) => v / f64At(size, i % n) - f32At(before, i));
  const change = new Float32Array(outputs * n);
  for (let pass = 0; pass < 2; pass++) {
    const step = await products.product(rest, inverse, outputs, n, n);
    const undone = await products.product(step, damped, outputs, n, n);
    for (let i = 0; i < step.length; i++) change[i] = f32At(change, i) + f32At(step, i);
    rest = rest.map((v, i) => v - f32At(undone, i));
  }
  return start.map((w, i) => w + f32At(change, i) / f64At(size, i % n));
}

/** (a − b) · factor. */
function difference(a: Tensor, b: Tensor, factor: number): Tensor {
  const [x, y] = [float32Data(a), float32Data(b)];
  return f32(
    a.shape,
    x.map((v, i) => (v - f32At(y, i)) * factor),
  );
}

/** x (…, n) · Wᵀ. */
async function projected(products: Products, x: Tensor, matrix: Tensor): Promise<Tensor> {
  const [outputs, n] = matrix.shape as [number, number];
  const rows = x.data.length / n;
  const wt = transposed(float32Data(matrix), outputs, n);
  return f32([rows, outputs], await products.product(float32Data(x), wt, rows, n, outputs));
}
