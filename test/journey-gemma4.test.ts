/** A small Gemma 4, written by the generator of large ones, through the experiments: pruned, taught, quantized, packaged. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../bench/synthetic-checkpoint.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../experiments/definition.ts";
import { distill, distillConfig } from "../experiments/kinds/distill/distill.ts";
import { exportConfig } from "../experiments/kinds/export/config.ts";
import { exportExperiment } from "../experiments/kinds/export/export.ts";
import { prune, pruneConfig } from "../experiments/kinds/prune/prune.ts";
import { quantize, quantizeConfig } from "../experiments/kinds/quantize/quantize.ts";
import { modelSession } from "../experiments/model-session.ts";
import { simulatePhone } from "../experiments/probe/simulate.ts";
import { heldOutDocuments, SEPARATOR } from "../experiments/starter/corpus.ts";
import { openCheckpoint } from "../lib/checkpoint/checkpoint.ts";
import { generate } from "../lib/decoder/generate.ts";
import { openPackage } from "../lib/decoder/opened-package.ts";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { writeFileAtomic } from "../lib/files/atomic.ts";
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
      contexts: [64],
      prefill: [16],
      checkTokens: 16,
      // Random weights, a quarter of the heads gone: 0.26 nats, which the default limit refuses.
      maxKl: 0.5,
      ...texts,
    }),
    context,
  );
  expect(card.good).toMatchObject({ ok: true, origin: { loss: { against: "original" } } });
  expect(card.parity.greedyIdentical).toBe(true);
  expect(card.reasons).toEqual([]);
  if (card.to !== "coreml") throw new Error(`a card for ${card.to}`);
  expect(card.layout).toBe("neural-engine");
  // Ring and full cache: three layers have keys of their own, of which pruning left one group or two.
  expect(new Set(card.states.map((s) => s.name))).toEqual(new Set(["kv_ring", "kv_full"]));
  // The per-layer table travels beside the package, at its 4 bits, and the probe takes it along.
  const table = join(path("package"), "Model.per-layer.safetensors");
  const perLayer = (await stat(table)).size;
  expect(card.embeddingBytes).toBe(perLayer);
  expect(perLayer).toBeLessThan((384 * 6 * 8 * 4) / 8 + 384 * 32 + 1000);

  // From the folder alone, as the command line and the simulated phone do.
  const model = await openPackage(engine, join(path("package"), "Model.mlpackage"), "round");
  const text8 = await generate(model, [5, 9, 2, 30], { maxTokens: 8 });
  expect(text8).toHaveLength(8);
  const report = await simulatePhone(path("package"), {
    engine,
    clock: context.clock,
    timedTokens: 2,
    timedCalls: 1,
    memoryBytes: () => 0,
  });
  expect(report.runs[0]?.parity.every((p) => p.passed)).toBe(true);
  await context.models.close();
}, 120_000);
