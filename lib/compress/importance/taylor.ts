/**
 * @file First-order Taylor importance through gates.
 *
 * Reference: Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?" (2019).
 *
 *   g_u,s = ∂NLL_s / ∂gate_u at 1;   taylor: |g|, per sequence then averaged;   predicted ΔNLL of removal: −g
 *
 * One forward and backward pass gives the gradient of every gate of every layer for each sequence
 * of the batch, because each sequence has its own gates; a block of neurons gets the sum of their
 * gradients. The pass goes half a block at a time (`train/backward.ts`), so that besides the
 * weights, memory holds only the streams at the boundaries. It treats a step of −1 as small, so it
 * misleads where removal is far from linear.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import type { GateKind } from "../../decoder/sequence-programs.ts";
import type { DecoderWeights } from "../../decoder/weights.ts";
import { dim, f32At, itemAt } from "../../elements.ts";
import type { Engine } from "../../engines/engine.ts";
import { padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { float32Data, type Tensor } from "../../mil/tensor.ts";
import { Backward } from "../../train/backward.ts";
import { textObjective } from "../../train/training-program.ts";
import { closedGates, type GateUnit, gateKindsOf } from "./gates.ts";

export interface TaylorOptions {
  readonly tokensPerBatch?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The gradient of each sequence's mean loss with respect to each unit's gate, in nats per token. */
export async function gateGradients(
  engine: Engine,
  weights: DecoderWeights,
  sequences: readonly TokenSequence[],
  units: readonly GateUnit[],
  options: TaylorOptions = {},
): Promise<{ unit: GateUnit; perSequence: Float64Array }[]> {
  const { arch } = weights;
  const kinds = [...new Set(units.flatMap((u) => gateKindsOf(u, arch)))].sort();
  const result = units.map((unit) => ({ unit, perSequence: new Float64Array(sequences.length) }));
  const batches = padIntoBatches(sequences, options.tokensPerBatch ?? engine.tokensPerCall);
  const found = new Map<string, Tensor>();
  const hear = (layer: number, kind: GateKind, gradient: Tensor): void => {
    found.set(gateName(layer, kind), gradient);
  };
  const backward = new Backward(engine, weights, { trained: new Set(), gates: { kinds, hear } });
  let done = 0;
  for (const batch of batches) {
    throwIfCancelled(options.signal);
    const { shape } = batch;
    const tokenWeights = new Float32Array(batch.targets.length);
    for (const [row, index] of batch.rows.entries()) {
      const s = itemAt(sequences, index);
      const { from, to } = scoredRange(s, row, shape.length);
      tokenWeights.fill(1 / predictedTokens(s), from, to);
    }
    const none = (): void => {};
    const tape = await backward.forward(batch.ids, shape);
    const { dx } = await backward.head(tape, batch.targets, tokenWeights, textObjective, null, none);
    await backward.back(tape, dx, none);
    for (const r of result) {
      for (const [row, index] of batch.rows.entries()) r.perSequence[index] = gradientOf(r.unit, arch, found, row);
    }
    done += batch.rows.length;
    options.onProgress?.(done, sequences.length);
  }
  await backward.dispose();
  return result;
}

const gateName = (layer: number, kind: GateKind): string => `L${layer} ${kind}`;

function gradientOf(
  unit: GateUnit,
  arch: DecoderArchitecture,
  gradients: ReadonlyMap<string, Tensor>,
  row: number,
): number {
  let total = 0;
  for (const { kind, from, to } of closedGates(unit, arch)) {
    const t = gradients.get(gateName(unit.layer, kind));
    if (!t) return Number.NaN;
    const width = t.shape.length === 2 ? dim(t.shape, 1) : 1;
    const values = float32Data(t);
    for (let i = from; i < to; i++) total += f32At(values, row * width + i);
  }
  return total;
}
