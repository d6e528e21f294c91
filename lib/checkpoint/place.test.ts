/** What people give that is no model, named for what it is with what to do; and a cache, which is one. */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { matrix, tensorsOf } from "../../test/fixtures/checkpoint-folder.ts";
import { temporaryFolder, tinyConfigs, writeTinyCheckpoint } from "../../test/fixtures/tiny-model.ts";
import { EspalierError } from "../errors.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { loadTokenizer } from "../tokenizer/tokenizer.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { holdsCheckpoint } from "./place.ts";

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";
const page = "<!DOCTYPE html><html>";
const config = JSON.stringify(tinyConfigs.llama);
const zip = "PK\u0003\u0004 and so on, and so on";
const index = (shard: string): string => JSON.stringify({ weight_map: { a: shard } });
const good = join(await temporaryFolder(), "good");
await writeTinyCheckpoint(good, "llama");

type Files = Readonly<Record<string, string | Uint8Array>>;

async function folderWith(files: Files, base?: string): Promise<string> {
  const folder = join(await temporaryFolder(), "given");
  if (base === undefined) await mkdir(folder);
  else await cp(base, folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** The message and the hint with which it is refused. */
async function refusal(files: Files, at = "", base?: string): Promise<string> {
  try {
    const checkpoint = await openCheckpoint(join(await folderWith(files, base), at));
    await loadTokenizer(checkpoint).finally(() => checkpoint.close());
  } catch (thrown) {
    if (!(thrown instanceof EspalierError)) throw thrown;
    expect(thrown.code).toMatch(/^(model|format)\//);
    return `${thrown.message}\n${thrown.hint}`;
  }
  return "opened";
}

test.each<[string, RegExp, Files, string?]>([
  [
    "a pointer for weights",
    /Git LFS pointer.*\n.*git lfs pull/,
    { "config.json": config, "model.safetensors": pointer },
  ],
  [
    "a pointer for a shard",
    /Git LFS pointer/,
    { "config.json": config, "model.safetensors.index.json": index("a.safetensors"), "a.safetensors": pointer },
  ],
  ["a pointer for the index", /Git LFS pointer/, { "config.json": config, "model.safetensors.index.json": pointer }],
  ["a pointer for a config", /config\.json is a Git LFS pointer/, { "config.json": pointer }],
  ["a pointer for a GGUF file", /Git LFS pointer/, { "x.gguf": pointer }],
  ["a web page for weights", /web page/, { "config.json": config, "model.safetensors": page }],
  ["a web page for a config", /web page/, { "config.json": page }],
  [
    "an adapter",
    /adapter \(LoRA\).*\n.*merge_and_unload/,
    { "adapter_config.json": "{}", "adapter_model.safetensors": "" },
  ],
  ["an adapter with a config", /merge_and_unload/, { "config.json": config, "adapter_config.json": "{}" }],
  ["pickles alone", /PyTorch pickles/, { "config.json": config, "pytorch_model.bin": zip }],
  ["pickled shards", /PyTorch pickles/, { "config.json": config, "pytorch_model.bin.index.json": "{}" }],
  ["a pickle", /is a PyTorch pickle/, { "pytorch_model.bin": zip }, "pytorch_model.bin"],
  ["a pickle under another name", /is a PyTorch pickle/, { "config.json": config, "model.safetensors": zip }],
  [
    "a bare pickle",
    /is a PyTorch pickle/,
    { "config.json": config, "model.safetensors": Uint8Array.of(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9) },
  ],
  [
    "GGUF under another name",
    /is a GGUF file/,
    { "config.json": config, "model.safetensors": "GGUF\u0003\0\0\0 and so on" },
  ],
  [
    "safetensors under another name",
    /is a safetensors file/,
    { "x.gguf": Buffer.from("08000000000000007b7d202020202020", "hex") },
    "x.gguf",
  ],
  ["an archive", /is an archive\n.*Unpack/, { "model.zip": zip }, "model.zip"],
  ["an ONNX file", /is an ONNX model/, { "model.onnx": "x" }, "model.onnx"],
  ["weights of another framework", /another framework/, { "config.json": config, "tf_model.h5": "x" }],
  [
    "weights under another name",
    /weights\.safetensors is there: name it/,
    { "config.json": config, "weights.safetensors": "x" },
  ],
  ["a Core ML package", /is a Core ML package.*\n.*run-package/, { "x.mlpackage/Manifest.json": "{}" }, "x.mlpackage"],
  ["a diffusion pipeline", /diffusion pipeline/, { "model_index.json": "{}" }],
  ["the layout of Llama's makers", /layout of its makers/, { "params.json": "{}", "consolidated.00.pth": zip }],
  ["a folder of models", /below it: a, b\n.*Name the one/, { "a/config.json": config, "b/config.json": config }],
  [
    "a cache of several models",
    /below it: models--a--b/,
    { "models--a--b/refs/main": "x", "models--c--d/refs/main": "x" },
  ],
  ["the home of a cache", /below it: models--a--b/, { "hub/models--a--b/refs/main": "x", token: "x" }],
  ["several snapshots", /2 snapshots/, { "snapshots/a/config.json": config, "snapshots/b/config.json": config }],
  ["an empty folder", /neither a config\.json nor/, {}],
  ["no model type", /has no model_type/, { "config.json": "{}" }],
  ["an encoder", /"bert" is not known/, { "config.json": '{"model_type": "bert"}' }],
  ["a config that is a list", /not a JSON object/, { "config.json": "[]" }],
  ["a config in UTF-16", /not UTF-8.*\n.*iconv/, { "config.json": Buffer.from(`\uFEFF${config}`, "utf16le") }],
  ["a number of no language in a config", /is not JSON: .*x/, { "config.json": `{"x": nan}` }],
  [
    "a shard elsewhere",
    /not a plain file name/,
    { "config.json": config, "model.safetensors.index.json": index("../a.safetensors") },
  ],
  [
    "an index of nothing",
    /names no tensor/,
    { "config.json": config, "model.safetensors.index.json": '{"weight_map":{}}' },
  ],
  [
    "an index without its shards",
    /none of the 1 shards/,
    { "config.json": config, "model.safetensors.index.json": index("a.safetensors") },
  ],
])("%s", async (_what, message, files, at) => {
  expect(await refusal(files, at)).toMatch(message);
});

test.each(["config.json", "model.safetensors"])("%s of a model: its folder is meant", async (name) => {
  expect(await refusal({}, name, good)).toMatch(/is one file of a model\nGive its folder: .*given/);
});

test("a pointer for the tokenizer, and a byte order mark before a config", async () => {
  expect(await refusal({ "tokenizer.json": pointer }, "", good)).toMatch(/tokenizer\.json is a Git LFS pointer/);
  expect(await refusal({ "config.json": `\uFEFF${config}` }, "", good)).toMatch(/has no tokenizer\.json/);
});

test.each<[string, Record<string, unknown>]>([
  ["gptq", { quantization_config: { quant_method: "gptq", bits: 4 } }],
  ["awq", { quantization_config: { quant_method: "awq", bits: 4 } }],
  ["bitsandbytes", { quantization_config: { quant_method: "bitsandbytes", load_in_8bit: true } }],
  ["compressed-tensors", { compression_config: { quant_method: "compressed-tensors" } }],
  ["fp8", { quantization_config: { quant_method: "fp8" } }],
  ["mlx", { quantization: { group_size: 64, bits: 4 } }],
  [
    "gptq",
    { model_type: "gemma3", text_config: { ...tinyConfigs.gemma3, quantization_config: { quant_method: "gptq" } } },
  ],
])("weights that %s quantized", async (how, own) => {
  const changed = JSON.stringify({ ...tinyConfigs.llama, ...own });
  expect(await refusal({ "config.json": changed }, "", good)).toContain(`the weights are quantized (${how})`);
});

test("packed weights of which the config says nothing", async () => {
  const folder = await folderWith({ "config.json": config });
  const query = "model.layers.0.self_attn.q_proj";
  const others = [...tensorsOf(tinyConfigs.llama).values()].filter((t) => t.name !== `${query}.weight`);
  await writeSafetensors(join(folder, "model.safetensors"), [...others, matrix(`${query}.qweight`, [4, 32], 1)]);
  await expect(openCheckpoint(folder)).rejects.toMatchObject({
    hint: expect.stringContaining(`${query}.qweight is there`),
  });
});

test("the cache of a repository is opened at the snapshot that main names, or at its only one", async () => {
  const cache = join(await temporaryFolder(), "models--tiny--llama");
  const snapshot = join(cache, "snapshots", "abc");
  await mkdir(snapshot, { recursive: true });
  for (const name of ["config.json", "model.safetensors"]) await symlink(join(good, name), join(snapshot, name));
  expect(await holdsCheckpoint(cache)).toBe(true);
  const only = await openCheckpoint(cache);
  expect(only.path).toBe(snapshot);
  await only.close();
  await mkdir(join(cache, "snapshots", "older"));
  await mkdir(join(cache, "refs"));
  await writeFile(join(cache, "refs", "main"), "abc\n");
  const named = await openCheckpoint(cache);
  expect(named.path).toBe(snapshot);
  await named.close();
});
