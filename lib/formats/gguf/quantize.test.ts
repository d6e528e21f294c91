import { join } from "node:path";
import { expect, test } from "vitest";
import { openSafetensors } from "../safetensors.ts";
import { dequantize } from "./dequantize.ts";
import { codesToBlocks, encode } from "./quantize.ts";

const golden = join(import.meta.dirname, "../../../test/golden/gguf");
const rounded = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"] as const;
const weighted = ["Q4_0", "Q4_1", "Q5_0", "Q5_1"] as const;
const fitted = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"] as const;

test.each(rounded)("%s: the bytes are those of the gguf package", async (type) => {
  const file = await openSafetensors(join(golden, "codes.safetensors"));
  const values = await file.readFloat32("values");
  expect(Buffer.compare(encode(type, values), await file.readBytes(type))).toBe(0);
  await file.close();
});

/** Σ c (x − y)² of each row over Σ c x², summed over rows, so that rows of every size count. */
function error(
  values: Float32Array,
  type: (typeof fitted | typeof weighted)[number],
  data: Uint8Array,
  c: Float32Array,
) {
  const out = new Float32Array(values.length);
  dequantize(type, data, out);
  let total = 0;
  for (let from = 0; from < values.length; from += c.length) {
    let [lost, all] = [0, 0];
    for (const [i, w] of c.entries()) {
      const x = values[from + i] ?? 0;
      lost += w * (x - (out[from + i] ?? 0)) ** 2;
      all += w * x * x;
    }
    total += lost / all;
  }
  return total;
}

test.each(fitted)("%s: no more is lost than by llama.cpp's own quantizer", async (type) => {
  const file = await openSafetensors(join(golden, "fitted.safetensors"));
  const values = await file.readFloat32("values");
  const alike = new Float32Array(512).fill(1);
  const theirs = error(values, type, await file.readBytes(type), alike);
  expect(error(values, type, encode(type, values), alike)).toBeLessThan(theirs);
  expect(theirs).toBeLessThan(1);
  await file.close();
});

test.each([...fitted, ...weighted])("%s: nor where errors are weighted by importances, which help", async (type) => {
  const file = await openSafetensors(join(golden, "fitted.safetensors"));
  const [values, importance] = [await file.readFloat32("values"), await file.readFloat32("importance")];
  const own = error(values, type, encode(type, values, importance), importance);
  expect(own).toBeLessThan(error(values, type, await file.readBytes(`${type}.weighted`), importance));
  expect(own).toBeLessThan(error(values, type, encode(type, values), importance));
  await file.close();
});

test("columns that nothing is fed cost nothing, and blocks of zeros stay zeros", () => {
  const values = Float32Array.from({ length: 512 }, (_, i) => (i < 256 ? 0 : Math.sin(i)));
  const importance = Float32Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 0 : 1));
  for (const type of fitted) {
    const out = new Float32Array(512);
    dequantize(type, encode(type, values, importance), out);
    expect(
      out.subarray(0, 256).every((v) => v === 0),
      type,
    ).toBe(true);
    expect(out.every(Number.isFinite), type).toBe(true);
  }
});

test.each(["Q4_0", "Q8_0"] as const)("%s: codes that exist are written as they are", (type) => {
  const most = type === "Q4_0" ? 8 : 128;
  const codes = Int8Array.from({ length: 64 }, (_, i) => ((i * 37) % (2 * most)) - most);
  const scales = Float32Array.of(0.25, -2);
  const out = new Float32Array(64);
  dequantize(type, codesToBlocks(type, codes, scales), out);
  expect([...out]).toEqual([...codes].map((c, i) => c * (scales[Math.floor(i / 32)] ?? 0)));
});

test("what is not finite is refused", () => {
  expect(() => encode("Q8_0", new Float32Array(32).fill(Number.NaN))).toThrow("not finite");
  expect(() => encode("Q4_K", new Float32Array(256).fill(Number.POSITIVE_INFINITY))).toThrow("not finite");
});
