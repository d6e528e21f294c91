import { expect, test } from "vitest";
import { storeAs, type Width } from "../compress/quantize/width.ts";
import { createRng } from "../random.ts";
import { decodeWeight } from "./decode.ts";
import { linearWeight } from "./linear.ts";
import type { CompressedWeight } from "./weight.ts";

const rng = createRng(3, "linear");
const normal = (n: number): Float32Array => Float32Array.from({ length: n }, () => rng.normal());
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((n, v, i) => n + v * (b[i] as number), 0);
const [rows, columns] = [16, 24];

const store = (width: Width, layout: { asymmetric?: boolean; rowScales?: boolean }): CompressedWeight =>
  storeAs(width, normal(rows * columns), [rows, columns], {
    rowsPerTable: 4,
    groupSize: 8,
    asymmetric: false,
    keepExtremes: false,
    ...layout,
  });

test.each([
  ["palette", store("palette3", {})],
  ["scaled palette", store("palette3", { rowScales: true })],
  ["affine", store("affine4", {})],
  ["affine with offsets", store("affine4", { asymmetric: true })],
  ["vector", { kind: "dense", dtype: "fp16", shape: [7], values: normal(7) }],
] as [string, CompressedWeight][])("a %s is its parameters spread, and gathering is the transpose of that", (_, w) => {
  const linear = linearWeight(w);
  if (!linear) throw new Error("it has parameters");
  const decoded = decodeWeight(w);
  const found = new Float32Array(decoded.length);
  linear.spread(linear.parameters, found);
  // What a package holds is rounded to fp16 once more where a scale multiplies a code.
  for (const [i, v] of found.entries())
    expect(Math.abs(v - (decoded[i] as number))).toBeLessThan(2 ** -10 * Math.abs(v) + 1e-6);

  const [gradient, change] = [normal(decoded.length), normal(linear.parameters.length)];
  const changed = new Float32Array(decoded.length);
  linear.spread(change, changed);
  const gathered = new Float32Array(linear.parameters.length);
  linear.gather(gradient, gathered);
  expect(dot(gathered, change)).toBeCloseTo(dot(gradient, changed), 3);

  linear.gather(gradient, gathered);
  expect(dot(gathered, change), "gathering adds").toBeCloseTo(2 * dot(gradient, changed), 3);
  expect(linear.withParameters(change)).toMatchObject({ kind: w.kind, shape: w.shape });
});

test("a dense matrix and a sparse weight have no parameters", () => {
  expect(linearWeight({ kind: "dense", dtype: "fp16", shape: [2, 2], values: normal(4) })).toBeNull();
  expect(linearWeight({ kind: "sparse", shape: [2], mask: Uint8Array.of(1, 0), nonzeros: normal(1) })).toBeNull();
});
