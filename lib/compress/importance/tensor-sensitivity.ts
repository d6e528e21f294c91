/**
 * @file The cost of changing one tensor while all others stay the same.
 *
 *   ΔKL_w = KL(base ‖ model with ŵ in place of w),  Δloss_w = NLL(with ŵ) − NLL(base), per sequence, in nats per token
 *
 * The measurement that cheaper scores of mixed-precision methods approximate (references in docs/methods). A tensor of
 * layer ℓ re-runs only layers ≥ ℓ, one of an MLP only that MLP and what follows. A tied embedding changes both ends.
 */

import { throwIfCancelled } from "../../cancel.ts";
import { isRowTable } from "../../decoder/architecture.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { type BlockPart, partOfRole } from "../../decoder/sequence-programs.ts";
import type { Stream } from "../../decoder/stream.ts";
import { type WeightEntry, weightList } from "../../decoder/weights.ts";
import { itemAt } from "../../elements.ts";
import type { PrefixStreams, SequenceComparison } from "../../eval/prefix-streams.ts";
import { f32, type Tensor } from "../../mil/tensor.ts";

/** The tensors that can be measured: every matrix except lookup tables, which are larger than
 * memory. */
export const matrices = (arch: DecoderRunner["weights"]["arch"]): WeightEntry[] =>
  weightList(arch).filter((w) => w.shape.length > 1 && !isRowTable(w.role));

/** In the order of the sequences; `values` in the shape of the entry. */
export async function tensorSensitivity(
  prefix: PrefixStreams,
  entry: WeightEntry,
  values: Float32Array,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<SequenceComparison[]> {
  const base = prefix.runner.weights;
  const layers = base.arch.layers.length;
  const tensors = new Map<string, Tensor>(base.tensors);
  tensors.set(entry.name, f32(entry.shape, values));
  const changed = new DecoderRunner(prefix.runner.engine, { ...base, tensors }, prefix.runner.programs);
  const found = new Array<SequenceComparison>(prefix.sequences.length);
  for (const [b, batch] of prefix.batches.entries()) {
    throwIfCancelled(options.signal);
    let x: Stream;
    if (entry.layer !== null) {
      const part: BlockPart = partOfRole(entry.role) === "mlp" ? "mlp" : "block";
      const entering = await prefix.stream(b, entry.layer);
      const from = part === "mlp" ? (await prefix.runner.part("attention", entry.layer, entering)).stream : entering;
      x =
        part === "mlp" ? (await changed.part(part, entry.layer, from)).stream : await changed.block(entry.layer, from);
      x = await changed.blocks(x, entry.layer + 1);
    } else if (entry.role === "head") x = await prefix.stream(b, layers);
    else x = await changed.blocks(await changed.embed(batch.ids, batch.shape));
    const compared = await prefix.compare(b, x, changed);
    for (const [row, index] of batch.rows.entries()) found[index] = itemAt(compared, row);
  }
  return found;
}
