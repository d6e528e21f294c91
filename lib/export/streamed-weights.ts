/**
 * @file The weights of a checkpoint in the form they will ship, each read only when it is written.
 *
 * Each is read by byte range, compressed and freed while the package is written, so that memory
 * does not grow with the model. Weights that are already compressed ship unchanged, read whole, one
 * at a time.
 */

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { deferredWeight, float16Rows, float32Rows, type RowCompression } from "../compress/quantize/row-compression.ts";
import { FLOAT16_MAX } from "../decoder/neural-engine/scaling.ts";
import { type RowTable, type WeightEntry, weightList } from "../decoder/weights.ts";
import { f32At } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { roundToFloat16 } from "../float16.ts";
import { elementCount } from "../mil/types.ts";
import { tensorUnit } from "../units.ts";
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

/** Checks that no value in the rows from `first` on becomes infinite in fp16. Throws
 * `numeric/non-finite` with tensor, row and column. */
function withinFloat16(name: string, first: number, values: Float32Array, shape: readonly number[]): Float32Array {
  const columns = elementCount(shape.slice(1));
  for (let i = 0; i < values.length; i++) {
    const v = f32At(values, i);
    if (Math.abs(v) <= FLOAT16_MAX) continue;
    const [row, column] = [first + Math.floor(i / columns), i % columns];
    throw new EspalierError(
      "numeric/non-finite",
      `${tensorUnit(name)}: the weight at row ${row}, column ${column} is ${v}, beyond fp16's largest number, ${FLOAT16_MAX}`,
      {
        hint: "Quantize it first: codes of 8 bits have a scale of their own (espalier quantize --scheme affine --bits 8).",
      },
    );
  }
  return values;
}

/** The unchanged weights of a checkpoint: dense ones in fp32. */
export const decodedWeights = (checkpoint: Checkpoint): Map<string, DeferredWeight> =>
  streamedWeights(checkpoint, () => float32Rows, float32Rows);

/** `compression` chooses for each dense matrix; the default, and that of norm gains, is fp16. */
export function streamedWeights(
  checkpoint: Checkpoint,
  compression: (entry: WeightEntry) => RowCompression = () => float16Rows,
  vectors: RowCompression = float16Rows,
): Map<string, DeferredWeight> {
  const weights = new Map<string, DeferredWeight>();
  for (const entry of weightList(checkpoint.architecture)) {
    const { name, shape } = entry;
    const form = checkpoint.form(name);
    if (form.kind !== "dense") {
      // The parts of a head are requested one after the other.
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
    const rule = shape.length > 1 ? compression(entry) : vectors;
    weights.set(
      name,
      deferredWeight(
        shape,
        async (from, to) => {
          const values = await checkpoint.rows(name, from, to);
          return rule === float32Rows ? values : withinFloat16(name, from, values, shape);
        },
        rule,
      ),
    );
  }
  return weights;
}
