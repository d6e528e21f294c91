/** Makers and measurements: what is kept of a run, what a repeat does, and what is refused before any work. */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../bench/synthetic-checkpoint.ts";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { temporaryFolder, tinyConfigs } from "../test/fixtures/tiny-model.ts";
import { decidedBy } from "./address.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "./definition.ts";
import { fieldsIn, withoutFlags } from "./flags.ts";
import { distillConfig } from "./kinds/distill/distill.ts";
import { prune, pruneConfig } from "./kinds/prune/prune.ts";
import { modelSession } from "./model-session.ts";
import { experimentOf } from "./registry.ts";
import { heldOutDocuments, SEPARATOR } from "./starter/corpus.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const folder = await temporaryFolder();
const path = (name: string): string => join(folder, name);
await writeSyntheticCheckpoint(path("model"), { ...tinyConfigs.llama, vocab_size: 384 });
await writeSyntheticCheckpoint(path("other-vocabulary"), { ...tinyConfigs.llama, vocab_size: 400 });
const writeText = (from: number): Promise<void> =>
  writeFile(
    path("text.txt"),
    heldOutDocuments("calibrate", 12)
      .slice(from, from + 6)
      .join(SEPARATOR),
  );
await writeText(0);

const refused = (): Promise<never> => Promise.reject(new Error("work began"));

/** A context whose store tells what was put, and whose models are opened only where `opens`. */
function contextWith(put: string[], opens = true): ExperimentContext {
  const store = memoryStore();
  const models = modelSession(engine, async (reference) => reference);
  return {
    engine,
    models: opens ? models : { ...models, open: refused, openToRun: refused },
    store: {
      get: (key) => store.get(key),
      put: async (key, value) => {
        put.push(JSON.stringify(key));
        await store.put(key, value);
      },
    },
    clock: { nowMs: () => put.length },
  };
}

const on = { text: path("text.txt"), separator: SEPARATOR, context: 48 };
const making = {
  prune: { ...on, ratio: 0.3, metric: "taylor" },
  quantize: { ...on, bits: 4, rowsPerTable: 4 },
  distill: {
    student: path("model"),
    text: on.text,
    heldOut: on.text,
    separator: SEPARATOR,
    steps: 1,
    batch: 1,
    context: 16,
    heldOutLimit: 1,
  },
  export: { layout: "plain", contexts: [32], prefill: [], checkTokens: 4 },
};

const makeOnce = async (kind: keyof typeof making, context: ExperimentContext): Promise<void> => {
  const maker = experimentOf(kind);
  const config = maker.config.parse({ model: path("model"), out: path(kind), replace: true, ...making[kind] });
  await runExperiment(maker, config, context);
};

test.each(Object.keys(making) as (keyof typeof making)[])(
  "%s repeated adds no row, and writes its folder again when it was removed",
  async (kind) => {
    const put: string[] = [];
    const context = contextWith(put);
    await makeOnce(kind, context);
    const before = new Set(put);
    await rm(path(kind), { recursive: true });
    await makeOnce(kind, context);
    expect((await stat(path(kind))).isDirectory()).toBe(true);
    expect([...new Set(put)].filter((key) => !before.has(key))).toEqual([]);
    expect([...before].filter((key) => key.includes(path(kind)))).toEqual([]);
  },
);

test("what decides a result is content: a text that changed at its path, not where anything lies", async () => {
  const models = modelSession(engine, async (reference) => reference);
  const config = { model: path("model"), student: path("model"), text: on.text, heldOut: on.text, out: "a" };
  const decided = (given: object) => decidedBy(distillConfig, distillConfig.parse({ ...config, ...given }), models);
  const first = await decided({});
  expect(JSON.stringify(first)).not.toContain(folder);
  await writeFile(path("copy.txt"), await readFile(on.text));
  expect(await decided({ text: path("copy.txt"), out: "b", replace: true })).toEqual(first);
  await writeText(4);
  expect(await decided({})).not.toEqual(first);
  await writeText(0);
  expect(await decided({})).toEqual(first);
});

test("a prune repeated after its text changed at the same path selects by the new text", async () => {
  const config = { ...on, model: path("model"), metric: "taylor", neurons: 0.5, neuronBlock: 1 };
  const selectedIn = async (context: ExperimentContext): Promise<unknown> => {
    const given = pruneConfig.parse({ ...config, out: path("by-text"), replace: true });
    return (await runExperiment(prune, given, context)).dropped;
  };
  const context = contextWith([]);
  const first = await selectedIn(context);
  await writeText(5);
  const second = await selectedIn(context);
  expect(second).not.toEqual(first);
  expect(second).toEqual(await selectedIn(contextWith([])));
  await writeText(0);
  expect(await selectedIn(context)).toEqual(first);
});

test.each([
  ["tradeoff", { base: path("model"), models: [path("model")], ...on, measure: "accuracy" }, ["measure", "tasks"]],
  ["tradeoff", { base: path("model"), models: [path("model")], ...on, keep: 0.9 }, ["keep", "tasks"]],
  ["tradeoff", { base: path("model"), models: [path("other-vocabulary")], ...on }, ["base"]],
  ["quantize", { scheme: "affine", rowScales: true, method: "gptq" }, ["rowScales", "scheme"]],
  ["quantize", { maxBits: 3, maxKl: 0.1 }, ["maxKl", "maxBits"]],
  ["evaluate", {}, []],
  ["evaluate", { ...on, base: path("other-vocabulary") }, ["base"]],
  ["distill", { student: path("other-vocabulary"), text: on.text, heldOut: on.text }, ["student"]],
  ["sensitivity", { ...on, units: ["heads"], metric: ["block-influence"] }, ["metric", "units"]],
  ["sensitivity", { ...on, only: ["L0.X1"] }, []],
  ["export", { contexts: [100_000] }, ["contexts"]],
  ["export", { layout: "plain", embedding: "host" }, ["embedding", "layout"]],
])("%s %o is refused before any weight is read", async (kind, given, fields) => {
  const experiment = experimentOf(kind);
  const config = experiment.config.parse({ model: path("model"), out: path("never"), ...given });
  const thrown = await runExperiment(experiment, config, contextWith([], false)).catch((e: unknown) => e);
  expect(thrown).toMatchObject({ name: "EspalierError" });
  expect(fieldsIn((thrown as Error).message)).toEqual(fields);
});

test("a message names flags in a terminal and labels in a form", () => {
  expect(fieldsIn("--max-kl and --max-bits are two limits")).toEqual(["maxKl", "maxBits"]);
  expect(withoutFlags("--max-kl and --max-bits are two limits")).toBe("“Max KL” and “Max bits” are two limits");
  expect(withoutFlags("Run `espalier quantize MODEL --bits 4`, or give --bits.")).toBe(
    "Run `espalier quantize MODEL --bits 4`, or give “Bits”.",
  );
});
