/**
 * @file Quantizes a model layer by layer, each matrix on the inputs that the already quantized part of the model gives it.
 *
 * Reference: Frantar et al., GPTQ (2023), "true sequential". Within a layer: q, k, v; then o on what they make; then gate and up;
 * then down. Inputs are those of the calibration text; Σ x xᵀ counts positions that predict something. The embedding comes
 * first, without inputs; a head of its own last.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { BlockTap } from "../../decoder/block.ts";
import { layerName } from "../../decoder/programs.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import type { Stream } from "../../decoder/stream.ts";
import { type DecoderWeights, type WeightEntry, weight, weightList } from "../../decoder/weights.ts";
import type { Engine, Executable } from "../../engines/engine.ts";
import { type PaddedBatch, padIntoBatches, type TokenSequence } from "../../eval/sequences.ts";
import { Builder } from "../../mil/builder.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { fp32 } from "../../mil/types.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";

const stages = [
  { tap: "attentionInput", roles: ["query", "key", "value"] },
  { tap: "attended", roles: ["output"] },
  { tap: "mlpInput", roles: ["gate", "up"] },
  { tap: "inner", roles: ["down"] },
] as const satisfies readonly { tap: BlockTap; roles: readonly string[] }[];

/** Stores one matrix given Σ x xᵀ (columns, columns) of its inputs; null where there are none. */
export type StoreMatrix = (entry: WeightEntry, values: Float32Array, gram: Float64Array | null) => CompressedWeight;

/** Every matrix by flat name. */
export async function quantizeLayerByLayer(
  engine: Engine,
  weights: DecoderWeights,
  sequences: readonly TokenSequence[],
  store: StoreMatrix,
  options: {
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<Map<string, CompressedWeight>> {
  const { arch } = weights;
  const entries = new Map(weightList(arch).map((w) => [w.name, w]));
  const stored = new Map<string, CompressedWeight>();
  const tensors = new Map<string, Tensor>(weights.tensors);
  const runner = new DecoderRunner(engine, { ...weights, tensors });
  const grams = new GramPrograms(engine);
  const batches = padIntoBatches(sequences);
  const total = [...entries.values()].filter((e) => e.shape.length > 1).length;
  const keep = (name: string, gram: Float64Array | null): void => {
    throwIfCancelled(options.signal);
    const entry = entries.get(name);
    if (!entry) return;
    const w = store(entry, float32Data(weight(weights, name)), gram);
    stored.set(name, w);
    tensors.set(name, f32(entry.shape, decodeWeight(w)));
    options.onProgress?.(stored.size, total);
  };
  keep("embedding", null);
  const streams: Stream[] = [];
  for (const batch of batches) streams.push(await runner.embed(batch.ids, batch.shape));
  for (let l = 0; l < arch.layers.length; l++) {
    for (const { tap, roles } of stages) {
      let gram: Float64Array | null = null;
      for (const [b, batch] of batches.entries()) {
        throwIfCancelled(options.signal);
        const out = await runner.part("block", l, streams[b] as Stream, { taps: [tap] as const });
        gram = await grams.add(gram, out[tap], batch, sequences);
      }
      for (const role of roles) keep(layerName(l, role), gram);
    }
    for (const [b, x] of streams.entries()) streams[b] = await runner.block(l, x);
  }
  if (entries.has("head")) {
    let gram: Float64Array | null = null;
    for (const [b, batch] of batches.entries())
      gram = await grams.add(gram, await runner.headInput(streams[b] as Stream), batch, sequences);
    keep("head", gram);
  }
  await grams.dispose();
  await runner.dispose();
  return stored;
}

/** Σ x xᵀ on the engine, compiled once for every shape. */
class GramPrograms {
  private readonly engine: Engine;
  private readonly compiled = new Map<string, Executable>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Adds the rows of x (…, columns) that predict something. */
  async add(
    gram: Float64Array | null,
    x: Tensor,
    batch: PaddedBatch,
    sequences: readonly TokenSequence[],
  ): Promise<Float64Array> {
    const columns = x.shape.at(-1) as number;
    const values = float32Data(x);
    const rows = values.length / columns;
    const counted = new Float32Array(values.length);
    for (const [row, index] of batch.rows.entries()) {
      const from = row * batch.shape.length;
      const to = from + (sequences[index]?.ids.length ?? 1) - 1;
      counted.set(values.subarray(from * columns, to * columns), from * columns);
    }
    const key = `${rows}x${columns}`;
    const exe = this.compiled.get(key) ?? (await this.engine.compile(gramProgram(rows, columns)));
    this.compiled.set(key, exe);
    const found = float32Data((await exe.run({ x: f32([rows, columns], counted) })).gram as Tensor);
    const sum = gram ?? new Float64Array(columns * columns);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (found[i] as number);
    return sum;
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await exe.dispose();
  }
}

function gramProgram(rows: number, columns: number) {
  const b = new Builder("gram");
  const x = b.input("x", fp32(rows, columns));
  return b.build({ gram: b.matmul(x, x, { transposeX: true }) });
}
