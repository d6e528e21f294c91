/**
 * Writes checkpoints of every family as the verbs write them (copied, pruned, from a wrapper's config, from GGUF), with the
 * logits that they have here, for check_checkpoints.py. Usage: write-checkpoints.ts OUTPUT_FOLDER
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadWeights } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { madeFrom } from "../../lib/checkpoint/made-from.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { canLoseHeads, emptySelection, selectionByName } from "../../lib/compress/prune/prune-selection.ts";
import { pruneModel } from "../../lib/compress/prune/slice.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { tinyGgufBytes } from "../fixtures/tiny-gguf.ts";
import { temporaryFolder, tinyFamilies, tinyIds, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";

const out = process.argv[2];
if (out === undefined) throw new Error("usage: write-checkpoints.ts OUTPUT_FOLDER");
const golden = join(import.meta.dirname, "../golden");
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const ids = tinyIds(24, 48);
const vectors: Record<string, { ids: number[]; logits: number[] }> = {};

/** Writes what `names` of units leave of the model at `from`, and its logits as it is read again. */
async function write(name: string, from: string, names: readonly string[]): Promise<void> {
  const origin = await openCheckpoint(from);
  const before = await loadWeights(origin);
  const drop = names.length > 0 ? selectionByName(before.arch, names) : emptySelection(before.arch);
  const made = pruneModel(before, drop);
  const layers = before.arch.layers.flatMap((_, l) => (drop.layers.includes(l) ? [] : [l]));
  await writeCheckpoint(join(out as string, name), {
    architecture: made.arch,
    config: origin.config,
    copyFrom: origin,
    ...madeFrom(origin, before, made, layers),
  });
  await origin.close();
  await note(name);
}

async function note(name: string): Promise<void> {
  const written = await openCheckpoint(join(out as string, name));
  const runner = new DecoderRunner(engine, await loadWeights(written));
  const shape = { batch: 1, length: ids.length };
  const logits = await runner.logits(await runner.blocks(await runner.embed(ids, shape)));
  vectors[name] = { ids: [...ids], logits: [...float32Data(logits)] };
  await written.close();
}

/** The config of a multimodal model around the same decoder. */
async function wrapped(from: string, type: string): Promise<string> {
  const folder = await temporaryFolder();
  const text = readFileSync(join(from, "config.json"), "utf8");
  await writeFile(join(folder, "config.json"), `{"model_type": "${type}", "text_config": ${text}}`);
  await writeFile(join(folder, "model.safetensors"), readFileSync(join(from, "model.safetensors")));
  return folder;
}

await mkdir(out, { recursive: true });
const models = readdirSync(golden).filter((n) => /^(llama|phi3|qwen|smollm|granite|olmo|gemma)/.test(n));
for (const model of models) {
  const folder = join(golden, model);
  const checkpoint = await openCheckpoint(folder);
  const { layers } = checkpoint.architecture;
  await checkpoint.close();
  const everyLayer = layers.map((l, i) => (l.neurons === 40 ? `L${i}.N0-7` : `L${i}.N0-15`));
  await write(`${model}-copied`, folder, []);
  await write(`${model}-fewer-neurons`, folder, everyLayer);
  if (layers.every((l) => l.kvGroups === 2 && canLoseHeads(l)))
    await write(
      `${model}-fewer-heads`,
      folder,
      layers.flatMap((_, i) => [`L${i}.H0`, `L${i}.H1`]),
    );
  if (layers.length > 1 && !layers.some((l) => l.layerScalar)) await write(`${model}-fewer-layers`, folder, ["L0"]);
}
await write("gemma3-wrapper", await wrapped(join(golden, "gemma3"), "gemma3"), []);
await write("gemma4-wrapper", await wrapped(join(golden, "gemma4"), "gemma4"), []);
for (const family of ["llama", "gemma3"] as const) {
  const file = join(await temporaryFolder(), "model.gguf");
  await writeFile(file, tinyGgufBytes(family));
  await write(`${family}-gguf`, file, []);
}
// Configs that were never text: whole numbers where transformers wants floats.
for (const family of tinyFamilies) {
  await writeTinyCheckpoint(join(out, `${family}-made-here`), family);
  await note(`${family}-made-here`);
}
await writeFile(join(out, "vectors.json"), JSON.stringify(vectors));
