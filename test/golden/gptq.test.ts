/** Codes of torch's GPTQ on a small matrix (test/oracles/gptq_golden.py). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gptq } from "../../lib/compress/quantize/gptq.ts";
import { MatrixProducts } from "../../lib/compress/quantize/matrix-products.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import type { CompressedWeight } from "../../lib/weights/weight.ts";

interface Golden {
  rows: number;
  columns: number;
  tokens: number;
  group: number;
  scales: number[];
  codes: number[];
  table: number[];
  indices: number[];
}

const golden: Golden = JSON.parse(readFileSync(join(import.meta.dirname, "gptq/golden.json"), "utf8"));
const { rows, columns, tokens, group } = golden;

/** The generator of the script. */
function numbers(count: number, seed: number): Float64Array {
  let state = seed;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 16) / 2 ** 15 - 1;
  });
}

const weights = Float32Array.from(numbers(rows * columns, 1));
const z = numbers(tokens * columns, 2);
const gram = new Float64Array(columns * columns);
for (let t = 0; t < tokens; t++) {
  const at = (c: number): number => z[t * columns + ((c + columns) % columns)] as number;
  const x = Array.from({ length: columns }, (_, c) => (at(c) + at(c - 1) + 0.5 * at(c - 5)) * (1 + (c % 7)));
  for (let i = 0; i < columns; i++)
    for (let j = 0; j < columns; j++)
      gram[i * columns + j] = (gram[i * columns + j] as number) + (x[i] as number) * (x[j] as number);
}

const shape = [rows, columns];
const coded: Record<string, { empty: CompressedWeight; expected: number[] }> = {
  "int4 in groups of 32": {
    empty: {
      kind: "affine",
      bits: 4,
      shape,
      // Far off, so that what GPTQ finds is better in any case.
      codes: new Int8Array(rows * columns).fill(7),
      scales: Float32Array.from(golden.scales),
      scaleShape: [rows, columns / group],
      offsets: null,
    },
    expected: golden.codes,
  },
  "palettes of 3 bits": {
    empty: {
      kind: "palette",
      bits: 3,
      shape,
      indices: new Uint8Array(rows * columns).fill(7),
      tables: Float32Array.from(golden.table),
      rowsPerTable: rows,
    },
    expected: golden.indices,
  },
};

test.each(Object.keys(coded))("%s: the codes are torch's", async (name) => {
  const { empty, expected } = coded[name] as (typeof coded)[string];
  const products = new MatrixProducts(await createOnnxRuntimeEngine({ threads: 1 }));
  const found = await gptq(weights, empty, gram, products.product, { rounds: 0 });
  await products.dispose();
  const codes = found.kind === "affine" ? found.codes : found.kind === "palette" ? found.indices : [];
  // Single precision may turn a rounding over, after which the rest of that row differs too.
  const rowsAlike = Array.from({ length: rows }, (_, r) => r).filter((r) =>
    expected.slice(r * columns, (r + 1) * columns).every((c, i) => codes[r * columns + i] === c),
  );
  expect(rowsAlike.length).toBeGreaterThanOrEqual(rows - 1);
});
