import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GgufKey, type GgufLies, type GgufTensorToWrite, ggufBytes } from "../../../test/fixtures/gguf-file.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { asBytes, openSafetensors } from "../safetensors.ts";
import { openGguf } from "./gguf.ts";
import { blockSizes, type GgufTensorType } from "./tensor-type.ts";

const golden = join(import.meta.dirname, "../../../test/golden/gguf");
const folder = await temporaryFolder();
let counter = 0;
async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${counter++}.gguf`);
  await writeFile(path, bytes);
  return path;
}

test.each(Object.keys(blockSizes))("%s is what the gguf package makes of it, bit for bit", async (type) => {
  const gguf = await openGguf(join(golden, "types.gguf"));
  const expected = await openSafetensors(join(golden, "values.safetensors"));
  const name = type.toLowerCase();
  try {
    const bits = new Uint8Array((await gguf.readFloat32(name)).buffer);
    expect(gguf.tensors.get(name)).toMatchObject({ type, shape: [3, 512] });
    expect(Buffer.compare(bits, await expected.readBytes(name))).toBe(0);
    const rows = asBytes(await gguf.readFloat32(name, { from: 1, to: 3 }));
    expect(Buffer.compare(rows, bits.subarray(4 * 512))).toBe(0);
  } finally {
    await gguf.close();
    await expected.close();
  }
});

test("metadata of every type are what the gguf package reads", async () => {
  const gguf = await openGguf(join(golden, "types.gguf"));
  const expected: unknown = JSON.parse(await readFile(join(golden, "metadata.json"), "utf8"));
  expect({ metadata: Object.fromEntries(gguf.metadata) }).toEqual({ metadata: Object(expected).metadata });
  await gguf.close();
});

const row: GgufTensorToWrite = { name: "a", shape: [2, 32], type: "Q8_0", bytes: Buffer.alloc(68, 1) };
const wide: GgufTensorToWrite = { name: "b", shape: [5], type: "F32", bytes: Buffer.alloc(20, 2) };
const name: GgufKey = { key: "general.name", type: "string", value: "x" };
const tokens: GgufKey = { key: "tokens", type: "string", value: ["a", "b"] };

test("tensors that are larger than a piece, of one dimension, and of a version before", async () => {
  const values = Float32Array.from({ length: 600_000 }, (_, i) => i);
  const large: GgufTensorToWrite = { name: "large", shape: [600, 1000], type: "F32", bytes: asBytes(values) };
  const alignment: GgufKey = { key: "general.alignment", type: "u32", value: 64 };
  const bytes = ggufBytes([alignment, name], [wide, large, row], { version: 2 });
  const gguf = await openGguf(await fileOf(bytes));
  try {
    expect([...(await gguf.readFloat32("large"))]).toEqual([...values]);
    expect([...(await gguf.readFloat32("large", { from: 598, to: 599 }))]).toEqual([
      ...values.subarray(598_000, 599_000),
    ]);
    expect((await gguf.readFloat32("b")).length).toBe(5);
    expect([...gguf.tensors.keys()]).toEqual(["b", "large", "a"]);
    const hash = createHash("sha256");
    for await (const piece of gguf.pieces()) hash.update(piece);
    expect(hash.digest("hex")).toMatch(/^[0-9a-f]{64}$/);
  } finally {
    await gguf.close();
  }
});

const big = 2n ** 63n;
test.each<[string, string, GgufLies, RegExp]>([
  ["another magic", "format/malformed", { magic: "GGML" }, /GGUF/],
  ["version 1", "format/unsupported", { version: 1 }, /version 1/],
  ["a big-endian file", "format/unsupported", { version: 0x03000000 }, /big-endian/],
  ["a version to come", "format/unsupported", { version: 4 }, /version 4/],
  ["absurdly many tensors", "format/malformed", { tensorCount: big }, /number of tensors/],
  ["more tensors than the file can hold", "format/truncated", { tensorCount: 10n ** 6n }, /1000000 tensors/],
  ["more keys than the file can hold", "format/truncated", { keyCount: 10n ** 6n }, /1000000 metadata keys/],
  ["a key more than there is", "format/malformed", { keyCount: 3n }, /./],
  ["an absurdly long array", "format/malformed", { arrayLengths: { tokens: big } }, /tokens/],
  ["an array longer than any", "format/malformed", { arrayLengths: { tokens: 2n ** 30n } }, /tokens/],
  ["an array longer than the file", "format/truncated", { arrayLengths: { tokens: 10n ** 6n } }, /tokens/],
  ["an absurdly long string", "format/malformed", { stringBytes: { "general.name": 2n ** 40n } }, /general\.name/],
  [
    "a string longer than the file",
    "format/truncated",
    { stringBytes: { "general.name": 10n ** 6n } },
    /general\.name/,
  ],
  ["a type nobody knows", "format/unsupported", { types: { a: 99 } }, /"a" has the type type 99/],
  ["a type that is not read", "format/unsupported", { types: { a: 9 } }, /Q8_1/],
  ["five dimensions", "format/malformed", { dimensions: { a: [32n, 2n, 1n, 1n, 1n] } }, /5 dimensions/],
  ["no dimensions", "format/malformed", { dimensions: { a: [] } }, /0 dimensions/],
  ["a dimension of nothing", "format/malformed", { dimensions: { a: [32n, 0n] } }, /impossible shape/],
  ["an absurd dimension", "format/malformed", { dimensions: { a: [2n ** 52n, 2n ** 52n] } }, /impossible shape/],
  ["rows of no whole blocks", "format/malformed", { dimensions: { a: [33n, 2n] } }, /33/],
  ["more rows than there are", "format/malformed", { dimensions: { a: [32n, 3n] } }, /"b" begins/],
  ["more rows than the file holds", "format/truncated", { dimensions: { b: [500n] } }, /"b" ends/],
  ["an offset past the end", "format/malformed", { offsets: { b: 2n ** 40n } }, /"b" begins/],
  ["an offset inside another tensor", "format/malformed", { offsets: { b: 32n } }, /"b" begins/],
])("refuses %s", async (_what, code, lies, message) => {
  const path = await fileOf(ggufBytes([name, tokens], [row, wide], lies));
  const thrown = await openGguf(path).catch((e: unknown) => e);
  expect(thrown).toMatchObject({ code });
  expect(Object(thrown).message).toMatch(message);
});

test.each<[string, string, GgufKey[], GgufTensorToWrite[], RegExp]>([
  ["two tensors of one name", "format/malformed", [], [row, row], /two tensors/],
  ["a key that occurs twice", "format/malformed", [name, name], [row], /twice/],
  ["one of several files", "format/unsupported", [{ key: "split.count", type: "u32", value: 3 }], [row], /3 files/],
  ["an alignment of 0", "format/malformed", [{ key: "general.alignment", type: "u32", value: 0 }], [row], /alignment/],
  ["an odd alignment", "format/malformed", [{ key: "general.alignment", type: "u32", value: 24 }], [row], /alignment/],
  [
    "an alignment that is text",
    "format/malformed",
    [{ key: "general.alignment", type: "string", value: "" }],
    [],
    /align/,
  ],
])("refuses %s", async (_what, code, keys, tensors, message) => {
  const thrown = await openGguf(await fileOf(ggufBytes(keys, tensors))).catch((e: unknown) => e);
  expect(thrown).toMatchObject({ code });
  expect(Object(thrown).message).toMatch(message);
});

test.each([
  ["version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 98362432\n", /Git LFS pointer/],
  ["PK\u0003\u0004 archive/data.pkl", /PyTorch pickle/],
  ["<!DOCTYPE html><html>", /web page/],
])("says what a file is that is no GGUF: %j", async (text, message) => {
  const path = await fileOf(Buffer.from(text, "latin1"));
  for (const open of [openGguf, openSafetensors]) await expect(open(path)).rejects.toThrow(message);
});

test("a file cut short anywhere is refused, and never read past its end", async () => {
  const bytes = ggufBytes([name, tokens], [row, wide]);
  const end = bytes.length - 12; // the last tensor has 20 bytes of 32
  for (let length = 0; length < end; length++) {
    await expect(openGguf(await fileOf(bytes.subarray(0, length)))).rejects.toMatchObject({ code: /^format\// });
  }
  await (await openGguf(await fileOf(bytes.subarray(0, end)))).close();
});

test("a golden value is not met by a neighbouring code", async () => {
  // The comparison above can fail: a few codes changed by one in each type give other bits.
  const bytes = await readFile(join(golden, "types.gguf"));
  const whole = await openGguf(join(golden, "types.gguf"));
  for (const [type, tensor] of [...whole.tensors].map(([n, t]) => [n, t] as const)) {
    const changed = Buffer.from(bytes);
    const at = tensor.offset + (blockSizes[tensor.type as GgufTensorType].bytes >> 1);
    for (let i = at; i < at + 16; i++) changed[i] = (changed[i] ?? 0) ^ 1;
    const other = await openGguf(await fileOf(changed));
    expect([...(await other.readFloat32(type))], type).not.toEqual([...(await whole.readFloat32(type))]);
    await other.close();
  }
  await whole.close();
});
