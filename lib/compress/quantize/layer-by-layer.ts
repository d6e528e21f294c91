/**
 * @file Quantizes a model layer by layer, each matrix on the inputs it gets from the part of the
 * model that is already quantized.
 *
 * Reference: Frantar et al., GPTQ (2023), "true sequential" except for the last step. Within a
 * layer: q, k, v; then o on their outputs; then gate, up and down in one pass, where a true
 * sequence would need two. A separate head comes last. An embedding comes first; as a tied head its
 * inputs are those of the unchanged model, and a row counts 1 + how often its token occurs.
 *
 *   H = Σ_t x_t x_tᵀ / mean(y_t²)     over the positions t of the calibration text that predict something
 *
 * y is the stream to which the error is added; the next norm divides by its size. In many models
 * the first token's stream is a thousand times as large as any other, and would outweigh them all.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { BlockTap } from "../../decoder/block.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { type BlockPart, layerName } from "../../decoder/sequence-programs.ts";
import type { Stream } from "../../decoder/stream.ts";
import { type DecoderWeights, readWeight, type WeightEntry, weightList } from "../../decoder/weights.ts";
import { dim, f32At, f64At, itemAt } from "../../elements.ts";
import type { Engine } from "../../engines/engine.ts";
import { type PaddedBatch, padIntoBatches, type TokenSequence } from "../../eval/sequences.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import type { MatrixInputs } from "./calibrated.ts";
import { type MatrixProduct, MatrixProducts } from "./matrix-products.ts";

/** Half-blocks in turn, each on the quantized model's stream; these matrices read the tapped input.
 */
const stages = [
  { part: "attention", taps: { attentionInput: ["query", "key", "value"] } },
  { part: "attention", taps: { attended: ["output"] } },
  { part: "mlp", taps: { mlpInput: ["gate", "up"], inner: ["down"] } },
] as const satisfies readonly { part: BlockPart; taps: Partial<Record<BlockTap, readonly string[]>> }[];

/** Stores one matrix, given its inputs (null where it has none) and matrix products on the engine.
 */
export type StoreMatrix = (
  entry: WeightEntry,
  values: Float32Array,
  inputs: MatrixInputs | null,
  product: MatrixProduct,
) => Promise<CompressedWeight> | CompressedWeight;

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
  const products = new MatrixProducts(engine);
  const batches = padIntoBatches(sequences);
  const total = [...entries.values()].filter((e) => e.shape.length > 1).length;
  const keep = async (name: string, inputs: MatrixInputs | null): Promise<void> => {
    throwIfCancelled(options.signal);
    const entry = entries.get(name);
    if (!entry) return;
    const w = await store(entry, float32Data(await readWeight(weights, entry)), inputs, products.product);
    stored.set(name, w);
    tensors.set(name, f32(entry.shape, decodeWeight(w)));
    options.onProgress?.(stored.size, total);
  };
  const headGram = async (streamOf: (batch: number) => Promise<Stream> | Stream): Promise<MatrixInputs | null> => {
    let gram: Float64Array | null = null;
    for (const [b, batch] of batches.entries()) {
      throwIfCancelled(options.signal);
      gram = await addGram(products, gram, await runner.headInput(await streamOf(b)), batch, sequences);
    }
    return gram && { gram };
  };
  const plain = async (b: number): Promise<Stream> => {
    const batch = itemAt(batches, b);
    return runner.blocks(await runner.embed(batch.ids, batch.shape));
  };
  const asHead = arch.tiedHead ? await headGram(plain) : null;
  await keep("embedding", asHead && { ...asHead, rowWeights: tokenWeights(sequences, arch.vocab) });
  const streams: Stream[] = [];
  const advance = async (part: BlockPart, layer: number): Promise<void> => {
    for (const [b, x] of streams.entries()) {
      throwIfCancelled(options.signal);
      streams[b] = (await runner.part(part, layer, x)).stream;
    }
  };
  for (const batch of batches) streams.push(await runner.embed(batch.ids, batch.shape));
  for (let l = 0; l < arch.layers.length; l++) {
    let half: BlockPart = "attention";
    for (const { part, taps } of stages) {
      if (part !== half) await advance(half, l);
      half = part;
      const names = Object.keys(taps) as BlockTap[];
      const grams = new Map<BlockTap, Float64Array>();
      for (const [b, batch] of batches.entries()) {
        throwIfCancelled(options.signal);
        const out = await runner.part(part, l, itemAt(streams, b), { taps: names });
        for (const tap of names)
          grams.set(tap, await addGram(products, grams.get(tap) ?? null, out[tap], batch, sequences, out.stream.x));
      }
      for (const [tap, roles] of Object.entries(taps)) {
        const gram = grams.get(tap as BlockTap);
        for (const role of roles) await keep(layerName(l, role), gram ? { gram } : null);
      }
    }
    await advance(half, l);
    // Its codes are kept; of a model in pages the decoded values are not.
    if (weights.pages) for (const name of stored.keys()) if (entries.get(name)?.layer === l) tensors.delete(name);
  }
  if (entries.has("head")) await keep("head", await headGram((b) => itemAt(streams, b)));
  await products.dispose();
  await runner.dispose();
  return stored;
}

/** 1 + how often each token occurs, (vocab). */
function tokenWeights(sequences: readonly TokenSequence[], vocab: number): Float32Array {
  const weights = new Float32Array(vocab).fill(1);
  for (const { ids } of sequences) for (const id of ids) weights[id] = f32At(weights, id) + 1;
  return weights;
}

/** Adds Σ x xᵀ over the positions of x (…, columns) that predict something, each over the mean square of `leaving` (…, hidden). */
async function addGram(
  products: MatrixProducts,
  gram: Float64Array | null,
  x: Tensor,
  batch: PaddedBatch,
  sequences: readonly TokenSequence[],
  leaving?: Tensor,
): Promise<Float64Array> {
  const columns = dim(x.shape, -1);
  const values = float32Data(x);
  const counted = new Float32Array(values.length);
  for (const [row, index] of batch.rows.entries()) {
    const from = row * batch.shape.length;
    const to = from + (sequences[index]?.ids.length ?? 1) - 1;
    for (let t = from; t < to; t++) {
      const size = leaving ? rootMeanSquare(leaving, t) : 1;
      for (let i = t * columns; i < (t + 1) * columns; i++) counted[i] = f32At(values, i) / size;
    }
  }
  const rows = f32([values.length / columns, columns], counted);
  const found = await products.transposed(rows, rows);
  const sum = gram ?? new Float64Array(columns * columns);
  for (let i = 0; i < sum.length; i++) sum[i] = f64At(sum, i) + f32At(found, i);
  return sum;
}

/** Of one position of x (…, width), never 0. */
function rootMeanSquare(x: Tensor, position: number): number {
  const width = dim(x.shape, -1);
  const values = float32Data(x);
  let total = 0;
  for (let i = position * width; i < (position + 1) * width; i++) total += f32At(values, i) ** 2;
  return Math.sqrt(total / width) || 1;
}
