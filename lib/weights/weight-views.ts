/**
 * @file Views of a compressed weight without decoding it: another shape, a power-of-two factor,
 * some of its rows.
 *
 * Exact: codes stay codes, tables stay tables. A power of two moves only the exponents of scales, tables and values, so
 * nothing is rounded but what falls below fp16's smallest normal number, 2^-14.
 */
import { dim, u8At } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { roundToFloat16 } from "../float16.ts";
import { formOfRows } from "./form.ts";
import type {
  AffineWeight,
  CompressedWeight,
  DeferredWeight,
  PaletteWeight,
  SparseWeight,
  WeightForm,
} from "./weight.ts";

type Weight = CompressedWeight | DeferredWeight;

/** The same view of every piece of a weight that is made late. */
const ofPieces = (
  w: DeferredWeight,
  form: WeightForm,
  view: (piece: CompressedWeight) => CompressedWeight,
): DeferredWeight => ({
  kind: "deferred",
  form,
  async *pieces(rows) {
    for await (const piece of w.pieces(rows)) yield view(piece);
  },
});

const pointwiseShape = (shape: readonly number[]): number[] => [...shape, 1, 1];

export function pointwiseForm<T extends WeightForm>(form: T): T {
  const shape = pointwiseShape(form.shape);
  if (form.kind === "affine") return { ...form, shape, scaleShape: pointwiseShape(form.scaleShape) };
  if (form.kind === "scaled") return { ...form, shape, inner: { ...form.inner, shape } };
  return { ...form, shape };
}

/** (out, in) as the (out, in, 1, 1) of a pointwise convolution. */
export function asPointwise(w: CompressedWeight): CompressedWeight;
export function asPointwise(w: Weight): Weight;
export function asPointwise(w: Weight): Weight {
  if (w.kind === "deferred") return ofPieces(w, pointwiseForm(w.form), asPointwise);
  const shape = pointwiseShape(w.shape);
  if (w.kind === "affine") return { ...w, shape, scaleShape: pointwiseShape(w.scaleShape) };
  if (w.kind === "scaled") return { ...w, shape, inner: { ...w.inner, shape } };
  return { ...w, shape };
}

const times = (values: Float32Array, factor: number, half: boolean): Float32Array =>
  values.map((v) => (half ? roundToFloat16(v * factor) : v * factor));

/** factor · w. Throws `input/invalid` unless the factor is a power of two. */
export function timesPowerOfTwo(w: CompressedWeight, factor: number): CompressedWeight;
export function timesPowerOfTwo(w: Weight, factor: number): Weight;
export function timesPowerOfTwo(w: Weight, factor: number): Weight {
  if (factor === 1) return w;
  if (!(factor > 0) || !Number.isInteger(Math.log2(factor)))
    throw new EspalierError("input/invalid", `a weight is scaled by a power of two, found ${factor}`);
  switch (w.kind) {
    case "dense":
      return { ...w, values: times(w.values, factor, w.dtype === "fp16") };
    case "affine":
      return { ...w, scales: times(w.scales, factor, true) };
    case "palette":
      return { ...w, tables: times(w.tables, factor, true) };
    case "sparse":
      return { ...w, nonzeros: times(w.nonzeros, factor, true) };
    case "scaled":
      return { ...w, rowScales: times(w.rowScales, factor, true) };
    case "deferred":
      return ofPieces(w, w.form, (piece) => timesPowerOfTwo(piece, factor));
  }
}

/**
 * Rows `from` … `to` − 1 of a (rows, columns) weight. Throws `export/unsupported` where they cut through a palette's or a
 * scale's group of rows.
 */
export function rowsOf(w: CompressedWeight, from: number, to: number): CompressedWeight;
export function rowsOf(w: Weight, from: number, to: number): Weight;
export function rowsOf(w: Weight, from: number, to: number): Weight {
  const [rows, columns] = (w.kind === "deferred" ? w.form.shape : w.shape) as [number, number];
  if (from === 0 && to === rows) return w;
  const shape = [to - from, columns];
  switch (w.kind) {
    case "dense":
      return { ...w, shape, values: w.values.subarray(from * columns, to * columns) };
    case "affine":
      return affineRows(w, from, to, shape);
    case "palette":
      return paletteRows(w, from, to, shape);
    case "sparse":
      return sparseRows(w, from, to, shape);
    case "scaled":
      return { ...w, shape, inner: paletteRows(w.inner, from, to, shape), rowScales: w.rowScales.subarray(from, to) };
    case "deferred":
      return deferredRows(w, from, to);
  }
}

/** Rows of a weight that is made late: made alone. */
function deferredRows(w: DeferredWeight, from: number, to: number): DeferredWeight {
  const { form } = w;
  if (form.kind === "sparse")
    throw new EspalierError("export/unsupported", "some rows of a sparse weight that is made late", {
      hint: "How many of its values fall into them is not known beforehand.",
    });
  const table = form.kind === "palette" ? form : form.kind === "scaled" ? form.inner : null;
  if (table) groupsOf("palette", table.rowsPerTable, from, to);
  return {
    kind: "deferred",
    form: formOfRows(form, from, to),
    pieces: (rows = { from: 0, to: to - from }) => w.pieces({ from: from + rows.from, to: from + rows.to }),
  };
}

/** The groups of `size` rows that rows `from` … `to` − 1 are; one shared group where they all lie in one. */
function groupsOf(what: string, size: number, from: number, to: number): { first: number; last: number } {
  const first = Math.floor(from / size);
  const last = Math.ceil(to / size);
  if (last - first > 1 && (from % size !== 0 || to % size !== 0)) {
    throw new EspalierError("export/unsupported", `rows ${from} to ${to} cut through a ${what} of ${size} rows`, {
      hint: `Use groups of rows that divide ${from} and ${to}, or split the vocabulary elsewhere.`,
    });
  }
  return { first, last };
}

function affineRows(w: AffineWeight, from: number, to: number, shape: number[]): AffineWeight {
  const columns = dim(shape, 1);
  const [scaleRows, scaleColumns] = w.scaleShape as [number, number];
  const { first, last } = groupsOf("scale", dim(w.shape, 0) / scaleRows, from, to);
  const [a, b] = [first * scaleColumns, last * scaleColumns];
  return {
    ...w,
    shape,
    codes: w.codes.subarray(from * columns, to * columns),
    scales: w.scales.subarray(a, b),
    scaleShape: [last - first, scaleColumns],
    offsets: w.offsets?.subarray(a, b) ?? null,
  };
}

function paletteRows(w: PaletteWeight, from: number, to: number, shape: number[]): PaletteWeight {
  const columns = dim(shape, 1);
  const entries = 2 ** w.bits;
  const { first, last } = groupsOf("palette", w.rowsPerTable, from, to);
  return {
    ...w,
    shape,
    indices: w.indices.subarray(from * columns, to * columns),
    tables: w.tables.subarray(first * entries, last * entries),
    rowsPerTable: last - first === 1 ? to - from : w.rowsPerTable,
  };
}

function sparseRows(w: SparseWeight, from: number, to: number, shape: number[]): SparseWeight {
  const columns = dim(shape, 1);
  const ones = (begin: number, end: number): number => {
    let n = 0;
    for (let i = begin; i < end; i++) n += u8At(w.mask, i);
    return n;
  };
  const before = ones(0, from * columns);
  const inside = ones(from * columns, to * columns);
  return {
    ...w,
    shape,
    mask: w.mask.subarray(from * columns, to * columns),
    nonzeros: w.nonzeros.subarray(before, before + inside),
  };
}
