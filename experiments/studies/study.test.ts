import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../definition.ts";
import { distill, distillConfig } from "../kinds/distill/distill.ts";
import { evaluate, evaluateConfig } from "../kinds/evaluate/evaluate.ts";
import { prune, pruneConfig } from "../kinds/prune/prune.ts";
import { sensitivity, sensitivityConfig } from "../kinds/sensitivity/sensitivity.ts";
import { modelSession } from "../model-session.ts";
import { heldOutDocuments, heldOutQuestions, SEPARATOR, trainingDocuments } from "../starter/corpus.ts";
import type { UnitName } from "../unit-name.ts";

const starter = join(import.meta.dirname, "../starter/model");
const folder = await temporaryFolder();
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const path = (name: string): string => join(folder, name);
await writeFileAtomic(path("text.txt"), heldOutDocuments("calibrate", 10).join(SEPARATOR));
await writeFileAtomic(path("train.txt"), Array.from({ length: 60 }, trainingDocuments(99)).join(SEPARATOR));
await writeFileAtomic(
  path("questions.jsonl"),
  heldOutQuestions("report", 60)
    .map((q) => JSON.stringify(q))
    .join("\n"),
);

let now = 0;
function context(overrides: Partial<ExperimentContext> = {}): ExperimentContext {
  return {
    engine,
    models: modelSession(engine, async (r) => r),
    store: memoryStore(),
    clock: { nowMs: () => ++now },
    ...overrides,
  };
}

test("the starter answers held-out questions far above chance", async () => {
  const s = await runExperiment(
    evaluate,
    evaluateConfig.parse({ model: starter, tasks: path("questions.jsonl") }),
    context(),
  );
  expect(s.tasks?.items).toBe(60);
  expect(s.tasks?.accuracy).toBeGreaterThan(0.85);
});

test("a stored unit is not measured twice, and an interrupted run goes on where it was", async () => {
  const store = memoryStore();
  const config = sensitivityConfig.parse({
    model: starter,
    text: path("text.txt"),
    separator: SEPARATOR,
    limit: 10,
    metric: ["taylor"],
  });
  const cancel = new AbortController();
  let puts = 0;
  const counting = {
    ...store,
    put: async (name: UnitName, v: unknown) => {
      puts++;
      await store.put(name, v);
      cancel.abort();
    },
  };
  await expect(
    runExperiment(sensitivity, config, context({ store: counting, signal: cancel.signal })),
  ).rejects.toMatchObject({ code: "run/cancelled" });
  expect(puts).toBe(1);
  const later = {
    ...store,
    put: async (name: UnitName, v: unknown) => {
      puts++;
      await store.put(name, v);
    },
  };
  const resumed = await runExperiment(sensitivity, config, context({ store: later }));
  expect(puts).toBe(2);
  const whole = await runExperiment(sensitivity, config, context());
  expect(resumed.units).toEqual(whole.units);
});

test("distillation stopped half way and resumed gives the weights of one that was never stopped", async () => {
  await runExperiment(
    prune,
    pruneConfig.parse({ model: starter, drop: ["L0.H0", "L1.H3"], out: path("pruned") }),
    context(),
  );
  const config = (out: string) =>
    distillConfig.parse({
      model: starter,
      student: path("pruned"),
      text: path("train.txt"),
      heldOut: path("text.txt"),
      heldOutLimit: 4,
      separator: SEPARATOR,
      out: path(out),
      steps: 6,
      batch: 2,
      context: 64,
      evaluateEvery: 2,
    });
  await runExperiment(distill, config("straight"), context());
  const cancel = new AbortController();
  let lines = 0;
  const log = (): void => {
    if (++lines === 3) cancel.abort();
  };
  await expect(
    runExperiment(distill, config("stopped"), context({ signal: cancel.signal, log })),
  ).rejects.toMatchObject({ code: "run/cancelled" });
  await expect(stat(path("stopped"))).rejects.toThrow();
  const resumed = await runExperiment(distill, config("stopped"), context());
  expect(resumed.resumedFrom).toBe(4);
  expect(await readFile(join(path("stopped"), "model.safetensors"))).toEqual(
    await readFile(join(path("straight"), "model.safetensors")),
  );
  // Six steps need not improve; what is kept must be the best that was seen.
  const best = [...resumed.curve].sort((x, y) => x.heldOutKl - y.heldOutKl)[0];
  expect(resumed.curve.map((p) => p.step)).toEqual([0, 2, 4, 6]);
  expect(resumed.bestStep).toBe(best?.step);
}, 120_000);
