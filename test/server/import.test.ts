/** What people bring is usable when it is taken, or it is not taken. */
import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { float16FromFloat32 } from "../../lib/float16.ts";
import { asBytes, type TensorToWrite } from "../../lib/formats/safetensors.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Core } from "../../server/core.ts";
import { importModel, listModels } from "../../server/models/model-registry.ts";
import { folderOf, matrix, tensorsOf } from "../fixtures/checkpoint-folder.ts";
import { tinyGgufBytes } from "../fixtures/tiny-gguf.ts";
import { temporaryFolder, tinyConfigs } from "../fixtures/tiny-model.ts";
import { openTestCore } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");
const config = { ...tinyConfigs.llama, vocab_size: 1024 };
const good = [...tensorsOf(config).values()];
const norm = "model.layers.1.input_layernorm.weight";
const instead = (tensor: TensorToWrite): TensorToWrite[] => good.map((t) => (t.name === tensor.name ? tensor : t));

let core: Core;
beforeAll(async () => {
  core = await openTestCore("embedded");
}, 120_000);
afterAll(() => core.close());

async function withTokenizer(tensors: readonly TensorToWrite[], own: object = {}): Promise<string> {
  const folder = await folderOf({ ...config, ...own }, tensors);
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(join(starter, file), join(folder, file));
  return folder;
}

const half = (value: number): TensorToWrite => ({
  ...{ name: norm, dtype: "F16", shape: [32] },
  bytes: () => asBytes(float16FromFloat32(new Float32Array(32).fill(value))),
});
const brain: TensorToWrite = { ...half(0), dtype: "BF16", bytes: () => asBytes(new Uint16Array(32).fill(0x7fc0)) };
const last = new Float64Array(32);
last[31] = Number.NEGATIVE_INFINITY;
const whole = good.map(
  (t): TensorToWrite => ({ ...t, dtype: "I8", bytes: () => new Uint8Array(elementCount(t.shape)) }),
);

test.each<[string, readonly TensorToWrite[], RegExp]>([
  ["NaN in fp32", instead(matrix(norm, [32], Number.NaN)), /value 0 of L1_attentionNorm is not a finite number/],
  ["infinity in fp16", instead(half(1e9)), /not a finite number/],
  ["NaN in bf16", instead(brain), /not a finite number/],
  ["infinity at the end, in fp64", instead({ ...half(0), dtype: "F64", bytes: () => asBytes(last) }), /value 31 of/],
  ["codes without a scale", whole, /is I8, a floating point type was expected/],
  ["another shape", instead(matrix(norm, [31], 1)), /is \[31\], config\.json asks for \[32\]/],
  ["a tensor less", good.filter((t) => t.name !== norm), /input_layernorm\.weight is missing/],
])("%s is refused", async (_what, tensors, message) => {
  await expect(importModel(core, await withTokenizer(tensors), { id: "bad" })).rejects.toThrow(message);
  expect(await listModels(core)).toEqual([]);
});

test("a folder without a tokenizer, or with a broken one, is refused", async () => {
  await expect(importModel(core, await folderOf(config, good), { id: "bad" })).rejects.toThrow(/no tokenizer\.json/);
  const broken = await withTokenizer(good);
  await writeFile(join(broken, "tokenizer.json"), '{"model": {"type": "BPE"}}');
  await expect(importModel(core, broken, { id: "bad" })).rejects.toMatchObject({ name: "EspalierError" });
  expect(await listModels(core)).toEqual([]);
});

test("what is odd and no hindrance is noted", async () => {
  expect((await importModel(core, await withTokenizer(good), { id: "plain" })).note).toBe("");
  const tower = ["a", "b", "c", "d"].map((n) => matrix(`vision_tower.${n}`, [2], 1));
  const odd = await withTokenizer([...tensorsOf({ ...config, vocab_size: 1000 }).values(), ...tower], {
    vocab_size: 1000,
  });
  const { note } = await importModel(core, odd, { id: "odd", note: "from afar" });
  expect(note).toMatch(/^from afar; not part of the decoder and left aside: 4 tensors, vision_tower/);
  expect(note).toMatch(/24 tokens have no row among 1000 of the embedding/);
  const file = join(await temporaryFolder(), "model.gguf");
  await writeFile(file, tinyGgufBytes("llama"));
  expect((await importModel(core, file, { id: "gguf" })).note).toBe("");
});
