/**
 * Writes GGUF files of every architecture and type, with the values and token ids that our own reader finds in them, for
 * check_gguf.py; and the starter in two types with its greedy text, for llama-cpp.mjs. Usage: write-ggufs.ts OUTPUT_FOLDER
 */
import { createHash } from "node:crypto";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { loadWeights, modelSession } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { ggufModel } from "../../lib/export/gguf/gguf-model.ts";
import { openGguf } from "../../lib/formats/gguf/gguf.ts";
import { encode, writtenTypes } from "../../lib/formats/gguf/quantize.ts";
import { writeGguf } from "../../lib/formats/gguf/write.ts";
import { asBytes } from "../../lib/formats/safetensors.ts";
import { temporaryFolder, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";

const out = process.argv[2];
if (out === undefined) throw new Error("usage: write-ggufs.ts OUTPUT_FOLDER");
await mkdir(out, { recursive: true });
const engine = await createOnnxRuntimeEngine({ threads: 1 });

async function digestsOf(path: string): Promise<Record<string, string>> {
  const file = await openGguf(path);
  const own: Record<string, string> = {};
  for (const tensor of file.tensors.keys())
    own[tensor] = createHash("sha256")
      .update(asBytes(await file.readFloat32(tensor)))
      .digest("hex");
  await file.close();
  return own;
}

const digests: Record<string, Record<string, string>> = {};
for (const family of ["llama", "biased", "granite", "olmo2", "qwen2", "qwen3", "gemma2", "gemma3"] as const) {
  const folder = join(await temporaryFolder(), family);
  await writeTinyCheckpoint(folder, family);
  const checkpoint = await openCheckpoint(folder);
  for (const type of writtenTypes) {
    const name = `${family === "biased" ? "llama-biased" : family}-${type}.gguf`;
    const { keys, tensors } = ggufModel(checkpoint, type, name);
    await writeGguf(join(out, name), keys, tensors);
    digests[name] = await digestsOf(join(out, name));
  }
  await checkpoint.close();
}
// Rows that tiny models have not: long enough for every type.
const values = Float32Array.from({ length: 4 * 512 }, (_, i) => Math.sin(i * i) * 2 ** -((i >> 9) * 3));
const blocks = writtenTypes.map((type) => ({
  name: type.toLowerCase(),
  type,
  shape: [4, 512],
  async *bytes() {
    yield encode(type, values);
  },
}));
await writeGguf(
  join(out, "none-blocks.gguf"),
  [{ key: "general.architecture", type: "string", value: "none" }],
  blocks,
);
digests["none-blocks.gguf"] = await digestsOf(join(out, "none-blocks.gguf"));
await writeFile(join(out, "digests.json"), JSON.stringify(digests));

/** Greedy text of a file after a prompt, as Espalier reads it. */
const texts: Record<string, { prompt: string; text: string; ids: number[] }> = {};
const models = modelSession(engine, async (path) => path);
for (const type of ["BF16", "Q8_0"] as const) {
  const folder = join(await temporaryFolder(), type);
  const config = exportConfig.parse({
    model: join(import.meta.dirname, "../../experiments/starter/model"),
    ...{ to: "gguf", out: folder, type, name: `starter-${type}`, maxKl: 1 },
  });
  const { card } = await runExperiment(exportExperiment, config, {
    engine,
    models,
    store: memoryStore(),
    clock: { nowMs: () => 0 },
  });
  const path = join(folder, card.file);
  const { tokenizer } = await models.files(path);
  const checkpoint = await openCheckpoint(path);
  const model = await stepModel(engine, await loadWeights(checkpoint), { context: 128, prefillLength: 8 });
  const prompt = "Once upon a time there was a little dog";
  const ids = [...tokenizer.addedTokens("auto").begin, ...tokenizer.encode(prompt)];
  const greedy = await generate(model, ids, { maxTokens: 64 });
  texts[card.file] = { prompt, text: tokenizer.decode(greedy), ids: [...ids, ...greedy] };
  await copyFile(path, join(out, card.file));
}
await writeFile(join(out, "texts.json"), JSON.stringify(texts));
