/**
 * @file The weights of a checkpoint as they will ship, none of them read yet.
 *
 * Each is read by byte range, compressed and let go while the package is written, so that memory does not grow with the
 * model. Weights the checkpoint holds compressed ship as they are, read whole, one at a time.
 */

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { deferredWeight, float16Rows, type RowCompression } from "../compress/quantize/row-compression.ts";
import { type RowTable, type WeightEntry, weightList } from "../decoder/weights.ts";
import { roundToFloat16 } from "../float16.ts";
import type { CompressedWeight, DeferredWeight } from "../weights/weight.ts";
import { rowsOf } from "../weights/weight-views.ts";

/** The rows of a table as they will ship, read by range. */
export function shippedTable(checkpoint: Checkpoint, name: string): RowTable {
  const table = checkpoint.table(name);
  if (checkpoint.form(name).kind !== "dense") return table;
  return { shape: table.shape, rows: async (indices) => (await table.rows(indices)).map(roundToFloat16) };
}

/** `weights` with norm gains read at once: they are small, and equal ones are stored once. */
export async function withGains(
  weights: ReadonlyMap<string, DeferredWeight>,
): Promise<Map<string, CompressedWeight | DeferredWeight>> {
  const held = new Map<string, CompressedWeight | DeferredWeight>(weights);
  for (const [name, w] of weights) {
    if (w.form.shape.length > 1) continue;
    for await (const piece of w.pieces()) held.set(name, piece);
  }
  return held;
}

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
      // Parts of a head are asked for one after the other.
      let last: WeakRef<CompressedWeight> | undefined;
      weights.set(name, {
        kind: "deferred",
        form,
        async *pieces(rows) {
          const whole = last?.deref() ?? (await checkpoint.weight(name));
          last = new WeakRef(whole);
          yield rows ? rowsOf(whole, rows.from, rows.to) : whole;
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
