import { expect, test } from "vitest";
import { palettize } from "../compress/quantize/palettize.ts";
import { quantizeAffine } from "../compress/quantize/round-to-nearest.ts";
import { roundToFloat16 } from "../float16.ts";
import { createRng } from "../random.ts";
import { decodeWeight } from "./decode.ts";
import type { CompressedWeight } from "./weight.ts";
import { asPointwise, rowsOf, timesPowerOfTwo } from "./weight-views.ts";

const shape = [32, 8];
const rng = createRng(4, "views");
const values = Float32Array.from({ length: 256 }, () => roundToFloat16(rng.normal()));
const kept = values.map((v) => (Math.abs(v) > 0.5 ? v : 0));

const weights: Record<string, CompressedWeight> = {
  dense: { kind: "dense", dtype: "fp16", shape, values },
  "int8 a row": quantizeAffine(values, shape, { bits: 8, groupSize: null, symmetric: true, clipSearch: false }),
  "int4 in groups": quantizeAffine(values, shape, { bits: 4, groupSize: 4, symmetric: false, clipSearch: false }),
  "palette a group": palettize(values, shape, { bits: 4, rowsPerTable: 8 }),
  "one palette": palettize(values, shape, { bits: 4, rowsPerTable: 32 }),
  sparse: {
    kind: "sparse",
    shape,
    mask: Uint8Array.from(kept, (v) => (v === 0 ? 0 : 1)),
    nonzeros: kept.filter((v) => v !== 0),
  },
};

test.each(Object.entries(weights))(
  "%s: rows, shapes and powers of two of the codes are those of the values",
  (_name, w) => {
    const whole = decodeWeight(w);
    const parts = [rowsOf(w, 0, 8), rowsOf(w, 8, 24), rowsOf(w, 24, 32)];
    expect(parts.map((p) => p.shape)).toEqual([
      [8, 8],
      [16, 8],
      [8, 8],
    ]);
    expect(Float32Array.from(parts.flatMap((p) => [...decodeWeight(p)]))).toEqual(whole);
    expect(asPointwise(w).shape).toEqual([32, 8, 1, 1]);
    expect(decodeWeight(asPointwise(w))).toEqual(whole);
    // fp16 rounds a product the same at any exponent above the subnormal ones.
    expect(decodeWeight(timesPowerOfTwo(w, 0.25))).toEqual(whole.map((v) => v * 0.25));
    expect(() => timesPowerOfTwo(w, 0.7)).toThrow("power of two");
  },
);

test("rows that cut through a palette are refused", () => {
  expect(() => rowsOf(weights["palette a group"] as CompressedWeight, 4, 32)).toThrow(
    "cut through a palette of 8 rows",
  );
});
