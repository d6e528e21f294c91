/**
 * @file Palettes: each weight becomes an index into a small table of values, fitted by k-means.
 *
 * Reference: Han et al., "Deep Compression" (2016); granularity as in Core ML (iOS 18): one table per `rowsPerTable`
 * consecutive output channels. Column weights E[x_c²] minimise the error of the layer's output; the
 * Fisher information of each weight minimises, to second order, that of the loss (Kim et al.,
 * SqueezeLLM, 2023). Tables are rounded to fp16 before indices are chosen, so each index points to
 * the nearest entry that ships. `kmeans-1d.ts` says when a table is the optimum and when it is only close to it.
 */
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import { elementCount } from "../../mil/types.ts";
import type { PaletteWeight } from "../../weights/weight.ts";
import { kmeans1d } from "./kmeans-1d.ts";
import { finish, STEP_ELEMENTS, type Steps } from "./steps.ts";

export interface PaletteOptions {
  readonly bits: PaletteWeight["bits"];
  /** Output channels that share a table; null for one table. Must divide the rows. */
  readonly rowsPerTable: number | null;
  /** How much an error in each input column counts, (columns). */
  readonly columnWeights?: Float32Array | undefined;
  /** How much an error in each weight counts, (rows, columns); replaces `columnWeights`. */
  readonly elementWeights?: Float32Array | undefined;
}

/** `values` (rows, columns). Throws `input/invalid` when tables do not divide the rows, `numeric/non-finite`. */
export const palettize = (values: Float32Array, shape: readonly number[], options: PaletteOptions): PaletteWeight =>
  finish(palettizeSteps(values, shape, options));

/** As `palettize`, the tables of some rows per step. */
export function* palettizeSteps(
  values: Float32Array,
  shape: readonly number[],
  options: PaletteOptions,
): Steps<PaletteWeight> {
  const rows = shape[0] as number;
  const columns = elementCount(shape.slice(1));
  const rowsPerTable = options.rowsPerTable ?? rows;
  if (!Number.isInteger(rowsPerTable) || rowsPerTable < 1 || rows % rowsPerTable !== 0) {
    throw new EspalierError("input/invalid", `${rowsPerTable} rows a table do not divide ${rows} rows`, {
      hint: "Choose a divisor, such as 8, 16 or 32.",
    });
  }
  checkFinite(values, columns);
  const entries = 2 ** options.bits;
  const groups = rows / rowsPerTable;
  const size = rowsPerTable * columns;
  const tables = new Float32Array(groups * entries);
  const indices = new Uint8Array(values.length);
  const weights = options.columnWeights ? repeatColumns(options.columnWeights, rowsPerTable) : undefined;
  let since = 0;
  for (let g = 0; g < groups; g++) {
    const part = values.subarray(g * size, (g + 1) * size);
    const table = tables.subarray(g * entries, (g + 1) * entries);
    const found = kmeans1d(part, entries, options.elementWeights?.subarray(g * size, (g + 1) * size) ?? weights);
    for (let e = 0; e < entries; e++) table[e] = roundToFloat16(found[Math.min(e, found.length - 1)] as number);
    assignNearest(part, table, indices.subarray(g * size, (g + 1) * size));
    since += size;
    if (since >= STEP_ELEMENTS) {
      since = 0;
      yield;
    }
  }
  return { kind: "palette", bits: options.bits, shape: [...shape], indices, tables, rowsPerTable };
}

/** For every value the nearest entry of an ascending table, the first of equals. */
export function assignNearest(values: Float32Array, table: Float32Array, indices: Uint8Array): void {
  const limits = new Float64Array(table.length - 1);
  for (let e = 0; e < limits.length; e++) limits[e] = ((table[e] as number) + (table[e + 1] as number)) / 2;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    let low = 0;
    let high = limits.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((limits[middle] as number) < v) low = middle + 1;
      else high = middle;
    }
    indices[i] = low;
  }
}

function repeatColumns(weights: Float32Array, rows: number): Float32Array {
  const out = new Float32Array(weights.length * rows);
  for (let r = 0; r < rows; r++) out.set(weights, r * weights.length);
  return out;
}

export function checkFinite(values: Float32Array, columns: number): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new EspalierError(
        "numeric/non-finite",
        `the weight at row ${Math.floor(i / columns)}, column ${i % columns} is ${values[i]}`,
        {
          hint: "The checkpoint is damaged, or training diverged before it was saved.",
        },
      );
    }
  }
}
