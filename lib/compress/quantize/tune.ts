/**
 * @file Tunes the tables, scales and norms of a compressed model so that it predicts what the
 * original predicts. Codes do not change.
 *
 * References: Malinovskii et al., "PV-Tuning" (2024), its continuous half; Chen et al., "EfficientQAT" (2024), its second phase.
 *
 *   loss    mean over positions of KL(original ‖ compressed)
 *   ŵ       linear in its tables or scales p for fixed codes (`weights/linear.ts`), so ∂loss/∂p = Σ_i ∂loss/∂ŵ_i · ∂ŵ_i/∂p
 *   step    AdamW without decay on p / rms(p) of each tensor, so that one rate is the same relative change everywhere
 *
 * The only target is the original's logits, so text written by the model itself is enough. A table
 * shared by 16 rows serves thousands of weights, so some ten thousand tokens determine it. Values
 * are rounded to fp16 once, at the end. Not included: changing codes (the V of PV-tuning), offsets,
 * the row scales of a palette.
 */

import { throwIfCancelled } from "../../cancel.ts";
import { isTrained } from "../../decoder/architecture.ts";
import type { DecoderRunner } from "../../decoder/runner.ts";
import { type DecoderWeights, weight, weightList } from "../../decoder/weights.ts";
import { f32At, itemAt, under } from "../../elements.ts";
import type { Engine } from "../../engines/engine.ts";
import { EspalierError } from "../../errors.ts";
import { type PaddedBatch, padIntoBatches, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { roundToFloat16 } from "../../float16.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { type AdamWOptions, adamWStep, newAdamWState } from "../../train/adamw.ts";
import { Backward } from "../../train/backward.ts";
import { learningRate } from "../../train/schedule.ts";
import type { Objective } from "../../train/training-program.ts";
import { decodeWeight } from "../../weights/decode.ts";
import { type LinearWeight, linearWeight } from "../../weights/linear.ts";
import type { CompressedWeight } from "../../weights/weight.ts";

export interface TuneOptions {
  /** Passes over the sequences. */
  readonly passes: number;
  /** The largest step, as a share of the root mean square of a tensor's parameters. */
  readonly peakRate?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with the divergence of each batch before its step, nats per token. */
  readonly onProgress?: ((done: number, total: number, divergence: number) => void) | undefined;
}

const PEAK_RATE = 1e-3;
const TOKENS_A_STEP = 512;
const adamW: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-10, weightDecay: 0, clipNorm: null };
const objective: Objective = { crossEntropy: 0, distillation: 1, temperature: 1 };

/** Parameters of one tensor over their root mean square. */
interface Tuned {
  readonly name: string;
  readonly linear: LinearWeight;
  readonly scale: number;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
}

/**
 * `stored`, the compressed matrices of `weights` by flat name, and its norms, tuned on `sequences`
 * towards the predictions of `original`. Throws `numeric/non-finite` when the divergence is not
 * finite, `run/cancelled`.
 */
export async function tune(
  engine: Engine,
  weights: DecoderWeights,
  stored: ReadonlyMap<string, CompressedWeight>,
  original: DecoderRunner,
  sequences: readonly TokenSequence[],
  options: TuneOptions,
): Promise<Map<string, CompressedWeight>> {
  const tensors = new Map<string, Tensor>(weights.tensors);
  const tuned = new Map<string, Tuned>();
  for (const { name, role, shape } of weightList(weights.arch)) {
    const w = stored.get(name) ?? (shape.length === 1 ? asStored(shape, weight(weights, name)) : undefined);
    if (!w) continue;
    // Tables that are only looked up by row are not uploaded.
    if (!weights.tables.has(name)) tensors.set(name, f32(shape, decodeWeight(w)));
    const linear = isTrained(role) ? linearWeight(w) : null;
    if (linear) tuned.set(name, atUnitSize(name, linear));
  }
  const backward = new Backward(engine, { ...weights, tensors }, { trained: new Set(tuned.keys()) });
  const onGradient = (name: string, gradient: Float32Array): void => {
    const t = tuned.get(name);
    t?.linear.gather(gradient, t.gradient);
  };
  const state = newAdamWState();
  const batches = padIntoBatches(sequences, TOKENS_A_STEP);
  const total = options.passes * batches.length;
  const schedule = {
    peak: options.peakRate ?? PEAK_RATE,
    warmupSteps: Math.ceil(total / 10),
    totalSteps: total,
    finalShare: 0.05,
  };
  for (let step = 0; step < total; step++) {
    throwIfCancelled(options.signal);
    const batch = itemAt(batches, step % batches.length);
    const said = await original.blocks(await original.embed(batch.ids, batch.shape));
    const tape = await backward.forward(batch.ids, batch.shape);
    const { dx, divergence } = await backward.head(
      tape,
      batch.targets,
      evenly(batch, sequences),
      objective,
      { kind: "logits", logits: (from, rows) => original.logits(said, from, rows) },
      onGradient,
    );
    if (divergence === null || !Number.isFinite(divergence)) throw notANumber(divergence, step);
    await backward.back(tape, dx, onGradient);
    for (const { gradient, scale } of tuned.values())
      for (let i = 0; i < gradient.length; i++) gradient[i] = f32At(gradient, i) * scale;
    const parameters = [...tuned.values()].map((t) => ({ ...t, decay: false }));
    adamWStep(parameters, state, learningRate(schedule, step + 1), adamW);
    for (const { name, linear, scale, values, gradient } of tuned.values()) {
      linear.spread(scaled(values, scale), float32Data(under(tensors, name)));
      gradient.fill(0);
    }
    options.onProgress?.(step + 1, total, divergence);
  }
  await backward.dispose();
  const out = new Map(stored);
  for (const { name, linear, scale, values } of tuned.values())
    out.set(name, linear.withParameters(scaled(values, scale).map(roundToFloat16)));
  return out;
}

const asStored = (shape: readonly number[], t: Tensor): CompressedWeight => ({
  kind: "dense",
  dtype: "fp16",
  shape,
  values: float32Data(t),
});

function atUnitSize(name: string, linear: LinearWeight): Tuned {
  const { parameters } = linear;
  const scale = Math.sqrt(parameters.reduce((n, v) => n + v * v, 0) / parameters.length) || 1;
  return { name, linear, scale, values: scaled(parameters, 1 / scale), gradient: new Float32Array(parameters.length) };
}

const scaled = (values: Float32Array, by: number): Float32Array => values.map((v) => v * by);

/** Weights of a batch's positions that add up to 1, (batch · length). */
function evenly(batch: PaddedBatch, sequences: readonly TokenSequence[]): Float32Array {
  const weights = new Float32Array(batch.ids.length);
  for (const [row, index] of batch.rows.entries()) {
    const { from, to } = scoredRange(itemAt(sequences, index), row, batch.shape.length);
    weights.fill(1, from, to);
  }
  const counted = weights.reduce((n, w) => n + w, 0);
  return counted > 0 ? weights.map((w) => w / counted) : weights;
}

const notANumber = (divergence: number | null, step: number): EspalierError =>
  new EspalierError(
    "numeric/non-finite",
    `tuning: the divergence from the original is ${divergence} at step ${step + 1}`,
    {
      hint: "Store the model with more bits or without --tune.",
    },
  );
