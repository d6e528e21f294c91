import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../../../bench/synthetic-checkpoint.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { temporaryFolder, tinyConfigs } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments } from "../../starter/corpus.ts";
import { prune, pruneConfig } from "../prune/prune.ts";
import { type DistillSummary, distill, distillConfig } from "./distill.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const folder = await temporaryFolder();
const path = (name: string): string => join(folder, name);
await writeSyntheticCheckpoint(path("model"), { ...tinyConfigs.llama, tie_word_embeddings: true, vocab_size: 384 });
await writeFile(path("text.txt"), heldOutDocuments("calibrate", 2).join("\n"));
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (reference) => reference),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};
await runExperiment(
  prune,
  pruneConfig.parse({ model: path("model"), out: path("pruned"), drop: ["L0.H0", "L1.N0-15"] }),
  context,
);
const taught = (out: string, config: object): Promise<DistillSummary> =>
  runExperiment(
    distill,
    distillConfig.parse({
      model: path("model"),
      student: path("pruned"),
      text: path("text.txt"),
      heldOut: path("text.txt"),
      out: path(out),
      steps: 4,
      batch: 2,
      context: 24,
      heldOutLimit: 3,
      evaluateEvery: 2,
      ...config,
    }),
    context,
  );
test("all tokens kept on disk teach what logits teach; small batches accumulated teach what large ones do", async () => {
  const logits = await taught("logits", {});
  const top = await taught("top", { teacherTop: 384 });
  const apart = await taught("apart", { batch: 1, accumulate: 2 });
  expect(logits.curve.at(-1)?.heldOutKl).toBeLessThan(logits.curve[0]?.heldOutKl ?? 0);
  for (const other of [top, apart]) {
    expect(other.tokens).toBe(logits.tokens);
    for (const [i, p] of logits.curve.entries()) {
      const [a, b] = [other.curve[i]?.heldOutKl ?? Number.NaN, p.heldOutKl];
      expect(Math.abs(a - b)).toBeLessThan(0.01 * b + 1e-5);
    }
  }
  // What the teacher said goes with the run.
  expect((await readdir(folder)).filter((name) => name.includes(".teacher-"))).toEqual([]);
});

test("adapters and a frozen embedding leave the others as they were", async () => {
  const embedding = async (out: string): Promise<Float32Array> =>
    (await context.models.files(path(out))).checkpoint.globalTensor("embedding");
  const before = await embedding("pruned");
  const lora = await taught("lora", { loraRank: 4, learningRate: 5e-3 });
  expect(lora.curve.at(-1)?.heldOutKl).toBeLessThan(lora.curve[0]?.heldOutKl ?? 0);
  expect(await embedding("lora")).toEqual(before);
  const norms = async (out: string): Promise<Float32Array> =>
    (await context.models.files(path(out))).checkpoint.layerTensor(0, "attentionNorm");
  expect(await norms("lora")).toEqual(await norms("pruned"));
  const frozen = await taught("frozen", { freezeEmbedding: true });
  expect(frozen.curve.at(-1)?.heldOutKl).toBeLessThan(frozen.curve[0]?.heldOutKl ?? 0);
  expect(await embedding("frozen")).toEqual(before);
  expect(await norms("frozen")).not.toEqual(await norms("pruned"));
});
