import { stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { openGguf } from "./gguf.ts";
import { encode } from "./quantize.ts";
import { type GgufKey, type GgufTensorToWrite, predictGguf, writeGguf } from "./write.ts";

test("what is written is read again, in the bytes that were predicted", async () => {
  const keys: GgufKey[] = [
    { key: "general.architecture", type: "string", value: "none" },
    { key: "a.u32", type: "u32", value: 4_000_000_000 },
    { key: "a.i32", type: "i32", value: -5 },
    { key: "a.f32", type: "f32", value: 0.5 },
    { key: "a.u64", type: "u64", value: 2 ** 40 },
    { key: "a.bools", type: "bool", value: [true, false] },
    { key: "a.texts", type: "string", value: ["", "Ġthe", "🌿"] },
  ];
  const values = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
  const of = (name: string, type: "F32" | "Q8_0", shape: number[], v: Float32Array): GgufTensorToWrite => ({
    name,
    type,
    shape,
    async *bytes() {
      yield encode(type, v);
    },
  });
  const tensors = [of("odd", "F32", [5], values.subarray(0, 5)), of("blocks", "Q8_0", [3, 64], values)];
  const path = join(await temporaryFolder(), "a.gguf");
  await writeGguf(path, keys, tensors);
  expect((await stat(path)).size).toBe(predictGguf(keys, tensors));
  const file = await openGguf(path);
  expect(Object.fromEntries(file.metadata)).toEqual(Object.fromEntries(keys.map((k) => [k.key, k.value])));
  expect(await file.readFloat32("odd")).toEqual(values.slice(0, 5));
  const read = await file.readFloat32("blocks");
  expect(Math.max(...read.map((v, i) => Math.abs(v - (values[i] ?? 0))))).toBeLessThan(0.5 / 127 + 1e-3);
  await file.close();

  await expect(writeGguf(path, keys, [tensors[0], tensors[0]] as GgufTensorToWrite[])).rejects.toThrow("two tensors");
  expect(() => predictGguf(keys, [of("odd", "Q8_0", [5], values)])).toThrow("multiples of 32");
  await expect(writeGguf(path, [{ key: "k", type: "u32", value: -1 }], [])).rejects.toThrow("-1 of k is no u32");
});
