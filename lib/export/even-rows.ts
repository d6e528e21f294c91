/**
 * @file A weight in the order of a file whose layers are all of one width: rows and columns where `even-widths.ts` puts them, zeros between.
 *
 * Values, codes and importances are read here, some rows at a time; what they are written as is each format's.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { WeightEntry } from "../decoder/weights.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { AffineWeight } from "../weights/weight.ts";
import type { Places } from "./even-widths.ts";

/** Values held at once when a matrix is read by rows. */
const PIECE_ELEMENTS = 1 << 20;

export interface EvenSource {
  readonly checkpoint: Checkpoint;
  readonly entry: WeightEntry;
  /** In the file. */
  readonly shape: readonly number[];
  readonly places: Places;
}

/**
 * Importances in the file's order: none for columns of zeros, and for inputs that were never anything but 0 the least that any
 * other has, because another text may use them.
 */
export function placedImportance(importance: Float32Array, columns: Int32Array | null): Float32Array {
  let least = Number.POSITIVE_INFINITY;
  for (const v of importance) if (v > 0 && v < least) least = v;
  const used = importance.map((v) => (v > 0 ? v : Number.isFinite(least) ? least : 1));
  return columns ? Float32Array.from(columns, (from) => (from < 0 ? 0 : (used[from] ?? 0))) : used;
}

/** The codes and scales of row `row` of the weight, in the file's order; a scale for every `codes.length / scales.length` of them. */
export function fillRow(
  { codes, scales, shape, scaleShape }: AffineWeight,
  columns: Int32Array | null,
  row: number,
  outCodes: Int8Array,
  outScales: Float32Array,
): void {
  const [width, perRow] = [shape[1] ?? 1, scaleShape[1] ?? 1];
  const rowStep = (shape[0] ?? 1) / (scaleShape[0] ?? 1);
  const columnStep = width / perRow;
  const block = outCodes.length / outScales.length;
  for (let c = 0; c < outCodes.length; c++) {
    const from = columns ? (columns[c] ?? -1) : c;
    if (from < 0) continue;
    outCodes[c] = codes[row * width + from] ?? 0;
    outScales[Math.floor(c / block)] = scales[Math.floor(row / rowStep) * perRow + Math.floor(from / columnStep)] ?? 0;
  }
}

/** Whether the columns of every block of `size` in the file have one of the weight's scales, each of `columnStep` columns. */
export function oneScaleABlock(columns: Int32Array | null, width: number, columnStep: number, size: number): boolean {
  if (!columns) return columnStep % size === 0 || columnStep === width;
  for (let block = 0; block < columns.length; block += size) {
    const groups = new Set<number>();
    for (const from of columns.subarray(block, block + size)) if (from >= 0) groups.add(Math.floor(from / columnStep));
    if (groups.size > 1) return false;
  }
  return true;
}

/** The decoded values in the file's order, whole rows at a time. */
export async function* evenRows({ checkpoint, entry, shape, places }: EvenSource): AsyncGenerator<Float32Array> {
  const [count = 1, width = 1] = shape;
  const step = Math.max(1, Math.floor(PIECE_ELEMENTS / width));
  const { rows, columns } = places;
  const form = checkpoint.form(entry.name);
  if (form.kind === "dense" && !rows && !columns) {
    for (let from = 0; from < count; from += step)
      yield checkpoint.rows(entry.name, from, Math.min(count, from + step));
    return;
  }
  const values = decodeWeight(await checkpoint.weight(entry.name));
  const sourceWidth = entry.shape[1] ?? 1;
  for (let from = 0; from < count; from += step) {
    const to = Math.min(count, from + step);
    const out = new Float32Array((to - from) * width);
    for (let row = from; row < to; row++) {
      const source = rows ? (rows[row] ?? -1) : row;
      if (source < 0) continue;
      const line = values.subarray(source * sourceWidth, (source + 1) * sourceWidth);
      if (!columns) out.set(line, (row - from) * width);
      else for (let c = 0; c < width; c++) out[(row - from) * width + c] = line[columns[c] ?? -1] ?? 0;
    }
    yield out;
  }
}
