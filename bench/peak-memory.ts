/**
 * @file Peak resident memory of loading and evaluating a checkpoint, one JSON object on standard output.
 *
 * Linux only: VmHWM of this process, before the checkpoint is opened and after it was evaluated. Run as a child, because what a
 * process held before cannot be told from what it holds for this.
 *
 * Usage: peak-memory.ts write FOLDER f32|bf16   random weights, 315 MB as f32
 *        peak-memory.ts evaluate FOLDER THREADS
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { modelSession } from "../experiments/model-session.ts";
import { writeCheckpoint } from "../lib/checkpoint/write-checkpoint.ts";
import { architectureOf } from "../lib/decoder/families/registry.ts";
import { parameterCount, weightList } from "../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../lib/eval/perplexity.ts";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import { folderFiles } from "../lib/files/named-files.ts";
import { elementCount } from "../lib/mil/types.ts";
import { createRng } from "../lib/random.ts";

const config = {
  model_type: "llama",
  vocab_size: 1024,
  hidden_size: 768,
  intermediate_size: 2048,
  num_hidden_layers: 11,
  num_attention_heads: 12,
  num_key_value_heads: 12,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  bos_token_id: 2,
  eos_token_id: 1,
};

function peakBytes(): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  if (!line) throw new Error("no VmHWM in /proc/self/status");
  return Number(line[1]) * 1024;
}

async function write(folder: string, dtype: string): Promise<void> {
  const architecture = architectureOf(config);
  const shapes = new Map(weightList(architecture).map(({ name, shape }) => [name, shape]));
  await writeCheckpoint(folder, {
    architecture,
    config,
    dtype: dtype === "bf16" ? "bf16" : "f32",
    copyFrom: folderFiles(fileURLToPath(new URL("../experiments/starter/model", import.meta.url))),
    async weight(name) {
      const shape = shapes.get(name) ?? [];
      const rng = createRng(0, name);
      const values = new Float32Array(elementCount(shape));
      // Uniform, of variance 1 / fan-in; norms 1.
      const reach = Math.sqrt(3 / (shape[1] ?? 1));
      for (let i = 0; i < values.length; i++) values[i] = shape.length === 1 ? 1 : reach * (2 * rng.uniform() - 1);
      return { kind: "dense", dtype: "fp32", shape, values };
    },
  });
}

async function evaluate(folder: string, threads: number): Promise<void> {
  const engine = await createOnnxRuntimeEngine({ threads });
  const baselineBytes = peakBytes();
  const model = await modelSession(engine, async (reference) => reference).open(folder);
  const loadedBytes = peakBytes();
  const rng = createRng(0, "memory");
  const sequences: TokenSequence[] = Array.from({ length: 16 }, (_, i) => ({
    id: `s${i}`,
    ids: Int32Array.from({ length: 161 }, () => 4 + rng.integer(1020)),
    scoredFrom: 1,
    sizeBytes: 160,
  }));
  await sequenceLosses(model.runner, sequences);
  const weightBytes = 4 * parameterCount(model.weights.arch);
  console.log(JSON.stringify({ baselineBytes, loadedBytes, peakBytes: peakBytes(), weightBytes }));
}

const [verb, folder = "", option = "2"] = process.argv.slice(2);
if (verb === "write") await write(folder, option);
else if (verb === "evaluate") await evaluate(folder, Number(option));
else throw new Error("usage: peak-memory.ts write FOLDER f32|bf16, or evaluate FOLDER THREADS");
process.exit(0);
