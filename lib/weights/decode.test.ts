import { describe, expect, it } from "vitest";
import { roundToFloat16 } from "../float16.ts";
import { createRng } from "../random.ts";
import { decodeWeight, weightSizeBytes } from "./decode.ts";
import type { CompressedWeight } from "./weight.ts";

const rng = createRng(5, "decode");

describe("decodeWeight", () => {
  it("multiplies codes by scales block by block and rounds the product to fp16", () => {
    const shape = [4, 3, 6];
    const scaleShape = [2, 1, 3];
    const codes = Int8Array.from({ length: 72 }, () => rng.integer(256) - 128);
    const scales = Float32Array.from({ length: 6 }, () => roundToFloat16(rng.normal() * 0.01));
    const offsets = Int8Array.from({ length: 6 }, () => rng.integer(256) - 128);
    const out = decodeWeight({ kind: "affine", bits: 8, shape, codes, scales, scaleShape, offsets });
    for (let a = 0; a < 4; a++) {
      for (let b = 0; b < 3; b++) {
        for (let c = 0; c < 6; c++) {
          const i = (a * 3 + b) * 6 + c;
          const s = Math.floor(a / 2) * 3 + Math.floor(c / 2);
          expect(out[i]).toBe(roundToFloat16(scales[s]! * (codes[i]! - offsets[s]!)));
        }
      }
    }
  });

  it("looks palettes up by group of rows and spreads sparse values over the mask", () => {
    const palette = decodeWeight({
      kind: "palette",
      bits: 1,
      shape: [4, 2],
      indices: Uint8Array.of(0, 1, 1, 0, 0, 1, 1, 1),
      tables: Float32Array.of(-1, 1, 0.1, 3),
      rowsPerTable: 2,
    });
    const tenth = roundToFloat16(0.1);
    expect([...palette]).toEqual([-1, 1, 1, -1, tenth, 3, 3, 3]);
    const sparse = decodeWeight({
      kind: "sparse",
      shape: [2, 2],
      mask: Uint8Array.of(0, 1, 1, 0),
      nonzeros: Float32Array.of(2, -3),
    });
    expect([...sparse]).toEqual([0, 2, -3, 0]);
  });

  it("keeps fp32 as it is and rounds fp16", () => {
    const values = Float32Array.of(0.1, 1 / 3);
    expect(decodeWeight({ kind: "dense", dtype: "fp32", shape: [2], values })).toEqual(values);
    expect([...decodeWeight({ kind: "dense", dtype: "fp16", shape: [2], values })]).toEqual([
      roundToFloat16(values[0]!),
      roundToFloat16(values[1]!),
    ]);
  });

  it("refuses parts that do not fit together", () => {
    const codes = new Int8Array(6);
    const bad = { kind: "affine", bits: 8, shape: [2, 3], codes, offsets: null } as const;
    expect(() => decodeWeight({ ...bad, scales: new Float32Array(4), scaleShape: [2, 2] })).toThrow(/do not divide/);
    expect(() => decodeWeight({ ...bad, scales: new Float32Array(1), scaleShape: [2, 1] })).toThrow(/scales has 1/);
    const palette = { kind: "palette", bits: 1, shape: [3, 1], indices: new Uint8Array(3) } as const;
    expect(() => decodeWeight({ ...palette, tables: new Float32Array(4), rowsPerTable: 2 })).toThrow(/do not divide/);
    const mask = Uint8Array.of(1, 1);
    expect(() => decodeWeight({ kind: "sparse", shape: [2], mask, nonzeros: new Float32Array(1) })).toThrow(/nonzeros/);
  });
});

const bitsPerWeight = (w: CompressedWeight): number => (8 * weightSizeBytes(w)) / w.shape.reduce((n, d) => n * d, 1);

describe("weightSizeBytes", () => {
  it("counts codes, scales, offsets and tables", () => {
    const affine = {
      kind: "affine",
      bits: 4,
      shape: [8, 64],
      codes: new Int8Array(512),
      scales: new Float32Array(16),
      scaleShape: [8, 2],
      offsets: new Int8Array(16),
    } as const;
    expect(weightSizeBytes(affine)).toBe(256 + 32 + 8);
    // b + (16 + b_z) / g
    expect(bitsPerWeight(affine)).toBe(4 + (16 + 4) / 32);
  });

  it("reproduces the effective widths of grouped palettes", () => {
    const palette = (bits: 4 | 8, rowsPerTable: number) => ({
      kind: "palette" as const,
      bits,
      shape: [16, 2048],
      indices: new Uint8Array(16 * 2048),
      tables: new Float32Array((16 / rowsPerTable) * 2 ** bits),
      rowsPerTable,
    });
    expect(bitsPerWeight(palette(4, 8))).toBeCloseTo(4.0156, 4);
    expect(bitsPerWeight(palette(8, 1))).toBe(10);
  });
});
