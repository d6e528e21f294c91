import { expect, test } from "vitest";
import { tinyModel } from "../../test/fixtures/tiny-model.ts";
import { palettize } from "../compress/quantize/palettize.ts";
import { decodedWeights } from "../decoder/decoded-weights.ts";
import { DecoderRunner } from "../decoder/runner.ts";
import { decoderWeights, weightList } from "../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import { decodeWeight } from "../weights/decode.ts";
import { BesideBase } from "./beside-base.ts";
import { sequenceLosses } from "./perplexity.ts";

test.each(["llama", "gemma3"] as const)(
  "%s: what is kept of a base gives what running it again gives",
  async (family) => {
    const engine = await createOnnxRuntimeEngine({ threads: 1 });
    const weights = tinyModel(family, 5);
    const rng = createRng(1, "texts");
    const sequences = [9, 17, 40].map((length, i) => ({
      id: `${i}`,
      ids: Int32Array.from({ length }, () => rng.integer(48)),
      scoredFrom: i === 1 ? 4 : 1,
      sizeBytes: length,
    }));
    const compressed = new Map(
      weightList(weights.arch).flatMap(({ name, shape }) =>
        shape.length > 1
          ? [
              [
                name,
                palettize(float32Data(weights.tensors.get(name) as Tensor), shape, { bits: 2, rowsPerTable: null }),
              ],
            ]
          : [],
      ),
    );
    const changed = new DecoderRunner(engine, decodedWeights(weights, compressed));
    // Decoded all at once, as a checkpoint is opened.
    const whole = new Map([
      ...weights.tensors,
      ...[...compressed].map(([n, w]) => [n, f32(w.shape, decodeWeight(w))] as const),
    ]);
    const base = new DecoderRunner(engine, weights);
    const expected = await sequenceLosses(new DecoderRunner(engine, decoderWeights(weights.arch, whole)), sequences, {
      base,
    });
    const kept = await BesideBase.compute(base, sequences);
    const found = await kept.compare(changed);
    for (const [i, loss] of found.entries()) {
      const other = expected[i];
      expect(loss).toMatchObject({ id: other?.id, tokens: other?.tokens, agreed: other?.agreed });
      expect(loss.nll).toBeCloseTo(other?.nll ?? Number.NaN, 4);
      expect(loss.kl).toBeCloseTo(other?.kl ?? Number.NaN, 4);
      expect(loss.kl).toBeGreaterThan(1e-3);
    }
    const alone = await sequenceLosses(base, sequences);
    for (const [i, loss] of kept.losses.entries()) expect(loss.nll).toBeCloseTo(alone[i]?.nll ?? Number.NaN, 4);
    for (const compared of [found, expected])
      for (const [i, loss] of compared.entries()) expect(loss.baseNll).toBeCloseTo(alone[i]?.nll ?? Number.NaN, 4);
    expect(kept.losses.map((l) => l.correct)).toEqual(alone.map((l) => l.correct));
  },
);

test("weights decoded on demand are those decoded at once, whichever way they are read", () => {
  const weights = tinyModel("llama", 2);
  const { name, shape } = weightList(weights.arch).find((w) => w.name === "L1_down") ?? { name: "", shape: [] };
  const stored = palettize(float32Data(weights.tensors.get(name) as Tensor), shape, { bits: 3, rowsPerTable: 8 });
  const { tensors } = decodedWeights(weights, new Map([[name, stored]]));
  const expected = decodeWeight(stored);
  expect(tensors.get(name)?.data).toEqual(expected);
  expect(Object.fromEntries(tensors)[name]?.data).toEqual(expected);
  expect([...tensors.values()].map((t) => t.data.length)).toEqual(
    [...weights.tensors.values()].map((t) => t.data.length),
  );
  const seen = new Map<string, Tensor>();
  tensors.forEach((t, key) => {
    seen.set(key, t);
  });
  expect(seen.get(name)?.data).toEqual(expected);
  expect(tensors.get("L0_down")).toBe(weights.tensors.get("L0_down"));
});
