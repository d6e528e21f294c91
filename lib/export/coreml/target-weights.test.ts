import { expect, test } from "vitest";
import { palettize } from "../../compress/quantize/palettize.ts";
import { quantizeAffine } from "../../compress/quantize/round-to-nearest.ts";
import { palettizeScaled } from "../../compress/quantize/scaled-palette.ts";
import { targets } from "../../formats/coreml/targets.ts";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import { formOf } from "../../weights/form.ts";
import type { CompressedWeight, DeferredWeight } from "../../weights/weight.ts";
import { rowsOf } from "../../weights/weight-views.ts";
import { formFor, weightFor } from "./target-weights.ts";

const shape = [12, 7];
const rng = createRng(3, "target weights");
const values = Float32Array.from({ length: 84 }, () => rng.normal());

/** In pieces of 4 rows, as streamed weights come. */
const deferred = (w: CompressedWeight): DeferredWeight => ({
  kind: "deferred",
  form: formOf(w),
  async *pieces(rows = { from: 0, to: 12 }) {
    for (let from = rows.from; from < rows.to; from += 4) yield rowsOf(w, from, Math.min(rows.to, from + 4));
  },
});

async function whole(w: DeferredWeight, rows?: { from: number; to: number }): Promise<number[]> {
  const all: number[] = [];
  for await (const piece of w.pieces(rows)) {
    expect(formOf(piece)).toMatchObject({ kind: w.form.kind });
    all.push(...decodeWeight(piece));
  }
  return all;
}

const affine = (bits: 4 | 8, groupSize: number | null, symmetric: boolean): CompressedWeight =>
  quantizeAffine(values, shape, { bits, groupSize, symmetric, clipSearch: true });

test.each<[string, CompressedWeight, object]>([
  ["three tables of 4", palettize(values, shape, { bits: 2, rowsPerTable: 4 }), { kind: "palette", bits: 4 }],
  ["three tables of 64", palettize(values, shape, { bits: 6, rowsPerTable: 4 }), { kind: "palette", bits: 8 }],
  ["three tables of 256", palettize(values, shape, { bits: 8, rowsPerTable: 4 }), { kind: "dense", dtype: "fp16" }],
  ["one table of 8", palettize(values, shape, { bits: 3, rowsPerTable: null }), { kind: "palette", bits: 4 }],
  ["tables and row scales", palettizeScaled(values, shape, { bits: 2, rowsPerTable: 4 }), { kind: "scaled" }],
  ["codes of 4 bits", affine(4, null, true), { kind: "affine", bits: 8, offsets: false }],
  ["codes of 4 bits with offsets", affine(4, null, false), { kind: "affine", bits: 8, offsets: true }],
  ["codes of 4 bits in blocks", affine(4, 7, true), { kind: "affine", bits: 8 }],
  ["codes of 8 bits", affine(8, null, false), { kind: "affine", bits: 8, offsets: true }],
])("%s: iOS 17 stores the same values", async (_name, w, form) => {
  const found = weightFor(deferred(w), targets.iOS17);
  expect(found.form).toMatchObject(form);
  expect(formFor(found.form, targets.iOS17).note).toBeNull();
  expect(await whole(found)).toEqual([...decodeWeight(w)]);
  // Some rows alone, as the parts of a head are asked for.
  expect(await whole(found, { from: 4, to: 8 })).toEqual([...decodeWeight(w).subarray(28, 56)]);
  expect(weightFor(deferred(w), targets.iOS18).form).toEqual(formOf(w));
});

test("products of row scales are rounded where only fp16 is left", async () => {
  const w = palettizeScaled(values, shape, { bits: 8, rowsPerTable: 4 });
  const found = weightFor(deferred(w), targets.iOS17);
  expect(found.form).toEqual({ kind: "dense", dtype: "fp16", shape });
  expect(formFor(formOf(w), targets.iOS17).note).toContain("rounded");
  for (const [i, v] of (await whole(found)).entries())
    expect(Math.abs(v - (decodeWeight(w)[i] as number))).toBeLessThanOrEqual(2 ** -10 * Math.abs(v));
});

test("a scale per block becomes fp16 for the Neural Engine alone", async () => {
  const w = affine(4, 7, true);
  expect(formFor(formOf(w), targets.iOS18, "gpu")).toEqual({ form: formOf(w), note: null });
  const blocks = quantizeAffine(values.subarray(0, 72), [12, 6], {
    bits: 4,
    groupSize: 3,
    symmetric: true,
    clipSearch: true,
  });
  for (const target of [targets.iOS18, targets.iOS26]) {
    const found = formFor(formOf(blocks), target, "neural-engine");
    expect(found.form).toEqual({ kind: "dense", dtype: "fp16", shape: [12, 6] });
    expect(found.note).toBe("no scale per block on the Neural Engine: stored as fp16, the same values");
  }
  expect(await whole(weightFor(deferred(blocks), targets.iOS18, "neural-engine"))).toEqual([...decodeWeight(blocks)]);
});
