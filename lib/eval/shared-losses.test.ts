import { expect, test } from "vitest";
import { tinyFamilies, tinyModel } from "../../test/fixtures/tiny-model.ts";
import { DecoderRunner } from "../decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { createRng } from "../random.ts";
import { sequenceLosses } from "./perplexity.ts";
import type { TokenSequence } from "./sequences.ts";
import { passesFor, sharedLosses } from "./shared-losses.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const sequence = (ids: readonly number[], scoredFrom = 1): TokenSequence => ({
  id: ids.join(" "),
  ids: Int32Array.from(ids),
  scoredFrom,
  sizeBytes: ids.length,
});

test("what begins another's input shares its pass, and so do choices of one token", () => {
  const { passes, passOf } = passesFor([
    sequence([1, 2, 3, 4]),
    sequence([1, 2, 3, 9]),
    sequence([1, 2, 3, 5, 6]),
    sequence([1, 2, 7]),
    sequence([5, 2, 3, 4]),
    sequence([1, 2, 8, 8]),
  ]);
  const own = passes.map((p) => [0, 1, 2, 3, 4, 5][p]);
  expect(passes.length).toBe(3);
  expect(new Set(own)).toEqual(new Set([2, 4, 5]));
  expect([passOf[0], passOf[1]]).toEqual([passOf[2], passOf[2]]);
  expect(passes[passOf[3] ?? -1] === 2 || passes[passOf[3] ?? -1] === 5).toBe(true);
  expect(passesFor([]).passes).toEqual([]);
});

test.each(tinyFamilies)("%s: the losses are those of one pass for each sequence", async (family) => {
  const weights = tinyModel(family);
  const runner = new DecoderRunner(engine, weights);
  const rng = createRng(3, "shared losses");
  const sequences = Array.from({ length: 6 }, () => {
    const prompt = Array.from({ length: 5 + rng.integer(50) }, () => rng.integer(weights.arch.vocab));
    return Array.from({ length: 4 }, (_, c) => {
      const choice = Array.from({ length: 1 + (c % 3) }, () => rng.integer(weights.arch.vocab));
      return sequence([...prompt, ...choice], prompt.length);
    });
  }).flat();
  const together = await sharedLosses(runner, sequences);
  const apart = await sequenceLosses(runner, sequences);
  for (const [i, loss] of together.entries()) {
    expect(loss.tokens).toBe(apart[i]?.tokens);
    expect(Math.abs(loss.nll - (apart[i]?.nll ?? 0))).toBeLessThan(1e-4);
  }
  await runner.dispose();
});
