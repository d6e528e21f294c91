/**
 * Real checkpoints give the values published for them, or those of an independent forward pass. Not part of `npm test`: the
 * checkpoints are not ours to ship. `ESPALIER_REFERENCE=<folder> npm run test:reference`, the folder holding `models/` and `text/`.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { evaluate } from "../../experiments/kinds/evaluate/evaluate.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";

const folder = process.env.ESPALIER_REFERENCE;
if (!folder) throw new Error("ESPALIER_REFERENCE names the folder of the reference checkpoints");

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);

const measure = (model: string, fuseUnknown: boolean) =>
  runExperiment(
    evaluate,
    evaluate.config.parse({
      model: join(folder, "models", model),
      text: join(folder, "text/tinystories-a.txt"),
      separator: "<|endoftext|>",
      limit: 60,
      context: 512,
      fuseUnknown,
    }),
    { engine, models, store: memoryStore(), clock: { nowMs: () => 0 } },
  );

test("stories260K: 1.3656 nats a token, 0.9513 bits a byte", async () => {
  const { text } = await measure("stories260K-hf", false);
  expect(text?.tokens).toBe(21_114);
  expect(text?.nllPerToken).toBeCloseTo(1.3656, 3);
  expect(text?.bitsPerByte).toBeCloseTo(0.9513, 3);
});

test("tinystories-656k: 3.0054 nats a token with one <unk> a byte, 2.9157 with Hugging Face's fused ones", async () => {
  const { text } = await measure("tinystories-656k", false);
  expect(text?.tokens).toBe(10_162);
  expect(text?.nllPerToken).toBeCloseTo(3.0054, 3);
  const fused = (await measure("tinystories-656k", true)).text;
  expect(fused?.tokens).toBe(10_112);
  expect(fused?.nllPerToken).toBeCloseTo(2.9157, 3);
});

test("stories260K says the text that llama2.c's test_all.py expects of it", async () => {
  const model = await models.open(join(folder, "models/stories260K-hf"));
  const step = await stepModel(engine, model.weights, { context: 256 });
  const text = model.tokenizer.decode(await generate(step, promptIds(model.tokenizer, ""), { maxTokens: 200 }));
  expect(text).toMatch(
    /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the park\./,
  );
  expect(text).toContain("Lily didn't want to help her mom, so she");
});
