import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { EspalierError } from "../errors.ts";
import { createRng } from "../random.ts";
import { asBytes, openSafetensors, parseShardIndex, writeSafetensors } from "./safetensors.ts";

const folder = await temporaryFolder();
let counter = 0;
const fresh = (): string => join(folder, `${counter++}.safetensors`);

/** A file from a header object, or its text, and data bytes. */
async function handMade(header: unknown, dataBytes: number, headerLength?: number): Promise<string> {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(headerLength ?? json.length));
  const path = fresh();
  await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]));
  return path;
}

const f32 = (shape: number[], begin: number, end: number) => ({ dtype: "F32", shape, data_offsets: [begin, end] });

test.each([
  ["an empty file", "", 0, undefined, "format/truncated"],
  ["a header longer than the file", { a: f32([1], 0, 4) }, 4, 5000, "format/truncated"],
  ["a header of 2^60 bytes", { a: f32([1], 0, 4) }, 4, 2 ** 60, "format/malformed"],
  ["a header that is no JSON", "{nope", 0, undefined, "format/malformed"],
  ["a header that is a list", "[]", 0, undefined, "format/malformed"],
  ["data cut short", { a: f32([4], 0, 16) }, 12, undefined, "format/truncated"],
  ["overlapping tensors", { a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12, undefined, "format/malformed"],
  ["a hole between tensors", { a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12, undefined, "format/malformed"],
  ["bytes after the last tensor", { a: f32([1], 0, 4) }, 9, undefined, "format/malformed"],
  ["offsets that do not fit the shape", { a: f32([3], 0, 8) }, 8, undefined, "format/malformed"],
  ["reversed offsets", { a: f32([1], 4, 0) }, 4, undefined, "format/malformed"],
  [
    "an element type nobody knows",
    { a: { dtype: "F7", shape: [1], data_offsets: [0, 4] } },
    4,
    undefined,
    "format/unsupported",
  ],
  ["a negative dimension", { a: f32([-1], 0, 4) }, 4, undefined, "format/malformed"],
  [
    "two tensors of one name",
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    4,
    undefined,
    "format/malformed",
  ],
])("refuses %s", async (_what, header, dataBytes, headerLength, code) => {
  const path = header === "" ? fresh() : await handMade(header, dataBytes, headerLength);
  if (header === "") await writeFile(path, "");
  await expect(openSafetensors(path)).rejects.toMatchObject({ code });
});

test("what is written is read back, whatever the names, shapes and types", async () => {
  const name = fc
    .string({ minLength: 1, maxLength: 12 })
    .filter((n) => n !== "__metadata__" && n !== "__proto__" && !/\p{Surrogate}/u.test(n));
  const entry = fc.record({
    dtype: fc.constantFrom("F32", "I32", "U8", "BF16"),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, entry, { maxKeys: 5 }), async (entries) => {
      const path = fresh();
      const size = { F32: 4, I32: 4, U8: 1, BF16: 2 };
      const expected = new Map<string, Uint8Array>();
      const tensors = Object.entries(entries).map(([n, e]) => {
        const rng = createRng(e.seed);
        const bytes = Uint8Array.from(
          { length: e.shape.reduce((p, d) => p * d, size[e.dtype as keyof typeof size]) },
          () => rng.integer(256),
        );
        expected.set(n, bytes);
        return { name: n, dtype: e.dtype as keyof typeof size, shape: e.shape, bytes: () => bytes };
      });
      await writeSafetensors(path, tensors);
      const file = await openSafetensors(path);
      expect([...file.tensors.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [n, bytes] of expected) expect(await file.readBytes(n)).toEqual(bytes);
      await file.close();
    }),
    { numRuns: 40 },
  );
});

test("a damaged file gives an EspalierError or the same tensors, never anything else", async () => {
  const path = fresh();
  const values = Float32Array.from({ length: 24 }, (_, i) => i);
  await writeSafetensors(path, [
    { name: "layer.weight", dtype: "F32", shape: [4, 6], bytes: () => asBytes(values) },
    { name: "b", dtype: "U8", shape: [3], bytes: () => Uint8Array.of(1, 2, 3) },
  ]);
  const original = await readFile(path);
  const rng = createRng(11, "fuzz");
  let refused = 0;
  for (let round = 0; round < 400; round++) {
    const bytes = Buffer.from(original);
    for (let k = rng.integer(4); k >= 0; k--) bytes[rng.integer(Math.min(bytes.length, 220))] = rng.integer(256);
    const cut = rng.uniform() < 0.2 ? bytes.subarray(0, rng.integer(bytes.length)) : bytes;
    const damaged = join(folder, "fuzz.safetensors");
    await writeFile(damaged, cut);
    try {
      const file = await openSafetensors(damaged);
      for (const n of file.tensors.keys()) await file.readBytes(n);
      await file.close();
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(EspalierError);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(150);
});

test("a failed write leaves nothing under the name, nor beside it", async () => {
  const own = await temporaryFolder();
  const path = join(own, "model.safetensors");
  const failing = writeSafetensors(path, [
    { name: "a", dtype: "F32", shape: [2], bytes: () => asBytes(new Float32Array(2)) },
    {
      name: "b",
      dtype: "F32",
      shape: [2],
      bytes: () => Promise.reject(Object.assign(new Error("no space left on device"), { code: "ENOSPC" })),
    },
  ]);
  await expect(failing).rejects.toMatchObject({ code: "store/disk-full" });
  expect(await readdir(own)).toEqual([]);
});

test.each(["../evil.safetensors", "/etc/passwd", "sub/dir.safetensors", ".hidden.safetensors", "model.bin"])(
  "a shard named %s is refused",
  (shard) => {
    expect(() => parseShardIndex(JSON.stringify({ weight_map: { a: shard } }), "index")).toThrow(EspalierError);
  },
);
