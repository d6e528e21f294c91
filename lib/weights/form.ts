/**
 * @file The form of a compressed weight: which tensors a file keeps for it, of which types and shapes, before any data is made.
 *
 * From it follow bytes, the constants of a program, and what a target allows. Shapes are those of Core ML's iOS 18
 * `constexpr_*` operations: affine scale divides the weight's shape; palette table (rows / rowsPerTable, 1…, 2^bits, 1).
 */
import { float16FromFloat32 } from "../float16.ts";
import type { TensorData } from "../mil/tensor.ts";
import { type DType, dtypeBits, elementCount } from "../mil/types.ts";
import type { CompressedWeight, DeferredWeight, PaletteForm, WeightForm } from "./weight.ts";

export type PartName =
  | "values" // dense
  | "codes" // affine
  | "scales" // affine
  | "offsets" // affine
  | "indices" // palette
  | "tables" // palette
  | "mask" // sparse
  | "nonzeros" // sparse
  | "rowScales"; // scaled

/** A tensor that is kept for a weight. */
export interface WeightPart {
  readonly name: PartName;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export function formOf(w: CompressedWeight | DeferredWeight): WeightForm {
  switch (w.kind) {
    case "deferred":
      return w.form;
    case "dense":
      return { kind: "dense", dtype: w.dtype, shape: w.shape };
    case "affine":
      return { kind: "affine", bits: w.bits, shape: w.shape, scaleShape: w.scaleShape, offsets: w.offsets !== null };
    case "palette":
      return { kind: "palette", bits: w.bits, shape: w.shape, rowsPerTable: w.rowsPerTable };
    case "sparse":
      return { kind: "sparse", shape: w.shape, nonzeros: w.nonzeros.length };
    case "scaled": {
      const { bits, shape, rowsPerTable } = w.inner;
      return { kind: "scaled", shape: w.shape, inner: { kind: "palette", bits, shape, rowsPerTable } };
    }
  }
}

/** The parts of a weight, the largest first. */
export function formParts(form: WeightForm): WeightPart[] {
  const { shape } = form;
  const rows = shape[0] ?? 1;
  const ones = shape.slice(1).map(() => 1);
  switch (form.kind) {
    case "dense":
      return [{ name: "values", dtype: form.dtype, shape }];
    case "affine": {
      const dtype = form.bits === 4 ? "int4" : "int8";
      const offsets: WeightPart[] = form.offsets ? [{ name: "offsets", dtype, shape: form.scaleShape }] : [];
      return [{ name: "codes", dtype, shape }, { name: "scales", dtype: "fp16", shape: form.scaleShape }, ...offsets];
    }
    case "palette":
      return [
        { name: "indices", dtype: `uint${form.bits}`, shape },
        { name: "tables", dtype: "fp16", shape: [rows / form.rowsPerTable, ...ones, 2 ** form.bits, 1] },
      ];
    case "sparse":
      return [
        { name: "mask", dtype: "uint1", shape },
        { name: "nonzeros", dtype: "fp16", shape: [form.nonzeros] },
      ];
    case "scaled":
      return [...formParts(form.inner), { name: "rowScales", dtype: "fp16", shape: [rows, ...ones] }];
  }
}

/** The data of a part as a file keeps it, sub-byte elements one a byte; null for a part that `w` has not. */
export function partData(w: CompressedWeight, part: PartName): TensorData | null {
  const half = (values: Float32Array): TensorData => float16FromFloat32(values);
  switch (w.kind) {
    case "dense":
      return part === "values" ? (w.dtype === "fp16" ? half(w.values) : w.values) : null;
    case "affine":
      return part === "codes" ? w.codes : part === "scales" ? half(w.scales) : part === "offsets" ? w.offsets : null;
    case "palette":
      return part === "indices" ? w.indices : part === "tables" ? half(w.tables) : null;
    case "sparse":
      return part === "mask" ? w.mask : part === "nonzeros" ? half(w.nonzeros) : null;
    case "scaled":
      return part === "rowScales" ? half(w.rowScales) : partData(w.inner, part);
  }
}

const partSizeBytes = ({ dtype, shape }: WeightPart): number => Math.ceil((elementCount(shape) * dtypeBits[dtype]) / 8);

/** Rows that share a table or a scale, and can only be cut between one such group and the next. */
export function rowsTogether(form: WeightForm): number {
  const rows = form.shape[0] ?? 1;
  if (form.kind === "affine") return rows / (form.scaleShape[0] ?? 1);
  if (form.kind === "palette") return form.rowsPerTable;
  return form.kind === "scaled" ? form.inner.rowsPerTable : 1;
}

/** Bytes of everything stored: packed codes, offsets and mask, fp16 scales, tables and nonzeros. */
export const formSizeBytes = (form: WeightForm): number => formParts(form).reduce((n, p) => n + partSizeBytes(p), 0);

/** `form` with the rows [from, to) alone. */
export function formOfRows(form: Exclude<WeightForm, { kind: "sparse" }>, from: number, to: number): WeightForm {
  const cut = (shape: readonly number[]): number[] => [to - from, ...shape.slice(1)];
  if (form.kind === "affine") {
    const [scaleRows = 1, ...rest] = form.scaleShape;
    const rowsPerScale = (form.shape[0] ?? 1) / scaleRows;
    return { ...form, shape: cut(form.shape), scaleShape: [groupCount(rowsPerScale, from, to), ...rest] };
  }
  const cutPalette = (palette: PaletteForm): PaletteForm => {
    const { rowsPerTable } = palette;
    const single = groupCount(rowsPerTable, from, to) === 1;
    return { ...palette, shape: cut(palette.shape), rowsPerTable: single ? to - from : rowsPerTable };
  };
  if (form.kind === "palette") return cutPalette(form);
  if (form.kind === "scaled") return { ...form, shape: cut(form.shape), inner: cutPalette(form.inner) };
  return { ...form, shape: cut(form.shape) };
}

/** The groups of `size` rows that rows `from` … `to` − 1 lie in. */
const groupCount = (size: number, from: number, to: number): number => Math.ceil(to / size) - Math.floor(from / size);
