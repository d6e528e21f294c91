/**
 * @file Leave-one-out importance: how much the loss rises when one unit is removed.
 *
 *   I_u,s = NLL_s(gate_u = 0) − NLL_s(all gates 1), per sequence s, in nats per token
 *
 * The ground truth that cheaper metrics approximate; paired by sequence, so its standard error is that of a
 * difference. It is cheap because the stream entering each layer is kept: a unit of layer ℓ re-runs
 * only layers ≥ ℓ, and a block of neurons or an MLP starts from the stream after attention. So does
 * a head: attention's output is a sum over heads, so its part is subtracted without running
 * attention again. All units of a layer run side by side along the batch axis. Negative values are
 * legitimate. Not included: mean ablation, interactions of units.
 */

import { throwIfCancelled } from "../../cancel.ts";
import { type DecoderArchitecture, isKvSource } from "../../decoder/architecture.ts";
import type { DecoderRunner, Gates } from "../../decoder/runner.ts";
import { gateShape } from "../../decoder/sequence-programs.ts";
import { repeatStream, type Stream } from "../../decoder/stream.ts";
import { dim, f32At, f64At, itemAt } from "../../elements.ts";
import { PrefixStreams } from "../../eval/prefix-streams.ts";
import { predictedTokens, scoredRange, type TokenSequence } from "../../eval/sequences.ts";
import { f32 } from "../../mil/tensor.ts";
import { closedGates, type GateUnit, gateKindsOf } from "./gates.ts";

export interface LeaveOneOutOptions {
  /** Streams of the unchanged model on the same sequences, if several calls share them. */
  readonly prefix?: PrefixStreams | undefined;
  readonly tokensPerBatch?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface UnitDifferences {
  readonly unit: GateUnit;
  /** Nats per token, in the order of the sequences. */
  readonly perSequence: Float64Array; // (sequences)
}

export async function leaveOneOut(
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  units: readonly GateUnit[],
  options: LeaveOneOutOptions = {},
): Promise<{ base: Float64Array; units: UnitDifferences[] }> {
  const { arch } = runner.weights;
  const layers = arch.layers.length;
  const base = new Float64Array(sequences.length);
  const differences = units.map((unit) => ({ unit, perSequence: new Float64Array(sequences.length) }));
  const byLayer = Array.from({ length: layers }, (_, l) => differences.filter((d) => d.unit.layer === l));
  const tokensPerBatch = options.tokensPerBatch ?? 2048;
  // Streams made here are freed batch by batch.
  const prefix = options.prefix ?? sharedPrefix(runner, sequences, tokensPerBatch, Number.POSITIVE_INFINITY);
  const { batches } = prefix;
  const work = batches.length * units.length;
  let done = 0;

  for (const [b, batch] of batches.entries()) {
    throwIfCancelled(options.signal);
    await prefix.prepare(b);
    for (const index of batch.rows) base[index] = f64At(prefix.baseNll, index);
    const meanNll = async (x: Stream, copies: number): Promise<Float64Array[]> => {
      const targets = repeat(batch.targets, copies);
      const nll = await runner.nll(x, targets);
      return Array.from({ length: copies }, (_, c) =>
        Float64Array.from(batch.rows, (index, row) => {
          const s = itemAt(sequences, index);
          const { from, to } = scoredRange(s, c * batch.shape.batch + row, batch.shape.length);
          let total = 0;
          for (let i = from; i < to; i++) total += f32At(nll, i);
          return total / predictedTokens(s);
        }),
      );
    };

    // One batch a quarter too large beats two runs of half the size.
    const perRun = Math.max(1, Math.floor((1.25 * tokensPerBatch) / (batch.shape.batch * batch.shape.length)));
    for (let l = 0; l < layers; l++) {
      if ((byLayer[l] ?? []).length === 0) continue;
      const entering = await prefix.stream(b, l);
      // The stream between attention and MLP, and the heads' outputs side by side: for units that
      // do not change attention itself.
      const halves = once(() => runner.part("attention", l, entering, { taps: ["attended"] as const }));
      for (const group of groupsOf(byLayer[l] ?? [], perRun, arch)) {
        throwIfCancelled(options.signal);
        const copies = group.length;
        const changed = group.map((d) => d.unit);
        const heads = headsLacking(changed, arch);
        let x: Stream;
        if (heads) {
          const { stream, attended } = await halves();
          x = await runner.withoutHeads(l, { ...stream, x: entering.x }, attended, heads);
          x = (await runner.part("mlp", l, x)).stream;
        } else {
          const gates = gatesFor(changed, runner, batch.shape.batch);
          x = changed.every((u) => u.kind === "neurons" || u.kind === "mlp")
            ? (await runner.part("mlp", l, repeatStream((await halves()).stream, copies), { gates })).stream
            : await runner.block(l, repeatStream(entering, copies), gates);
        }
        x = await runner.blocks(x, l + 1);
        const losses = await meanNll(x, copies);
        for (const [c, d] of group.entries()) {
          for (const [row, index] of batch.rows.entries()) {
            d.perSequence[index] = (losses[c]?.[row] ?? Number.NaN) - f64At(base, index);
          }
        }
        done += copies;
        options.onProgress?.(done, work);
      }
    }
    if (!options.prefix) prefix.release(b);
  }
  return { base, units: differences };
}

/** The streams that `leaveOneOut` starts from; few sequences per batch leave room on the batch axis
 * for the units of a layer. */
export const sharedPrefix = (
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  tokensPerBatch = 2048,
  budgetBytes?: number,
): PrefixStreams =>
  PrefixStreams.open(runner, sequences, {
    tokensPerBatch: Math.max(256, tokensPerBatch / 8),
    budgetBytes,
    keepsLogits: false,
  });

/**
 * The query heads that each unit removes, if it does nothing else: heads, and KV groups whose
 * values no other layer reads. Null if it does more, or if the lists differ in length.
 */
function headsLacking(units: readonly GateUnit[], arch: DecoderArchitecture): number[][] | null {
  const lists: number[][] = [];
  for (const { layer: index, kind, index: first, count = 1 } of units) {
    const layer = arch.layers[index];
    if (!layer || (kind !== "heads" && (kind !== "groups" || isKvSource(arch, index)))) return null;
    const of = kind === "heads" ? layer.headToGroup.map((_, h) => h) : layer.headToGroup;
    lists.push(of.flatMap((g, h) => (g >= first && g < first + count ? [h] : [])));
  }
  return lists.every((l) => l.length > 0 && l.length === lists[0]?.length) ? lists : null;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make();
    return made;
  };
}

