/** GGUF files with something wrong: a typed error that says what, or a file that reads; never anything else. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { openGguf } from "../../lib/formats/gguf/gguf.ts";
import { loadTokenizer } from "../../lib/tokenizer/tokenizer.ts";
import { type GgufKey, ggufBytes } from "../fixtures/gguf-file.ts";
import { tinyGguf } from "../fixtures/tiny-gguf.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const whole = await readFile(join(import.meta.dirname, "../golden/gguf/types.gguf"));
const opened = await openGguf(join(import.meta.dirname, "../golden/gguf/types.gguf"));
const headerBytes = Math.min(...[...opened.tensors.values()].map((t) => t.offset));
await opened.close();
const folder = await temporaryFolder();
const path = join(folder, "m.gguf");
const seen = new Map<string, number>();

async function outcome(bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes);
  let ended = "read";
  try {
    const file = await openGguf(path);
    try {
      for (const name of file.tensors.keys()) await file.readFloat32(name);
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code.startsWith("internal/")) throw thrown;
    expect(thrown.message.length).toBeGreaterThan(10);
    ended = thrown.code;
  }
  seen.set(ended, (seen.get(ended) ?? 0) + 1);
}

/** As `outcome`, of a whole model: opened, its weights, tokenizer and hash read. */
async function modelOutcome(bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes);
  let ended = "opened";
  try {
    const checkpoint = await openCheckpoint(path);
    try {
      for (const { name } of weightList(checkpoint.architecture)) await checkpoint.weight(name);
      await loadTokenizer(checkpoint);
      await checkpoint.hash();
    } finally {
      await checkpoint.close();
    }
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code.startsWith("internal/")) throw thrown;
    expect(thrown.message).not.toContain("[object Object]");
    ended = thrown.code;
  }
  seen.set(ended, (seen.get(ended) ?? 0) + 1);
}

const runs = { numRuns: 300 };

test("bytes of the header changed", async () => {
  const change = fc.tuple(fc.nat(headerBytes - 1), fc.uint8Array({ minLength: 1, maxLength: 4 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, put] of changes) bytes.set(put.subarray(0, headerBytes - at), at);
      await outcome(bytes);
    }),
    runs,
  );
}, 300_000);

test("counts, lengths, dimensions and offsets that are absurd", async () => {
  // An eighth of all places is the start of some u64 or u32; the values are those that break arithmetic.
  const absurd = fc.constantFrom(
    ...[
      0n,
      1n,
      31n,
      255n,
      2n ** 16n,
      2n ** 24n,
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 32n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    ],
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(headerBytes - 8), absurd, async (at, value) => {
      const bytes = Buffer.from(whole);
      bytes.writeBigUInt64LE(value, at);
      await outcome(bytes);
    }),
    { ...runs, numRuns: 500 },
  );
}, 300_000);

test("cut short, lengthened, or with a piece taken out", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), fc.nat(64), fc.uint8Array({ maxLength: 64 }), async (at, cut, put) => {
      await outcome(Buffer.concat([whole.subarray(0, at), put, whole.subarray(Math.min(at + cut, whole.length))]));
      await outcome(whole.subarray(0, at));
    }),
    { ...runs, numRuns: 200 },
  );
}, 300_000);

const value: fc.Arbitrary<Pick<GgufKey, "type" | "value">> = fc.oneof(
  fc.record({
    type: fc.constant("u32" as const),
    value: fc.constantFrom(0, 1, 2, 3, 7, 8, 4096, 2 ** 31, 2 ** 32 - 1),
  }),
  fc.record({
    type: fc.constant("f32" as const),
    value: fc.constantFrom(0, -1, 0.5, 1e-5, 3e38, Number.NaN, Infinity),
  }),
  fc.record({ type: fc.constant("i32" as const), value: fc.array(fc.integer({ min: -3, max: 50 }), { maxLength: 4 }) }),
  fc.record({
    type: fc.constant("string" as const),
    value: fc.constantFrom("", "llama", "gemma3", "linear", "yarn", "x"),
  }),
  fc.record({ type: fc.constant("bool" as const), value: fc.array(fc.boolean(), { maxLength: 4 }) }),
);

test.each(["llama", "gemma3"] as const)(
  "%s: metadata with anything in any field",
  async (family) => {
    const { keys, tensors } = tinyGguf(family);
    const extra = ["rope.scaling.type", "rope.scaling.factor", "attention.scale", "expert_count", "rope.freq_base_swa"];
    const places = [...keys.map((k) => k.key), ...extra.map((k) => `${family}.${k}`), "general.type"];
    const change = fc.tuple(fc.constantFrom(...places), fc.option(value, { nil: null }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
        const changed = new Map(keys.map((k) => [k.key, k]));
        for (const [key, put] of changes) put ? changed.set(key, { key, ...put }) : changed.delete(key);
        await modelOutcome(ggufBytes([...changed.values()], tensors));
      }),
      { ...runs, numRuns: 150 },
    );
  },
  300_000,
);

test("no GGUF file at all", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), fc.boolean(), async (bytes, withMagic) => {
      await outcome(withMagic ? Buffer.concat([whole.subarray(0, 8), bytes]) : bytes);
    }),
    runs,
  );
}, 300_000);

afterAll(() => {
  // What was tried went every way.
  for (const end of ["read", "opened", "model/config", "format/truncated", "format/malformed", "format/unsupported"])
    expect(seen.get(end), end).toBeGreaterThan(10);
});
