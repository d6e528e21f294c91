/**
 * @file Decodes a compressed weight to the floats a package multiplies with, and counts what storing it takes.
 *
 * Reference: Core ML's iOS 18 `constexpr_*` operations, whose result has the type of the scale or table (fp16):
 *
 *   affine   w = fp16(scale · (code − offset));  palette  w = table[index];  sparse  w = mask ? next nonzero : 0
 *   scaled   w = scale · table[index], in fp32
 *
 * Not included: the alignment of records inside a weight file, which belongs to the file's writer.
 */
import { EspalierError } from "../errors.ts";
import { float16Table, toFloat16Bits } from "../float16.ts";
import { formOf, formSizeBytes } from "./form.ts";
import type { AffineWeight, CompressedWeight, PaletteWeight, ScaledWeight, SparseWeight } from "./weight.ts";

const countOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

function requireLength(what: string, found: number, expected: number): void {
  if (found !== expected) {
    throw new EspalierError(
      "format/malformed",
      `compressed weight: ${what} has ${found} elements, expected ${expected}`,
    );
  }
}

/** The values a package holds, row-major in the weight's shape. Throws `format/malformed` for parts that do not fit. */
export function decodeWeight(w: CompressedWeight): Float32Array {
  requireParts(w);
  switch (w.kind) {
    case "dense":
      return w.dtype === "fp16" ? roundAll(w.values) : w.values.slice();
    case "affine":
      return decodeAffine(w);
    case "palette":
      return decodePalette(w);
    case "sparse":
      return decodeSparse(w);
    case "scaled":
      return decodeScaled(w);
  }
}

function requireParts(w: CompressedWeight): void {
  const count = countOf(w.shape);
  if (w.kind === "dense") {
    requireLength("values", w.values.length, count);
  } else if (w.kind === "affine") {
    requireLength("codes", w.codes.length, count);
    requireLength("scales", w.scales.length, countOf(w.scaleShape));
    if (w.offsets) requireLength("offsets", w.offsets.length, countOf(w.scaleShape));
    const divides =
      w.scaleShape.length === w.shape.length && w.shape.every((d, a) => d % (w.scaleShape[a] as number) === 0);
    if (!divides) {
      throw new EspalierError(
        "format/malformed",
        `compressed weight: scales [${w.scaleShape.join(", ")}] do not divide [${w.shape.join(", ")}]`,
      );
    }
  } else if (w.kind === "palette") {
    const rows = w.shape[0] as number;
    requireLength("indices", w.indices.length, count);
    if (!Number.isInteger(w.rowsPerTable) || w.rowsPerTable < 1 || rows % w.rowsPerTable !== 0) {
      throw new EspalierError("format/malformed", `palette: ${w.rowsPerTable} rows a table do not divide ${rows} rows`);
    }
    requireLength("tables", w.tables.length, (rows / w.rowsPerTable) * 2 ** w.bits);
  } else if (w.kind === "scaled") {
    requireLength("row scales", w.rowScales.length, w.shape[0] as number);
    requireLength("the scaled palette", countOf(w.inner.shape), count);
    requireParts(w.inner);
  } else {
    requireLength("mask", w.mask.length, count);
    requireLength("nonzeros", w.nonzeros.length, onesOf(w.mask));
  }
}

function roundAll(values: Float32Array): Float32Array {
  const half = float16Table();
  const out = new Float32Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = half[toFloat16Bits(values[i] as number)] as number;
  return out;
}

/** Walks whole runs of the last axis that share a block, so the block index is not computed per element. */
function decodeAffine(w: AffineWeight): Float32Array {
  const half = float16Table();
  const out = new Float32Array(w.codes.length); // shape
  const rank = w.shape.length;
  const columns = w.shape[rank - 1] ?? 1;
  const blocks = w.scaleShape[rank - 1] ?? 1;
  const run = columns / blocks;
  const position = new Array<number>(rank).fill(0);
  for (let start = 0; start < out.length; start += columns) {
    let block = 0;
    for (let a = 0; a < rank - 1; a++) {
      const per = (w.shape[a] as number) / (w.scaleShape[a] as number);
      block = block * (w.scaleShape[a] as number) + Math.floor((position[a] as number) / per);
    }
    block *= blocks;
    for (let g = 0; g < blocks; g++) {
      const scale = w.scales[block + g] as number;
      const offset = w.offsets ? (w.offsets[block + g] as number) : 0;
      const end = start + (g + 1) * run;
      for (let i = start + g * run; i < end; i++) {
        out[i] = half[toFloat16Bits(scale * ((w.codes[i] as number) - offset))] as number;
      }
    }
    for (let a = rank - 2; a >= 0; a--) {
      position[a] = (position[a] as number) + 1;
      if ((position[a] as number) < (w.shape[a] as number)) break;
      position[a] = 0;
    }
  }
  return out;
}

function decodePalette(w: PaletteWeight): Float32Array {
  const tables = roundAll(w.tables);
  const out = new Float32Array(w.indices.length); // shape
  const perTable = out.length / ((w.shape[0] as number) / w.rowsPerTable);
  const entries = 2 ** w.bits;
  for (let start = 0, base = 0; start < out.length; start += perTable, base += entries) {
    for (let i = start; i < start + perTable; i++) out[i] = tables[base + (w.indices[i] as number)] as number;
  }
  return out;
}

function decodeSparse(w: SparseWeight): Float32Array {
  const nonzeros = roundAll(w.nonzeros);
  const out = new Float32Array(w.mask.length); // shape
  let next = 0;
  for (let i = 0; i < out.length; i++) if (w.mask[i]) out[i] = nonzeros[next++] as number;
  return out;
}

/** The product is not rounded: the package multiplies outputs, not weights. */
function decodeScaled(w: ScaledWeight): Float32Array {
  const out = decodePalette(w.inner);
  const scales = roundAll(w.rowScales);
  const columns = out.length / scales.length;
  for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) * (scales[Math.floor(i / columns)] as number);
  return out;
}

function onesOf(mask: Uint8Array): number {
  let n = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i]) n++;
  return n;
}

/** Bytes of everything stored: packed codes, offsets and mask, fp16 scales, tables and nonzeros. */
export const weightSizeBytes = (w: CompressedWeight): number => formSizeBytes(formOf(w));
