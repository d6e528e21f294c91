import { join } from "node:path";
import { expect, test } from "vitest";
import { openSafetensors } from "../safetensors.ts";
import { dequantize } from "./dequantize.ts";
import { codesToBlocks, encode, writtenTypes } from "./quantize.ts";

const golden = join(import.meta.dirname, "../../../test/golden/gguf/codes.safetensors");

test.each(writtenTypes.filter((t) => t !== "F32"))("%s: the bytes are those of the gguf package", async (type) => {
  const file = await openSafetensors(golden);
  const values = await file.readFloat32("values");
  expect(Buffer.compare(encode(type, values), await file.readBytes(type))).toBe(0);
  await file.close();
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
});
