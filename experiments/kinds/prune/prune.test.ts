import { rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../../../bench/synthetic-checkpoint.ts";
import { parameterCount } from "../../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { temporaryFolder, tinyConfigs } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../starter/corpus.ts";
import { distill, distillConfig } from "../distill/distill.ts";
import { type PruneSummary, prune, pruneConfig } from "./prune.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const folder = await temporaryFolder();
const path = (name: string): string => join(folder, name);
await writeSyntheticCheckpoint(path("model"), {
  ...tinyConfigs.llama,
  num_hidden_layers: 6,
  num_attention_heads: 6,
  vocab_size: 384,
});
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (reference) => reference),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};
const pruned = (config: object): Promise<PruneSummary> =>
  runExperiment(
    prune,
    pruneConfig.parse({
      model: path("model"),
      out: path("pruned"),
      replace: true,
      text: path("text.txt"),
      separator: SEPARATOR,
      metric: "taylor",
      limit: 2,
      neuronMultiple: 1,
      ...config,
    }),
    context,
  );
const documents = heldOutDocuments("calibrate", 12);
const writeText = (from: number): Promise<void> =>
  writeFile(path("text.txt"), documents.slice(from, from + 2).join(SEPARATOR));

test("a prune repeated after the text at the same path changed reads the new text", async () => {
  await writeText(0);
  const first = await pruned({ neurons: 0.4 });
  expect((await pruned({ neurons: 0.4 })).dropped).toEqual(first.dropped);
  await writeText(4);
  const second = await pruned({ neurons: 0.4 });
  expect(second.dropped).not.toEqual(first.dropped);
  await writeText(0);
  expect((await pruned({ neurons: 0.4 })).dropped).toEqual(first.dropped);
});

test("shares are of the whole model, what goes with dropped layers among them", async () => {
  await writeText(0);
  const some = await pruned({ ratio: 0.5, neurons: 0.5, layers: 2, layerMetric: "block-influence" });
  expect(some.heads).toEqual({ before: 36, after: 18 });
  expect(some.neurons).toEqual({ before: 240, after: 120 });
  expect(some.layers).toEqual({ before: 6, after: 4 });
  const layersAlone = await pruned({ ratio: 0.2, neurons: 0.3, layers: 2, layerMetric: "block-influence" });
  expect([layersAlone.heads.after, layersAlone.neurons.after]).toEqual([24, 160]);
  // A third of 3 heads a group is one head, though 0.34 is a little more.
  expect((await pruned({ ratio: 0.34, mode: "balanced" })).heads.after).toBe(24);
});

test("a share of the parameters is kept, with its reasons, and the written model is the one that was measured", async () => {
  await writeFile(path("text.txt"), documents.join(SEPARATOR));
  const said: string[] = [];
  const config = { parameters: 0.8, limit: 12, context: 64, neuronMultiple: 4, rounds: 2 };
  const made = await runExperiment(
    prune,
    pruneConfig.parse({
      model: path("model"),
      out: path("sized"),
      text: path("text.txt"),
      separator: SEPARATOR,
      ...config,
    }),
    { ...context, log: (line) => said.push(line) },
  );
  expect(said[0]).toMatch(/^removing 20\.0 % of \d+ parameters; [\d.]+ % are embeddings and stay$/);
  const target = Math.floor(0.8 * made.parameters.before);
  expect(made.parameters.after).toBeLessThanOrEqual(target);
  expect(made.parameters.after).toBeGreaterThan(target - 3 * 32 * 4 - 1);
  expect(made.sized?.rounds.map((r) => r.parameters).at(-1)).toBe(made.parameters.after);
  const saved = made.sized?.layers.reduce((n, l) => n + l.savedParameters, 0);
  expect(saved).toBe(made.parameters.before - made.parameters.after);
  const last = made.sized?.rounds.at(-1);
  expect(last?.fitted?.kl).toBeLessThan(last?.cut.kl ?? 0);
  const written = await context.models.open(path("sized"));
  expect(parameterCount(written.weights.arch)).toBe(made.parameters.after);
  expect(made.origin.loss?.kl.mean).toBeCloseTo(last?.fitted?.kl ?? Number.NaN, 2);
  for (const [i, layer] of written.weights.arch.layers.entries())
    expect([layer.queryHeads, layer.neurons]).toEqual(
      made.sized?.layers.filter((l) => l.heads > 0).map((l) => [l.heads, l.neurons])[i],
    );
});

test("without a text, what the model writes itself serves", async () => {
  const made = await pruned({ parameters: 0.9, text: undefined, separator: undefined, cutOnly: true });
  expect(made.parameters.after).toBeLessThanOrEqual(0.9 * made.parameters.before);
  expect(made.sized?.protocol).toContain("wrote itself");
  expect(made.sized?.rounds[0]?.fitted).toBeNull();
});

test.each([
  [{ parameters: 0.5, ratio: 0.2 }, /ambiguous/],
  [{ parameters: 0.5, bytes: 1000 }, /both set/],
  [{ ratio: 0.5, text: undefined }, /need a --text/],
  [{ bytes: 10 ** 9 }, /already fits/],
  [{ parameters: 0.01 }, /cannot be reached/],
])("%o is refused", async (config, message) => {
  await writeText(0);
  await expect(pruned(config)).rejects.toThrow(message);
});

test("a distillation repeated after its folder was removed writes it again", async () => {
  await writeText(0);
  await pruned({ drop: ["L0.H0"], text: undefined });
  const config = distillConfig.parse({
    model: path("model"),
    student: path("pruned"),
    text: path("text.txt"),
    heldOut: path("text.txt"),
    separator: SEPARATOR,
    out: path("taught"),
    steps: 1,
    batch: 1,
    context: 16,
    heldOutLimit: 1,
  });
  const first = await runExperiment(distill, config, context);
  await rm(path("taught"), { recursive: true });
  const second = await runExperiment(distill, config, context);
  expect((await stat(path("taught"))).isDirectory()).toBe(true);
  expect(second.curve).toEqual(first.curve);
});
