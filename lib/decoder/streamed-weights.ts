/**
 * @file The weights of a checkpoint as they will ship, none of them read yet.
 *
 * Each is read by byte range, compressed and let go while the package is written, so that memory does not grow with the
 * model. Weights the checkpoint holds compressed ship as they are, read whole, one at a time.
 */
import { deferredWeight, float16Rows, type RowCompression } from "../compress/row-compression.ts";
import type { DeferredWeight } from "../compress/weight.ts";
import type { Checkpoint } from "../formats/hugging-face/checkpoint.ts";
import { type WeightEntry, weightList } from "./weights.ts";

/** `compression` chooses for each dense matrix; the default, and that of norm gains, is fp16. */
export function streamedWeights(
  checkpoint: Checkpoint,
  compression: (entry: WeightEntry) => RowCompression = () => float16Rows,
): Map<string, DeferredWeight> {
  const weights = new Map<string, DeferredWeight>();
  for (const entry of weightList(checkpoint.architecture)) {
    const { name, shape } = entry;
    const form = checkpoint.form(name);
    if (form.kind !== "dense") {
      weights.set(name, {
        kind: "deferred",
        form,
        async *pieces() {
          yield await checkpoint.weight(name);
        },
      });
      continue;
    }
    const rule = shape.length > 1 ? compression(entry) : float16Rows;
    weights.set(
      name,
      deferredWeight(shape, (from, to) => checkpoint.rows(name, from, to), rule),
    );
  }
  return weights;
}
