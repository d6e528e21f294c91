/**
 * @file Converts a weight to a form that a target can store, and where it runs can take, with the same values that were
 * evaluated.
 *
 * The Neural Engine takes one scale for a tensor or for an output channel: codes with a scale per block become fp16.
 * Systems before iOS 18 keep compressed constants in attributes, which support less: codes of 8
 * bits with one scale per tensor or per row, one table per tensor, no palettes of 3 bits. Other
 * weights are converted without fitting anything again:
 *
 *   affine, 4 bits           the same codes in 8 bits
 *   affine, scale per block  fp16
 *   palette, g tables of 2^b entries    one table of all g · 2^b entries, where these are at most 256; else fp16
 *
 * Only the products of a scaled palette that becomes fp16 are rounded. The file gets larger; the
 * note on a weight says so. To make it small again, quantize for that target.
 */
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import type { ComputeTarget, Target } from "../../formats/coreml/targets.ts";
import { decodeWeight } from "../../weights/decode.ts";
import { rowsTogether } from "../../weights/form.ts";
import type { CompressedWeight, DeferredWeight, PaletteForm, PaletteWeight, WeightForm } from "../../weights/weight.ts";
import { rowsOf } from "../../weights/weight-views.ts";

export interface TargetForm {
  readonly form: WeightForm;
  /** What the target cannot store and what it gets instead; null if the weight does not change. */
  readonly note: string | null;
}

/** The form that `target` stores for a weight of `form` that is to run on `compute`. */
export function formFor(form: WeightForm, target: Target, compute: ComputeTarget = "gpu"): TargetForm {
  const inBlocks = form.kind === "affine" && form.scaleShape.some((d, axis) => axis > 0 && d > 1);
  if (inBlocks && (target.attributeConstants || compute === "neural-engine")) {
    const where = target.attributeConstants ? target.system : "the Neural Engine";
    return { form: halves(form.shape), note: `no scale per block on ${where}: stored as fp16, the same values` };
  }
  if (!target.attributeConstants || form.kind === "dense" || form.kind === "sparse") return { form, note: null };
  const on = `on ${target.system}`;
  if (form.kind === "affine") {
    return form.bits === 8
      ? { form, note: null }
      : { form: { ...form, bits: 8 }, note: `no codes of 4 bits ${on}: stored in 8, the same values` };
  }
  const palette = form.kind === "scaled" ? form.inner : form;
  const rows = form.shape[0] ?? 1;
  const tables = rows / palette.rowsPerTable;
  const bits = fewestBits(tables * 2 ** palette.bits, target);
  if (tables === 1 && bits === palette.bits) return { form, note: null };
  const what = tables === 1 ? `no palette of ${palette.bits} bits ${on}` : `one table a tensor ${on}, not ${tables}`;
  if (bits === null) {
    const same = form.kind === "scaled" ? "rounded to it" : "the same values";
    return { form: halves(form.shape), note: `${what}: stored as fp16, ${same}` };
  }
  const joined: PaletteForm = { kind: "palette", bits, shape: form.shape, rowsPerTable: rows };
  return {
    form: form.kind === "scaled" ? { kind: "scaled", shape: form.shape, inner: joined } : joined,
    note: `${what}: stored as one of ${bits} bits, the same values`,
  };
}

const halves = (shape: readonly number[]): WeightForm => ({ kind: "dense", dtype: "fp16", shape });

/** The narrowest palette of the target with this many entries. */
function fewestBits(entries: number, target: Target): PaletteWeight["bits"] | null {
  const sizes: readonly PaletteWeight["bits"][] = [1, 2, 3, 4, 6, 8];
  return sizes.find((b) => target.paletteBits.includes(b) && 2 ** b >= entries) ?? null;
}

/** `w` in the form that `formFor` gives it, made when it is asked for. */
export function weightFor(w: DeferredWeight, target: Target, compute: ComputeTarget = "gpu"): DeferredWeight {
  const { form, note } = formFor(w.form, target, compute);
  if (note === null) return w;
  if (form.kind === "palette" || form.kind === "scaled") return joinedPalette(w, form);
  return {
    kind: "deferred",
    form,
    async *pieces(rows) {
      for await (const piece of w.pieces(rows))
        yield form.kind === "affine" && piece.kind === "affine" ? { ...piece, bits: form.bits } : decoded(piece);
    },
  };
}

const decoded = (w: CompressedWeight): CompressedWeight => ({
  kind: "dense",
  dtype: "fp16",
  shape: w.shape,
  values: decodeWeight(w).map(roundToFloat16),
});

/** Every row needs all tables, so the whole weight is made, and kept while it is referenced. */
function joinedPalette(w: DeferredWeight, form: WeightForm): DeferredWeight {
  let last: WeakRef<CompressedWeight> | undefined;
  return {
    kind: "deferred",
    form,
    async *pieces(rows) {
      const whole = last?.deref() ?? (await joined(w, form));
      last = new WeakRef(whole);
      yield rows ? rowsOf(whole, rows.from, rows.to) : whole;
    },
  };
}

async function joined(w: DeferredWeight, form: WeightForm): Promise<CompressedWeight> {
  const bits = form.kind === "scaled" ? form.inner.bits : form.kind === "palette" ? form.bits : 8;
  const [rows = 1, ...rest] = form.shape;
  const columns = rest.reduce((n, d) => n * d, 1);
  const indices = new Uint8Array(rows * columns);
  const tables = new Float32Array(2 ** bits);
  const scales: number[] = [];
  // All pieces of a weight with one table share it.
  const isOne = rowsTogether(w.form) === rows;
  let at = 0;
  let entries = 0;
  for await (const piece of w.pieces()) {
    const palette = piece.kind === "scaled" ? piece.inner : piece;
    if (palette.kind !== "palette") throw new EspalierError("internal/invariant", `internal: a ${piece.kind} palette`);
    const perTable = palette.rowsPerTable * columns;
    if (isOne) entries = 0;
    for (const [i, index] of palette.indices.entries())
      indices[at + i] = entries + Math.floor(i / perTable) * 2 ** palette.bits + index;
    tables.set(palette.tables, entries);
    at += palette.indices.length;
    entries += palette.tables.length;
    if (piece.kind === "scaled") for (const s of piece.rowScales) scales.push(s);
  }
  // Entries that no index names.
  tables.fill(tables[entries - 1] ?? 0, entries);
  const palette: PaletteWeight = { kind: "palette", bits, shape: form.shape, indices, tables, rowsPerTable: rows };
  return form.kind === "scaled"
    ? { kind: "scaled", shape: form.shape, inner: palette, rowScales: Float32Array.from(scales) }
    : palette;
}
