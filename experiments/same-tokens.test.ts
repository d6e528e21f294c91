/** Models of equal sizes whose ids mean different tokens are refused by everything that takes two. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { temporaryFolder } from "../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "./definition.ts";
import { distill, distillConfig } from "./kinds/distill/distill.ts";
import { evaluate, evaluateConfig } from "./kinds/evaluate/evaluate.ts";
import { tradeoff, tradeoffConfig } from "./kinds/tradeoff/tradeoff.ts";
import { modelSession } from "./model-session.ts";
import { originalOf } from "./original.ts";
import { heldOutDocuments, SEPARATOR } from "./starter/corpus.ts";

const starter = fileURLToPath(new URL("./starter/model", import.meta.url));
const folder = await temporaryFolder();
const text = join(folder, "text.txt");
await writeFile(text, heldOutDocuments("calibrate", 2).join(SEPARATOR));

/** The starter under another tokenizer: the tokens of two ids changed places. */
const other = join(folder, "other");
await cp(starter, other, { recursive: true });
const tokenizer = JSON.parse(await readFile(join(other, "tokenizer.json"), "utf8"));
const { vocab } = tokenizer.model;
const named = new Map<number, string>(Object.entries<number>(vocab).map(([token, id]) => [id, token]));
const [a, b] = [named.get(300) ?? "", named.get(301) ?? ""];
await writeFile(
  join(other, "tokenizer.json"),
  JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, vocab: { ...vocab, [a]: 301, [b]: 300 } } }),
);

const context: ExperimentContext = {
  engine: await createOnnxRuntimeEngine({ threads: 1 }),
  models: modelSession(await createOnnxRuntimeEngine({ threads: 1 }), async (reference) => reference),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};
afterAll(() => context.models.close());
const message = /different vocabularies of \d+ tokens: 300 is .* and 1 further ids differ/;

test("a base, a teacher, a curve and an original with other tokens of the same number are refused", async () => {
  const evaluated = evaluateConfig.parse({ model: other, base: starter, text, separator: SEPARATOR });
  await expect(runExperiment(evaluate, evaluated, context)).rejects.toThrow(message);
  const taught = distillConfig.parse({
    ...{ model: starter, student: other, text, heldOut: text, separator: SEPARATOR },
    ...{ steps: 1, out: join(folder, "out") },
  });
  await expect(runExperiment(distill, taught, context)).rejects.toThrow(message);
  const curve = tradeoffConfig.parse({ base: starter, models: [other], text, separator: SEPARATOR });
  await expect(runExperiment(tradeoff, curve, context)).rejects.toThrow(message);
  const parent = await context.models.open(other);
  await expect(originalOf(parent, context, { given: starter })).rejects.toThrow(message);
});

test("the same tokens in another folder are one vocabulary", async () => {
  const twin = join(folder, "twin");
  await cp(starter, twin, { recursive: true });
  const config = evaluateConfig.parse({ model: twin, base: starter, text, separator: SEPARATOR, limit: 1 });
  const summary = await runExperiment(evaluate, config, context);
  expect(summary.text?.kl?.mean).toBe(0);
});
