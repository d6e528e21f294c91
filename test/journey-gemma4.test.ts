/** A small Gemma 4, written by the generator of large ones, through the experiments: pruned, taught, quantized, packaged. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../bench/synthetic-checkpoint.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../experiments/definition.ts";
import { distill, distillConfig } from "../experiments/distill/distill.ts";
import { exportConfig, exportExperiment } from "../experiments/export/export.ts";
import { modelSession } from "../experiments/models.ts";
import { prune, pruneConfig } from "../experiments/prune/prune.ts";
import { quantize, quantizeConfig } from "../experiments/quantize/quantize.ts";
import { heldOutDocuments, SEPARATOR } from "../experiments/starter/corpus.ts";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/engine.ts";
import { writeFileAtomic } from "../lib/files/atomic.ts";
import { openCheckpoint } from "../lib/formats/hugging-face/checkpoint.ts";
import { temporaryFolder, tinyConfigs } from "./fixtures/tiny-model.ts";

test("a multimodal Gemma 4 becomes a checked package", async () => {
  const folder = await temporaryFolder();
  const path = (name: string): string => join(folder, name);
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  let now = 0;
  const context: ExperimentContext = {
    engine,
    models: modelSession(engine, async (r) => r),
    store: memoryStore(),
    clock: { nowMs: () => ++now },
  };
  const text = {
    ...tinyConfigs.gemma4,
    vocab_size: 384,
    vocab_size_per_layer_input: 384,
    max_position_embeddings: 128,
  };
  const made = await writeSyntheticCheckpoint(path("model"), text, { shardBytes: 50_000 });
  expect(made.shards).toBeGreaterThan(2);
  await writeFileAtomic(path("text.txt"), heldOutDocuments("calibrate", 3).join(SEPARATOR));
  const texts = { text: path("text.txt"), separator: SEPARATOR };

  const pruned = await runExperiment(
    prune,
    pruneConfig.parse({ model: path("model"), out: path("pruned"), ratio: 0.25, metric: "taylor", limit: 2, ...texts }),
    context,
  );
  expect(pruned.heads).toEqual({ before: 24, after: 18 });
  expect(pruned.groups.before).toBe(6);

  const taught = await runExperiment(
    distill,
    distillConfig.parse({
      model: path("model"),
      student: path("pruned"),
      heldOut: texts.text,
      out: path("taught"),
      steps: 2,
      batch: 2,
      context: 24,
      evaluateEvery: 2,
      heldOutLimit: 2,
      ...texts,
    }),
    context,
  );
  expect(taught.curve.every((p) => Number.isFinite(p.heldOutKl))).toBe(true);

  await runExperiment(
    quantize,
    quantizeConfig.parse({ model: path("taught"), out: path("small"), bits: 4, rowsPerTable: 8 }),
    context,
  );
  const small = await openCheckpoint(path("small"));
  expect(small.config).toMatchObject({ model_type: "gemma4_text", architectures: ["Gemma4ForCausalLM"] });
  expect(small.stored("perLayerEmbedding").scheme?.kind).toBe("palette");
  await small.close();

  const { card } = await runExperiment(
    exportExperiment,
    exportConfig.parse({
      model: path("small"),
      out: path("package"),
      contexts: [48],
      prefill: [16],
      checkTokens: 16,
      ...texts,
    }),
    context,
  );
  expect(card.parity.greedyIdentical).toBe(true);
  expect(card.ready).toBe(true);
  expect(card.layout).toBe("plain");
  await context.models.close();
}, 120_000);
