/**
 * @file Per-channel statistics of the inputs of the output and down projections, shared by the
 * activation-based metrics.
 *
 * One forward pass. For channel c of an input and sequence s with n predicted tokens, it keeps the
 * mean of |x_c| and the root of the mean of x_c². Padding and the last token's position, which
 * predicts nothing, are ignored.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { DecoderRunner } from "../../decoder/runner.ts";
import { dim, f32At, f64At } from "../../elements.ts";
import { padIntoBatches, type TokenSequence } from "../../eval/sequences.ts";
import { float32Data, type Tensor } from "../../mil/tensor.ts";
import type { LeaveOneOutOptions } from "./leave-one-out.ts";

export interface ChannelStatistics {
  readonly meanAbsolute: Float64Array; // (channels)
  readonly rootMeanSquare: Float64Array; // (channels)
}

export interface LayerInputStatistics {
  /** Of the input of the output projection, (queryHeads · headDim), by sequence. */
  readonly attended: ChannelStatistics[];
  /** Of the input of the down projection, (neurons), by sequence. */
  readonly inner: ChannelStatistics[];
  /** 1 − cos between the stream entering and leaving the layer, mean over positions, by sequence. */
  readonly turn: Float64Array; // (sequences)
}

/** By layer. */
export async function layerInputStatistics(
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  options: LeaveOneOutOptions = {},
): Promise<LayerInputStatistics[]> {
  const count = runner.weights.arch.layers.length;
  const layers = Array.from({ length: count }, () => ({
    attended: new Array<ChannelStatistics>(sequences.length),
    inner: new Array<ChannelStatistics>(sequences.length),
    turn: new Float64Array(sequences.length),
  }));
  let done = 0;
  for (const batch of padIntoBatches(sequences, options.tokensPerBatch ?? runner.tokensPerBatch)) {
    throwIfCancelled(options.signal);
    let x = await runner.embed(batch.ids, batch.shape);
    for (const [l, layer] of layers.entries()) {
      const out = await runner.part("block", l, x, { taps: ["attended", "inner"] as const });
      for (const [row, index] of batch.rows.entries()) {
        const from = row * batch.shape.length;
        const to = from + (sequences[index]?.ids.length ?? 1) - 1;
        layer.attended[index] = statisticsOf(out.attended, from, to);
        layer.inner[index] = statisticsOf(out.inner, from, to);
        layer.turn[index] = turnOf(x.x, out.stream.x, from, to);
      }
      x = out.stream;
    }
    done += batch.rows.length;
    options.onProgress?.(done, sequences.length);
  }
  return layers;
}

/**
 * E[x_c²] of the input of every linear layer, over all positions that predict something, by the flat name of its weight:
 * (columns). The head's is that of the normed stream; a tied embedding counts as the head.
 */
export async function layerInputMoments(
  runner: DecoderRunner,
  sequences: readonly TokenSequence[],
  options: LeaveOneOutOptions = {},
): Promise<Map<string, Float32Array>> {
  const { arch } = runner.weights;
  const sums = new Map<string, Float64Array>();
  const add = (names: readonly string[], x: Tensor, from: number, to: number): void => {
    const width = dim(x.shape, -1);
    for (const name of names) {
      const sum = sums.get(name) ?? new Float64Array(width);
      sums.set(name, sum);
      const values = float32Data(x);
      for (let i = from * width; i < to * width; i++) sum[i % width] = f64At(sum, i % width) + f32At(values, i) ** 2;
    }
  };
  let positions = 0;
  let done = 0;
  for (const batch of padIntoBatches(sequences, options.tokensPerBatch ?? runner.tokensPerBatch)) {
    throwIfCancelled(options.signal);
    const ranges = batch.rows.map((index, row): [number, number] => {
      const from = row * batch.shape.length;
      return [from, from + (sequences[index]?.ids.length ?? 1) - 1];
    });
    let x = await runner.embed(batch.ids, batch.shape);
    for (let l = 0; l < arch.layers.length; l++) {
      const out = await runner.part("block", l, x, {
        taps: ["attentionInput", "attended", "mlpInput", "inner"] as const,
      });
      for (const [from, to] of ranges) {
        add([`L${l}_query`, `L${l}_key`, `L${l}_value`], out.attentionInput, from, to);
        add([`L${l}_output`], out.attended, from, to);
        add([`L${l}_gate`, `L${l}_up`], out.mlpInput, from, to);
        add([`L${l}_down`], out.inner, from, to);
      }
      x = out.stream;
    }
    const last = await runner.headInput(x);
    for (const [from, to] of ranges) {
      add([arch.tiedHead ? "embedding" : "head"], last, from, to);
      positions += to - from;
    }
    done += batch.rows.length;
    options.onProgress?.(done, sequences.length);
  }
  return new Map([...sums].map(([name, sum]) => [name, Float32Array.from(sum, (v) => v / Math.max(1, positions))]));
}

/** Rows `from` … `to` of x (…, channels). */
function statisticsOf(x: Tensor, from: number, to: number): ChannelStatistics {
  const values = float32Data(x);
  const width = dim(x.shape, -1);
  const meanAbsolute = new Float64Array(width);
  const rootMeanSquare = new Float64Array(width);
  for (let r = from; r < to; r++) {
    for (let c = 0; c < width; c++) {
      const v = f32At(values, r * width + c);
      meanAbsolute[c] = f64At(meanAbsolute, c) + Math.abs(v);
      rootMeanSquare[c] = f64At(rootMeanSquare, c) + v * v;
    }
  }
  const n = Math.max(1, to - from);
  for (let c = 0; c < width; c++) {
    meanAbsolute[c] = f64At(meanAbsolute, c) / n;
    rootMeanSquare[c] = Math.sqrt(f64At(rootMeanSquare, c) / n);
  }
  return { meanAbsolute, rootMeanSquare };
}

function turnOf(before: Tensor, after: Tensor, from: number, to: number): number {
  const a = float32Data(before);
  const b = float32Data(after);
  const width = dim(before.shape, -1);
  let total = 0;
  for (let r = from; r < to; r++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let c = r * width; c < (r + 1) * width; c++) {
      ab += f32At(a, c) * f32At(b, c);
      aa += f32At(a, c) ** 2;
      bb += f32At(b, c) ** 2;
    }
    total += 1 - (aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 1);
  }
  return total / Math.max(1, to - from);
}
