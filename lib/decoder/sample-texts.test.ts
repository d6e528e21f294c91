import { expect, test } from "vitest";
import { tinyModel } from "../../test/fixtures/tiny-model.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { float32Data } from "../mil/tensor.ts";
import { createRng, type Rng } from "../random.ts";
import { DecoderRunner } from "./runner.ts";
import { sampleTexts } from "./sample-texts.ts";

/** Always in the middle: draws the median of every distribution, which can be found from a forward pass of the text alone. */
const middle = (): Rng => ({ ...createRng(0), uniform: () => 0.5 });

test.each(["llama", "gemma3", "gemma4"] as const)(
  "%s: texts side by side are each what the model says of it alone",
  async (family) => {
    const engine = await createOnnxRuntimeEngine({ threads: 1 });
    const weights = tinyModel(family, 4);
    const length = 12;
    const texts = await sampleTexts(engine, weights, { count: 3, length, bosId: null, eosIds: [], rng: middle() });
    expect(new Set(texts.map((t) => t[0])).size).toBeGreaterThan(1);
    const runner = new DecoderRunner(engine, weights);
    for (const text of texts) {
      const x = await runner.blocks(await runner.embed(text, { batch: 1, length }));
      const logits = float32Data(await runner.logits(x));
      for (let t = 0; t + 1 < length; t++) {
        const p = Array.from(logits.subarray(t * 48, (t + 1) * 48), Math.exp);
        const total = p.reduce((n, v) => n + v, 0);
        const before = p.slice(0, text[t + 1]).reduce((n, v) => n + v, 0) / total;
        expect(before).toBeLessThan(0.5 + 1e-4);
        expect(before + (p[text[t + 1] as number] as number) / total).toBeGreaterThan(0.5 - 1e-4);
      }
    }
  },
);

test("the same seed writes the same texts; after an end token a text begins anew", async () => {
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const weights = tinyModel("llama", 4);
  const make = (seed: number) =>
    sampleTexts(engine, weights, { count: 8, length: 40, bosId: 1, eosIds: [2, 5], rng: createRng(seed) });
  const texts = await make(3);
  expect(await make(3)).toEqual(texts);
  expect(await make(4)).not.toEqual(texts);
  let ends = 0;
  for (const text of texts) {
    expect(text[0]).toBe(1);
    for (let t = 0; t + 1 < text.length; t++) {
      if (text[t] !== 2 && text[t] !== 5) continue;
      ends++;
      expect(text[t + 1]).toBe(1);
    }
  }
  expect(ends).toBeGreaterThan(0);
});
