import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { folderFiles } from "../files/named-files.ts";
import { loadTokenizer } from "./tokenizer.ts";

const bpe = (vocab: Record<string, number>) => ({
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: { type: "BPE", unk_token: "<unk>", fuse_unk: true, byte_fallback: true, vocab, merges: ["a b"] },
});

async function tokenizerOf(json: unknown, more: Record<string, unknown> = {}) {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
  for (const [name, content] of Object.entries(more)) await writeFile(join(folder, name), JSON.stringify(content));
  return loadTokenizer(folderFiles(folder));
}

test("what a vocabulary lacks is one <unk> as the tokenizer has it, or one for each of its bytes", async () => {
  const t = await tokenizerOf(bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 }));
  expect(t.encode("abéé€b")).toEqual([3, 0, 2]);
  // é is two bytes, € is three.
  expect(t.encode("abéé€b", { unknown: "bytes" })).toEqual([3, 0, 0, 0, 0, 0, 0, 0, 2]);
});

test("a vocabulary with every byte has nothing unknown", async () => {
  const bytes = Object.fromEntries(
    Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, 4 + i]),
  );
  const t = await tokenizerOf(bpe({ "<unk>": 0, a: 1, b: 2, ab: 3, ...bytes }));
  const ids = t.encode("aé", { unknown: "bytes" });
  expect(ids).toEqual([1, 4 + 0xc3, 4 + 0xa9]);
  expect(t.encode("aé")).toEqual(ids);
});

test("a config beside it of the wrong type is refused by file and field", async () => {
  await expect(
    tokenizerOf(bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 }), { "tokenizer_config.json": { bos_token: 7 } }),
  ).rejects.toMatchObject({
    code: "format/malformed",
    message: expect.stringMatching(/tokenizer_config\.json: bos_token: /),
  });
  await expect(tokenizerOf(bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 }), { "config.json": [] })).rejects.toMatchObject({
    code: "format/malformed",
  });
});

test.each([
  [{ model: { type: "WordLevel", unk_token: "<unk>", vocab: { "<unk>": 0 } } }, /needs the model WordLevel/],
  [
    { model: { type: "BPE", continuing_subword_prefix: "##", vocab: { a: 0, "##b": 1 }, merges: [] } },
    /needs continuing_subword_prefix "##" of BPE/,
  ],
  [{ normalizer: { type: "Nmt" } }, /could not be read: .*Nmt/],
])("what the library does otherwise, or not at all, is refused by name", async (changed, message) => {
  await expect(tokenizerOf({ ...bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 }), ...changed })).rejects.toMatchObject({
    code: "format/unsupported",
    message: expect.stringMatching(message),
    hint: expect.any(String),
  });
});

/** `tokenizers` reads none of these beside a tokenizer.json. */
test("keys of old classes in the config change nothing", async () => {
  const spaces = bpe({ "<unk>": 0, a: 1, b: 2, ab: 3, " ": 4, A: 5 });
  const plain = await tokenizerOf(spaces);
  const old = await tokenizerOf(spaces, {
    "tokenizer_config.json": {
      remove_space: true,
      do_lowercase_and_remove_accent: true,
      clean_up_tokenization_spaces: true,
    },
  });
  for (const text of [" ab  A ", "A"]) expect(old.encode(text)).toEqual(plain.encode(text));
  expect(plain.encode(" ab  A ")).toEqual([4, 3, 4, 4, 5, 4]);
});

test("a book without a place to cut is cut", async () => {
  const t = await tokenizerOf({
    ...bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 }),
    pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
  });
  expect(t.encode("ab".repeat(100_000))).toHaveLength(100_000);
});

/** `tokenizers` 0.23: "Once upon" of both ids, "upon" of the second alone; " Once", with its space, where none is prepended. */
test("a continuation keeps the space that its first word has, and rows without a token say nothing", async () => {
  const words = bpe({ "<unk>": 0, "▁Once": 1, "▁upon": 2, "▁": 3, hole: 9 });
  const model = { ...words.model, merges: [] };
  const t = await tokenizerOf({
    ...words,
    model,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
  });
  expect([t.decode([1, 2]), t.decode([2]), t.decodeAfter([1], [2])]).toEqual(["Once upon", "upon", " upon"]);
  expect([t.decodeAfter([], [2]), t.decodeAfter([1], [])]).toEqual(["upon", ""]);
  expect([t.decode([1, 5, 700]), t.decode([700])]).toEqual(["Once", ""]);
  const never = await tokenizerOf({
    ...words,
    model,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "never" },
  });
  expect(never.decode([1, 2])).toBe(" Once upon");
});

test("a vocabulary without a token is refused", async () => {
  await expect(tokenizerOf({ ...bpe({}), model: { ...bpe({}).model, merges: [] } })).rejects.toThrow(/has no tokens/);
});

test("a folder under the name of a file is named", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "tokenizer.json"));
  await expect(loadTokenizer(folderFiles(folder))).rejects.toThrow(/tokenizer\.json is a folder, a file was expected/);
});

test("-1 in a config is no token", async () => {
  const vocab = bpe({ "<unk>": 0, a: 1, b: 2, ab: 3 });
  const none = await tokenizerOf(vocab, { "config.json": { bos_token_id: -1, eos_token_id: -1 } });
  expect([none.startId, none.eosIds]).toEqual([null, []]);
  const some = await tokenizerOf(vocab, {
    "generation_config.json": { bos_token_id: -1, eos_token_id: [-1, 2] },
    "config.json": { bos_token_id: 1 },
  });
  expect([some.startId, some.eosIds]).toEqual([1, [2]]);
});

test("a vocabulary of a quarter of a million is read", async () => {
  const vocab: Record<string, number> = { "<unk>": 0, a: 1, b: 2, ab: 3 };
  for (let id = 4; id < 262_144; id++) vocab[`<unused${id}>`] = id;
  const t = await tokenizerOf(bpe(vocab));
  expect(t.vocabSize).toBe(262_144);
  expect(t.encode("ab")).toEqual([3]);
});

/** transformers 5.24, AutoTokenizer: "a" is [2, 289] under each of these, and [0, 289, 1] with the template below. */
test("the post-processor alone says what stands around a text", async () => {
  const starter = fileURLToPath(new URL("../../experiments/starter/model/tokenizer.json", import.meta.url));
  const tokenizer = JSON.parse(readFileSync(starter, "utf8"));
  const around = async (own: object, changed = tokenizer): Promise<number[]> => {
    const t = await tokenizerOf(changed, {
      "tokenizer_config.json": { bos_token: "<bos>", eos_token: "<eos>", ...own },
    });
    const { begin, end } = t.addedTokens("auto");
    return [...begin, ...t.encode("a"), ...end];
  };
  for (const own of [{}, { add_bos_token: false }, { add_bos_token: true, add_eos_token: true }])
    expect(await around(own)).toEqual([2, 289]);
  const special = (id: number, token: string) => [token, { id: token, ids: [id], tokens: [token] }];
  const template = {
    type: "TemplateProcessing",
    single: [
      { SpecialToken: { id: "<pad>", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "<eos>", type_id: 0 } },
    ],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: Object.fromEntries([special(0, "<pad>"), special(1, "<eos>")]),
  };
  expect(await around({ add_bos_token: true }, { ...tokenizer, post_processor: template })).toEqual([0, 289, 1]);
  expect(await around({ add_bos_token: true }, { ...tokenizer, post_processor: null })).toEqual([289]);
});
