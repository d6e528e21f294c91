/**
 * @file Compresses a matrix too large to hold, some rows at a time, into one weight.
 *
 * Palettes and affine codes treat groups of rows independently, so the whole is the concatenation
 * of its parts. Only the codes of the whole are in memory. Not included: sparse weights, whose mask
 * would be chosen over all rows.
 */

import type { RowTable } from "../../decoder/weights.ts";
import { dim } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import type { CompressedWeight } from "../../weights/weight.ts";

export interface ByRows {
  /** Blocks are a multiple of this many rows, which share a table. */
  readonly rowsTogether: number;
  /** fp32 values held at once; compressing this many takes some tenths of a second. */
  readonly blockElements?: number;
  compress(values: Float32Array, shape: readonly number[]): CompressedWeight;
  /** Called with each block, its compressed form and the share done. */
  onBlock?(values: Float32Array, compressed: CompressedWeight, share: number): Promise<void> | void;
}

export async function compressByRows(
  table: RowTable,
  { rowsTogether, blockElements = 1 << 20, compress, onBlock }: ByRows,
): Promise<CompressedWeight> {
  const [rows, columns] = table.shape as [number, number];
  const step = Math.max(1, Math.floor(blockElements / (columns * rowsTogether))) * rowsTogether;
  let whole: CompressedWeight | undefined;
  for (let from = 0; from < rows; from += step) {
    const count = Math.min(step, rows - from);
    const values = await table.rows(Int32Array.from({ length: count }, (_, i) => from + i));
    const part = compress(values, [count, columns]);
    whole ??= emptyLike(part, rows);
    place(whole, part, from);
    await onBlock?.(values, part, (from + count) / rows);
  }
  if (!whole) throw new EspalierError("input/empty", "a matrix without rows cannot be compressed");
  return whole;
}

/** Space for `rows` rows of the weight that `part` begins. */
function emptyLike(part: CompressedWeight, rows: number): CompressedWeight {
  const [count, columns] = part.shape as [number, number];
  const share = rows / count;
  const shape = [rows, columns];
  if (part.kind === "dense") return { ...part, shape, values: new Float32Array(rows * columns) };
  if (part.kind === "palette") {
    const tables = new Float32Array(part.tables.length * share);
    return { ...part, shape, indices: new Uint8Array(rows * columns), tables };
  }
  if (part.kind === "affine") {
    const scaleShape = [dim(part.scaleShape, 0) * share, dim(part.scaleShape, 1)];
    return {
      ...part,
      shape,
      codes: new Int8Array(rows * columns),
      scales: new Float32Array(part.scales.length * share),
      scaleShape,
      offsets: part.offsets && new Int8Array(part.offsets.length * share),
    };
  }
  throw new EspalierError("input/invalid", `a ${part.kind} weight cannot be made row by row`);
}

/** Copies `part` to its place from row `from` on. */
function place(whole: CompressedWeight, part: CompressedWeight, from: number): void {
  const [count, columns] = part.shape as [number, number];
  const at = (length: number): number => (length / count) * from;
  if (whole.kind === "dense" && part.kind === "dense") whole.values.set(part.values, from * columns);
  if (whole.kind === "palette" && part.kind === "palette") {
    whole.indices.set(part.indices, from * columns);
    whole.tables.set(part.tables, at(part.tables.length));
  }
  if (whole.kind === "affine" && part.kind === "affine") {
    whole.codes.set(part.codes, from * columns);
    whole.scales.set(part.scales, at(part.scales.length));
    if (part.offsets) whole.offsets?.set(part.offsets, at(part.offsets.length));
  }
}
