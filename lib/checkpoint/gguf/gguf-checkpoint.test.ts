import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GgufKey, type GgufTensorToWrite, ggufBytes } from "../../../test/fixtures/gguf-file.ts";
import { type TinyGgufFamily, tinyGguf, tinyGgufBytes } from "../../../test/fixtures/tiny-gguf.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { architectureOf } from "../../decoder/families/registry.ts";
import { ropeSpec } from "../../decoder/families/rope-config.ts";
import { weightList } from "../../decoder/weights.ts";
import { asBytes } from "../../formats/safetensors.ts";
import { loadTokenizer } from "../../tokenizer/tokenizer.ts";
import { openCheckpoint } from "../checkpoint.ts";
import { holdsCheckpoint } from "../place.ts";
import { writeCheckpoint } from "../write-checkpoint.ts";

const folder = await temporaryFolder();
let counter = 0;
async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${counter++}.gguf`);
  await writeFile(path, bytes);
  return path;
}
const families = ["llama", "biased", "granite", "olmo2", "qwen2", "gemma2", "gemma3"] as const;

test.each(families)("%s: the weights, rows and descriptor are those it was written from", async (family) => {
  const { weights, config } = tinyGguf(family);
  const checkpoint = await openCheckpoint(await fileOf(tinyGgufBytes(family)));
  try {
    expect(checkpoint.architecture).toEqual(architectureOf(config));
    for (const { name, shape } of weightList(checkpoint.architecture)) {
      const expected = weights.get(name) ?? new Float32Array();
      expect(await checkpoint.weight(name), name).toEqual({ kind: "dense", dtype: "fp32", shape, values: expected });
      expect(checkpoint.form(name)).toEqual({ kind: "dense", dtype: "fp32", shape });
      const columns = shape[1];
      if (columns === undefined) continue;
      expect(await checkpoint.rows(name, 3, 11), name).toEqual(expected.slice(3 * columns, 11 * columns));
      expect(await checkpoint.table(name).rows([5, 2, 5])).toEqual(
        Float32Array.from([5, 2, 5].flatMap((r) => [...expected.subarray(r * columns, (r + 1) * columns)])),
      );
    }
  } finally {
    await checkpoint.close();
  }
});

test.each(families)(
  "%s: what is made from it is a folder with the same weights, config and tokenizer",
  async (family) => {
    const gguf = await openCheckpoint(await fileOf(tinyGgufBytes(family)));
    const out = join(folder, `made-${family}`);
    await writeCheckpoint(out, {
      architecture: gguf.architecture,
      config: gguf.config,
      dtype: "f32",
      copyFrom: gguf,
      weight: async (name) => (name === "embedding" || name === "finalNorm" ? gguf.stored(name) : gguf.weight(name)),
    });
    const made = await openCheckpoint(out);
    try {
      expect(made.architecture).toEqual(gguf.architecture);
      for (const { name } of weightList(gguf.architecture))
        expect(await made.weight(name), name).toEqual(await gguf.weight(name));
      const [before, after] = [await loadTokenizer(gguf), await loadTokenizer(made)];
      const text = "hello world 12";
      expect(after.encode(text)).toEqual(before.encode(text));
      expect(after.addedTokens("auto")).toEqual(before.addedTokens("auto"));
      expect(after.eosIds).toEqual(before.eosIds);
      for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
        expect(await made.file(name), name).not.toBeNull();
      expect(Buffer.from((await made.file("chat_template.jinja")) ?? []).toString()).toBe(
        family.startsWith("gemma") ? "" : "{{ messages }}",
      );
    } finally {
      await gguf.close();
      await made.close();
    }
  },
);

test("the hash is over metadata and tensors, not over the padding between", async () => {
  const { keys, tensors } = tinyGguf("gemma3");
  const hashOf = async (bytes: Uint8Array): Promise<string> => {
    const checkpoint = await openCheckpoint(await fileOf(bytes));
    try {
      return await checkpoint.hash();
    } finally {
      await checkpoint.close();
    }
  };
  const whole = ggufBytes(keys, tensors);
  const hash = await hashOf(whole);
  expect(await hashOf(Buffer.concat([whole, Buffer.alloc(7)]))).toBe(hash);
  expect(await hashOf(ggufBytes([...keys, { key: "general.name", type: "string", value: "x" }], tensors))).not.toBe(
    hash,
  );
  const [first, ...rest] = tensors;
  const other = Buffer.from(first?.bytes ?? []);
  other.writeFloatLE(3, 0);
  expect(await hashOf(ggufBytes(keys, first ? [{ ...first, bytes: other }, ...rest] : []))).not.toBe(hash);
});

test("a folder is opened by what lies there", async () => {
  const one = join(folder, "one");
  await mkdir(one);
  expect(await holdsCheckpoint(one)).toBe(false);
  await expect(openCheckpoint(one)).rejects.toMatchObject({ code: "model/missing-file" });
  await writeFile(join(one, "adapter_config.json"), "{}");
  await expect(openCheckpoint(one)).rejects.toThrow(/adapter/);
  await writeFile(join(one, "a.gguf"), tinyGgufBytes("llama"));
  expect(await holdsCheckpoint(one)).toBe(true);
  const opened = await openCheckpoint(one);
  expect(opened.path).toBe(join(one, "a.gguf"));
  await opened.close();
  await writeFile(join(one, "b.gguf"), tinyGgufBytes("llama"));
  await expect(openCheckpoint(one)).rejects.toThrow(/2 \.gguf files: a\.gguf, b\.gguf/);
  await writeFile(join(one, "config.json"), JSON.stringify(tinyGguf("llama").config));
  const thrown = await openCheckpoint(one).catch((e: unknown) => e);
  expect(thrown).toMatchObject({ code: "model/missing-file", hint: expect.stringContaining("a.gguf") });
  await expect(openCheckpoint(join(one, "config.json"))).rejects.toThrow(/is one file of a model/);
});

test("Llama 3's stretched frequencies are found again, and others refused", async () => {
  const { keys, tensors } = tinyGguf("llama");
  const recipe = {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const sizes = { headDim: 8, maxPositions: 8192 };
  const plain = ropeSpec({}, 10000, sizes).inverseFrequencies;
  const stretched = ropeSpec(recipe, 10000, sizes).inverseFrequencies;
  const withFactors = (factors: number[]): Buffer => {
    const bytes = asBytes(Float32Array.from(factors));
    return ggufBytes(keys, [...tensors, { name: "rope_freqs.weight", shape: [factors.length], type: "F32", bytes }]);
  };
  const checkpoint = await openCheckpoint(await fileOf(withFactors(plain.map((f, i) => f / (stretched[i] ?? 1)))));
  expect(checkpoint.config.rope_scaling).toEqual(recipe);
  expect(checkpoint.architecture.layers[0]?.rope?.inverseFrequencies).toEqual(stretched);
  await checkpoint.close();
  await expect(openCheckpoint(await fileOf(withFactors([1, 1, 2, 5])))).rejects.toMatchObject({
    code: "format/unsupported",
  });
});

const changed = (family: TinyGgufFamily, key: string, change: Partial<GgufKey> | null): GgufKey[] =>
  tinyGguf(family).keys.flatMap((k) => (k.key === key ? (change ? [{ ...k, ...change }] : []) : [k]));
const bias: GgufTensorToWrite = { name: "blk.0.attn_q.bias", shape: [32], type: "F32", bytes: Buffer.alloc(128) };

test.each<[string, string, GgufKey[], GgufTensorToWrite[] | null, RegExp]>([
  ["an adapter", "format/unsupported", [{ key: "general.type", type: "string", value: "adapter" }], [], /"adapter"/],
  [
    "an architecture that is not known",
    "model/unknown-architecture",
    changed("llama", "general.architecture", { value: "rwkv7" }),
    null,
    /rwkv7/,
  ],
  ["no architecture", "model/unknown-architecture", changed("llama", "general.architecture", null), null, /undefined/],
  [
    "a key that is missing",
    "model/config",
    changed("llama", "llama.embedding_length", null),
    null,
    /llama\.embedding_length/,
  ],
  [
    "a key that is text",
    "model/config",
    changed("llama", "llama.block_count", { type: "string", value: "2" }),
    null,
    /block_count/,
  ],
  ["absurdly many layers", "model/config", changed("llama", "llama.block_count", { value: 1e9 }), null, /block_count/],
  [
    "more layers than there are tensors",
    "model/missing-tensor",
    changed("llama", "llama.block_count", { value: 3 }),
    null,
    /blk\.2\./,
  ],
  [
    "fewer layers than there are tensors",
    "format/unsupported",
    changed("llama", "llama.block_count", { value: 1 }),
    null,
    /blk\.1\./,
  ],
  [
    "another width",
    "model/shape-mismatch",
    changed("llama", "llama.feed_forward_length", { value: 44 }),
    null,
    /ffn_gate/,
  ],
  [
    "uneven layers",
    "format/unsupported",
    changed("llama", "llama.feed_forward_length", { value: [40, 32] }),
    null,
    /differs by layer/,
  ],
  [
    "experts",
    "format/unsupported",
    [...tinyGguf("llama").keys, { key: "llama.expert_count", type: "u32", value: 8 }],
    null,
    /mixture of experts/,
  ],
  [
    "partly turned heads",
    "model/config",
    [...tinyGguf("llama").keys, { key: "llama.rope.dimension_count", type: "u32", value: 4 }],
    null,
    /rope\.dimension_count/,
  ],
  [
    "YaRN",
    "model/config",
    [...tinyGguf("llama").keys, { key: "llama.rope.scaling.type", type: "string", value: "yarn" }],
    null,
    /yarn/,
  ],
  [
    "a bias on q alone",
    "model/missing-tensor",
    tinyGguf("llama").keys,
    [...tinyGguf("llama").tensors, bias],
    /attn_k\.bias/,
  ],
  ["no embedding", "model/missing-tensor", tinyGguf("llama").keys, tinyGguf("llama").tensors.slice(1), /token_embd/],
])("refuses %s", async (_what, code, keys, tensors, message) => {
  const thrown = await openCheckpoint(await fileOf(ggufBytes(keys, tensors ?? tinyGguf("llama").tensors))).catch(
    (e: unknown) => e,
  );
  expect(thrown).toMatchObject({ code });
  expect(Object(thrown).message).toMatch(message);
});
