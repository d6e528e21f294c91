import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EspalierError } from "../../errors.ts";
import { newData, type Tensor, tensor } from "../../mil/tensor.ts";
import { createRng, type Rng } from "../../random.ts";
import { BlobFile, BlobFileWriter } from "./blob-file.ts";
import { type BlobDType, blobDataTypes, subByteBits } from "./element-types.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "blob-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const names = Object.keys(blobDataTypes) as BlobDType[];

function random(dtype: BlobDType, count: number, rng: Rng): Tensor {
  const data = newData(dtype, count);
  const bits = subByteBits(dtype);
  for (let i = 0; i < count; i++) {
    const v = Math.floor(rng.uniform() * 2 ** (bits ?? 8));
    data[i] = bits !== null && dtype === "int4" ? v - 8 : v;
  }
  return tensor(dtype, [count], data);
}

async function write(tensors: readonly Tensor[], path = join(dir, "weight.bin")): Promise<number[]> {
  const writer = await BlobFileWriter.create(path);
  const offsets: number[] = [];
  for (const t of tensors) offsets.push(await writer.add(t));
  await writer.finish();
  return offsets;
}

test("the layout of the reference example: four records, 4800 bytes", async () => {
  const rng = createRng(1);
  const offsets = await write([
    random("uint4", 4096, rng),
    random("fp16", 128, rng),
    random("int4", 4096, rng),
    random("fp16", 64, rng),
  ]);
  const bytes = readFileSync(join(dir, "weight.bin"));
  expect(offsets).toEqual([0x40, 0x880, 0x9c0, 0x1200]);
  expect(bytes.length).toBe(4800);
  expect(bytes.subarray(0, 8).toString("hex")).toBe("0400000002000000");
  expect(bytes.subarray(64, 96).toString("hex")).toBe(
    "efbeadde0b0000000008000000000000" + "80000000000000000000000000000000",
  );
});

test("every type comes back, odd counts and no elements included", async () => {
  const rng = createRng(7);
  const tensors = names.flatMap((d) => [0, 1, 5, 63, 64, 257].map((n) => random(d, n, rng)));
  const offsets = await write(tensors);
  const file = BlobFile.open(join(dir, "weight.bin"));
  tensors.forEach((t, i) => {
    const record = file.records.get(offsets[i] as number);
    if (!record) throw new Error(`no record at ${offsets[i]}`);
    expect(record.dtype).toBe(t.dtype);
    expect(file.read(record)).toEqual(t.data);
  });
});

test("equal blobs are written once, equal bytes of other types apart", async () => {
  const a = tensor("int8", [64], new Int8Array(64).fill(3));
  const b = tensor("int8", [8, 8], new Int8Array(64).fill(3));
  const c = tensor("uint8", [64], new Uint8Array(64).fill(3));
  const [x, y, z] = await write([a, b, c]);
  expect(x).toBe(y);
  expect(z).not.toBe(x);
  expect(BlobFile.open(join(dir, "weight.bin")).records.size).toBe(2);
});

test("the same tensors give the same bytes", async () => {
  const tensors = (): Tensor[] => names.map((d) => random(d, 100, createRng(3)));
  await write(tensors(), join(dir, "a"));
  await write(tensors(), join(dir, "b"));
  expect(readFileSync(join(dir, "a"))).toEqual(readFileSync(join(dir, "b")));
});

test("truncation, trailing bytes and overwriting are refused", async () => {
  const path = join(dir, "weight.bin");
  await write([random("fp16", 100, createRng(2)), random("uint3", 100, createRng(2))]);
  const whole = readFileSync(path);
  for (let size = 0; size < whole.length; size += 13) {
    writeFileSync(path, whole.subarray(0, size));
    expect(() => BlobFile.open(path)).toThrow(EspalierError);
  }
  writeFileSync(path, whole);
  appendFileSync(path, Buffer.alloc(128));
  expect(() => BlobFile.open(path)).toThrow(/follow the last of 2 blobs/);
  await expect(BlobFileWriter.create(path)).rejects.toThrow(EspalierError);
  truncateSync(path, 0);
  expect(() => BlobFile.open(path)).toThrow(/0 bytes, 64 are needed/);
});

test("damaged bytes are refused or give other elements, nothing else", async () => {
  const path = join(dir, "weight.bin");
  const rng = createRng(11);
  await write([random("fp16", 40, rng), random("int4", 33, rng), random("uint6", 9, rng)]);
  const whole = readFileSync(path);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const bytes = Buffer.from(whole);
    const flips = 1 + Math.floor(rng.uniform() * 3);
    for (let k = 0; k < flips; k++) bytes[Math.floor(rng.uniform() * bytes.length)] = Math.floor(rng.uniform() * 256);
    writeFileSync(path, bytes);
    try {
      const file = BlobFile.open(path);
      for (const record of file.records.values()) expect(file.read(record).length).toBe(record.elements);
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error;
      expect(error.code).toMatch(/^format\//);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(300);
});
