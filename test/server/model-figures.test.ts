/**
 * One model through every page: the figures of a model that was pruned and quantized, on the trade-off, the page of the model, the
 * list of runs, its package, its card and the command line, before and after it is exported.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numbersOf, type RunRow } from "../../app/runs/run-row.ts";
import { cardText } from "../../bin/commands/export.ts";
import { type Experiment, type ExperimentContext, memoryStore, runExperiment } from "../../experiments/definition.ts";
import { evaluate } from "../../experiments/kinds/evaluate/evaluate.ts";
import type { ExportCard } from "../../experiments/kinds/export/card.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { weightBytesOf } from "../../experiments/kinds/export/weight-bytes.ts";
import { prune } from "../../experiments/kinds/prune/prune.ts";
import { quantize } from "../../experiments/kinds/quantize/quantize.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../experiments/starter/corpus.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { byteSize } from "../../lib/number-text.ts";
import type { Core } from "../../server/core.ts";
import { runs } from "../../server/db/schema.ts";
import { newId } from "../../server/ids.ts";
import { getModel, registerModel } from "../../server/models/model-registry.ts";
import { modelFigures, originalSize, packageNameOf } from "../../server/packages/model-figures.ts";
import { modelledPackage, packageSpeeds } from "../../server/packages/modelled.ts";
import { registerPackage } from "../../server/packages/packages.ts";
import { listRuns } from "../../server/runs/listing.ts";
import { addText } from "../../server/texts/texts.ts";
import { evaluatedBoards } from "../../server/tradeoff/evaluated.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { openTestCore, testClock } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");
const paths = new Map([["starter", starter]]);
let core: Core;
let context: ExperimentContext;
beforeAll(async () => {
  const clock = testClock();
  core = await openTestCore("embedded", clock);
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async (name) => paths.get(name) ?? name);
  context = { engine, models, store: memoryStore(), clock };
  const text = join(await temporaryFolder(), "chosen-on.txt");
  await writeFile(text, heldOutDocuments("select", 2).join(SEPARATOR));
  paths.set("chosen-on", text);
  await registerModel(core, starter, { id: "starter" });
  await addText(core, { id: "chosen-on", kind: "text", split: "select", content: await readFile(text, "utf8") });
});
afterAll(async () => {
  await context.models.close();
  await core.close();
});

/** What a task does for a run, in this process. */
async function ran<C, S>(
  experiment: Experiment<C, S>,
  given: Record<string, unknown>,
  outputModelId: string | null = null,
) {
  const folder = join(await temporaryFolder(), "made");
  const text = typeof given.text === "string" ? { text: paths.get(given.text) } : {};
  const config = experiment.config.parse({ ...given, ...text, out: folder });
  const summary = await runExperiment(experiment, config, context);
  const numbers = Object.fromEntries(
    Object.entries(experiment.headline(summary)).filter(([, v]) => typeof v === "number"),
  );
  const id = newId("run");
  const { kind } = experiment;
  await core.db.insert(runs).values({
    id,
    kind,
    name: kind,
    config: given,
    state: "succeeded",
    summary,
    numbers: numbers as Record<string, number>,
    outputModelId,
    endedAt: new Date(core.clock.nowMs()),
  });
  if (outputModelId !== null) {
    paths.set(outputModelId, folder);
    await registerModel(core, folder, { id: outputModelId, parentId: String(given.model), runId: id });
  }
  return { id, folder };
}
const rowOf = async (id: string): Promise<RunRow> => {
  const [row] = await listRuns(core, { ids: [id], archived: false, limit: 10 });
  // As the API sends it.
  return JSON.parse(JSON.stringify(row)) as RunRow;
};

test("a model has one size and one speed, wherever it is shown", async () => {
  await ran(prune, { model: "starter", drop: ["L0.H0", "L3.H2"], text: "chosen-on", separator: SEPARATOR }, "lighter");
  const model = "lighter-2-bits";
  const nearest = { bits: 2, embeddingBits: 4, method: "nearest", weighting: "none" };
  const quantized = await ran(quantize, { model: "lighter", ...nearest }, model);
  await ran(evaluate, { model, base: "starter", text: "chosen-on", separator: SEPARATOR });

  const point = async () => (await evaluatedBoards(core))[0]?.points.find((p) => p.model === model);
  // What is not counted yet is not waited for.
  expect(await point()).toMatchObject({ package: null, speed: null });
  const before = { figures: await modelFigures(core, model), point: await point() };
  const { figures } = before;
  expect(figures).toMatchObject({ packageIs: "predicted", contexts: [256], original: { id: "starter" } });
  expect((await getModel(core, model)).facts.weightBytes).toBe(figures.weightBytes);
  expect(before.point).toMatchObject({
    sizeBytes: figures.weightBytes,
    bitsPerWeight: figures.bitsPerWeight,
    package: { packageBytes: figures.packageBytes },
    speed: figures.usualSpeed,
  });
  const made = numbersOf(await rowOf(quantized.id));
  expect(made).toMatchObject({ MB: figures.weightBytes / 1e6, "bits per weight": figures.bitsPerWeight });

  const exported = await ran(exportExperiment, { model, name: packageNameOf(model), checkTokens: 4 });
  const row = await registerPackage(core, exported.folder, { modelId: model, runId: exported.id });
  const card = row.card as Extract<ExportCard, { to: "coreml" }>;
  // To the byte.
  expect(card.sizeBytes).toBe(figures.packageBytes);
  expect(weightBytesOf(card)).toBe(figures.weightBytes);
  expect(card.fp16Bytes).toBe(figures.original.fp16Bytes);
  expect(await originalSize(core, row.modelId)).toEqual(figures.original);
  expect(cardText(card)).toContain(`package          ${byteSize(figures.packageBytes ?? 0)}, as predicted`);
  expect(cardText(card)).toContain(`weights          ${byteSize(figures.weightBytes)}, `);
  expect(numbersOf(await rowOf(exported.id))).toMatchObject({
    MB: figures.weightBytes / 1e6,
    "package MB": card.sizeBytes / 1e6,
  });

  const after = { figures: await modelFigures(core, model), point: await point() };
  expect(after.figures).toEqual({ ...figures, packageIs: "written", packageId: row.id });
  expect(after.point?.speed).toEqual(before.point?.speed);
  const decode = (speeds: { chip: string; context: number; tokensPerSecond: number }[]) =>
    speeds.map((s) => [s.chip, s.context, s.tokensPerSecond]);
  const own = (await modelledPackage(core, row)).devices.flatMap((d) =>
    d.decode.map((c) => ({ ...c, chip: d.device })),
  );
  expect(decode(own)).toEqual(decode([...figures.modelled]));
  const listed = (await packageSpeeds(core))[0]?.modelled.flatMap((m) => m.decode.map((d) => ({ ...d, chip: m.chip })));
  expect(decode(listed ?? [])).toEqual(decode([...figures.modelled]));
}, 240_000);
