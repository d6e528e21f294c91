/**
 * @file Compressing a matrix some rows at a time, for weights that are larger than memory.
 *
 * Each row's fp16 and affine codes (a scale per row or per group of columns) depend on that row
 * alone; a palette needs all rows that share a table. The result is bit for bit that of compressing
 * the whole matrix.
 */
import { roundToFloat16 } from "../../float16.ts";
import { elementCount } from "../../mil/types.ts";
import type { CompressedWeight, DeferredWeight, PaletteWeight, WeightForm } from "../../weights/weight.ts";
import { rowsOf } from "../../weights/weight-views.ts";
import { palettize } from "./palettize.ts";
import { quantizeAffine } from "./round-to-nearest.ts";

export interface RowCompression {
  form(shape: readonly number[]): WeightForm;
  /** Rows that must be compressed together. */
  readonly rowStep: number;
  compress(values: Float32Array, shape: readonly number[]): CompressedWeight;
}

export const float16Rows: RowCompression = {
  form: (shape) => ({ kind: "dense", dtype: "fp16", shape }),
  rowStep: 1,
  compress: (values, shape) => ({ kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) }),
};

/** As they are. */
export const float32Rows: RowCompression = {
  form: (shape) => ({ kind: "dense", dtype: "fp32", shape }),
  rowStep: 1,
  compress: (values, shape) => ({ kind: "dense", dtype: "fp32", shape, values }),
};

/** One scale a row. */
export const affineRows = (bits: 4 | 8, clipSearch = true): RowCompression => ({
  form: (shape) => ({ kind: "affine", bits, shape, scaleShape: [shape[0] ?? 1, 1], offsets: false }),
  rowStep: 1,
  compress: (values, shape) => quantizeAffine(values, shape, { bits, groupSize: null, symmetric: true, clipSearch }),
});

export const paletteRows = (bits: PaletteWeight["bits"], rowsPerTable: number): RowCompression => ({
  form: (shape) => ({ kind: "palette", bits, shape, rowsPerTable }),
  rowStep: rowsPerTable,
  compress: (values, shape) => palettize(values, shape, { bits, rowsPerTable }),
});

/** fp32 values held at once, rounded to whole rows; compressing this many takes some tenths of a
 * second. */
const PIECE_ELEMENTS = 1 << 20;

/** A weight of `shape` whose rows are read and compressed when it is written. */
export function deferredWeight(
  shape: readonly number[],
  readRows: (from: number, to: number) => Promise<Float32Array>,
  compression: RowCompression,
): DeferredWeight {
  const rows = shape[0] ?? 1;
  const columns = elementCount(shape.slice(1));
  const { rowStep } = compression;
  const step = rowStep * Math.max(1, Math.floor(PIECE_ELEMENTS / (rowStep * columns)));
  return {
    kind: "deferred",
    form: compression.form(shape),
    async *pieces(wanted = { from: 0, to: rows }) {
      // Rows inside a group are compressed with it.
      const first = Math.floor(wanted.from / rowStep) * rowStep;
      for (let from = first; from < wanted.to; from += step) {
        const to = Math.min(rows, from + step, Math.ceil(wanted.to / rowStep) * rowStep);
        const piece = compression.compress(await readRows(from, to), [to - from, ...shape.slice(1)]);
        const [begin, end] = [Math.max(wanted.from, from) - from, Math.min(wanted.to, to) - from];
        yield begin === 0 && end === to - from ? piece : rowsOf(piece, begin, end);
      }
    },
  };
}