/** Runs of equal size and of units that use the same gate inputs, so that few programs are compiled. */
function groupsOf<T extends { unit: GateUnit }>(items: readonly T[], size: number, arch: DecoderArchitecture): T[][] {
  const byGates = new Map<string, T[]>();
  for (const item of items) {
    const key = gateKindsOf(item.unit, arch).join();
    const list = byGates.get(key);
    if (list) list.push(item);
    else byGates.set(key, [item]);
  }
  return [...byGates.values()].flatMap((list) => {
    const runs = Math.ceil(list.length / size);
    const each = Math.ceil(list.length / runs);
    return Array.from({ length: runs }, (_, i) => list.slice(i * each, (i + 1) * each)).filter((g) => g.length > 0);
  });
}

/** Copy c of the batch has unit c's gate at 0 and all others at 1. */
function gatesFor(units: readonly GateUnit[], runner: DecoderRunner, batch: number): Gates {
  const { arch } = runner.weights;
  const layer = arch.layers[units[0]?.layer ?? 0];
  if (!layer) return {};
  const gates: Gates = {};
  for (const kind of new Set(units.flatMap((u) => gateKindsOf(u, arch)))) {
    const shape = gateShape(kind, layer, units.length * batch);
    const width = shape.length === 2 ? dim(shape, 1) : 1;
    const values = new Float32Array(units.length * batch * width).fill(1);
    for (const [c, unit] of units.entries())
      for (const closed of closedGates(unit, arch))
        for (let row = c * batch; closed.kind === kind && row < (c + 1) * batch; row++)
          values.fill(0, row * width + closed.from, row * width + closed.to);
    gates[kind] = f32(shape, values);
  }
  return gates;
}

function repeat(values: Int32Array, copies: number): Int32Array {
  const out = new Int32Array(values.length * copies);
  for (let c = 0; c < copies; c++) out.set(values, c * values.length);
  return out;
}
