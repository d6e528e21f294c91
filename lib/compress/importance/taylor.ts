/**
 * @file First-order Taylor importance through gates.
 *
 * Reference: Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?" (2019).
 *
 *   g_u,s = ∂NLL_s / ∂gate_u at 1;   taylor: |g|, per sequence then averaged;   predicted ΔNLL of removal: −g
 *
 * One forward and backward pass gives every gate of every layer for every sequence of the batch, since each sequence
 * has gates of its own; a block of neurons has the sum of their gradients. It sees a step of −1 as if it were small: where removal is far from linear it misleads.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import {
  type GateKind,
  gateShape,
  negativeLogLikelihood,
  type SequenceShape,
  wholeModel,
} from "../../decoder/programs.ts";
import { type DecoderWeights, perLayerRows } from "../../decoder/weights.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { gradients } from "../../mil/autodiff.ts";
import { Builder } from "../../mil/builder.ts";
import { removeDeadCode } from "../../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { f32, float32Data, i32, type Tensor } from "../../mil/tensor.ts";
import { fp32, int32 } from "../../mil/types.ts";
import { type GateUnit, kindsOf } from "./leave-one-out.ts";

/** Outputs `d_L<i>_gate_<kind>` with a row per sequence, and `loss`, the sum over sequences. */
export function gateGradientProgram(
  arch: DecoderArchitecture,
  shape: SequenceShape,
  kinds: readonly GateKind[],
): MilFunction {
  const b = new Builder("gate_gradients");
  const rows = shape.batch * shape.length;
  const model = wholeModel(b, arch, shape, kinds);
  const targets = b.input("targets", int32(rows));
  const tokenWeights = b.input("tokenWeights", fp32(rows));
  const loss = b.sum(b.mul(negativeLogLikelihood(b, model.logits, targets), tokenWeights));
  const named = model.gates.flatMap((layer, i) =>
    kinds.map((k) => ({ name: `d_L${i}_gate_${k}`, gate: layer[k] as Value })),
  );
  const found = gradients(
    b,
    loss,
    named.map((n) => n.gate),
  );
  return removeDeadCode(b.build({ loss, ...Object.fromEntries(named.map((n, i) => [n.name, found[i] as Value])) }));
}

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
  const kinds = [...new Set(units.flatMap((u) => kindsOf(u, arch)))].sort();
  const compiled = new Map<string, Executable>();
  const result = units.map((unit) => ({ unit, perSequence: new Float64Array(sequences.length) }));
  const batches = padIntoBatches(sequences, options.tokensPerBatch ?? engine.tokensPerCall);
  let done = 0;
  for (const batch of batches) {
    throwIfCancelled(options.signal);
    const { shape } = batch;
    const key = `${shape.batch}x${shape.length}`;
    const exe = compiled.get(key) ?? (await engine.compile(gateGradientProgram(arch, shape, kinds)));
    compiled.set(key, exe);
    const tokenWeights = new Float32Array(batch.targets.length);
    for (const [row, index] of batch.rows.entries()) {
      const s = sequences[index] as TokenSequence;
      const { from, to } = scoredRange(s, row, shape.length);
      tokenWeights.fill(1 / predictedTokens(s), from, to);
    }
    const gates: Record<string, Tensor> = {};
    for (const [i, layer] of arch.layers.entries()) {
      for (const kind of kinds) {
        const dims = gateShape(kind, layer, shape.batch);
        gates[`L${i}_gate_${kind}`] = f32(dims, new Float32Array(dims.reduce((n, d) => n * d, 1)).fill(1));
      }
    }
    const out = await exe.run({
      ids: i32([shape.batch, shape.length], batch.ids),
      targets: i32([batch.targets.length], batch.targets),
      tokenWeights: f32([tokenWeights.length], tokenWeights),
      ...Object.fromEntries(weights.tensors),
      ...(await perLayerRows(weights, batch.ids, shape.batch)),
      ...gates,
    });
    for (const r of result) {
      for (const [row, index] of batch.rows.entries()) r.perSequence[index] = gradientOf(r.unit, arch, out, row);
    }
    done += batch.rows.length;
    options.onProgress?.(done, sequences.length);
  }
  for (const exe of compiled.values()) await exe.dispose();
  return result;
}

function gradientOf(unit: GateUnit, arch: DecoderArchitecture, out: Record<string, Tensor>, row: number): number {
  const at = (kind: GateKind): number => {
    const t = out[`d_L${unit.layer}_gate_${kind}`];
    if (!t) return Number.NaN;
    const width = t.shape.length === 2 ? (t.shape[1] as number) : 1;
    const values = float32Data(t);
    let total = 0;
    for (let i = 0; i < (unit.count ?? 1); i++) total += values[row * width + unit.index + i] as number;
    return total;
  };
  return kindsOf(unit, arch).reduce((total, kind) => total + at(kind), 0);
}
