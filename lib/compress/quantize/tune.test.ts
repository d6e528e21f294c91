import { expect, test } from "vitest";
import { tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { decodedWeights } from "../../decoder/decoded-weights.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { weight, weightList } from "../../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { BesideBase } from "../../eval/beside-base.ts";
import type { TokenSequence } from "../../eval/sequences.ts";
import { summarizeLosses } from "../../eval/summary.ts";
import { float16Table, toFloat16Bits } from "../../float16.ts";
import { float32Data } from "../../mil/tensor.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { tune } from "./tune.ts";
import { storeAs, type Width } from "./width.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const layout = { rowsPerTable: 4, groupSize: 8, asymmetric: false, keepExtremes: false };

const sequencesOf = (count: number, vocab: number, seed: number): TokenSequence[] =>
  Array.from(
    { length: count },
    (_, i) => ({ ids: tinyIds(33, vocab, 100 * seed + i), scoredFrom: 1 }) as TokenSequence,
  );

test.each([
  ["llama", "palette2"],
  ["gemma3", "affine4"],
  ["gemma4", "palette3"],
] as const)(
  "%s at %s: tuned on some text, it says more of what the original says on other text",
  async (family, width) => {
    const weights = tinyModel(family, 4);
    const { vocab } = weights.arch;
    const stored = new Map<string, CompressedWeight>();
    for (const { name, shape } of weightList(weights.arch))
      if (shape.length === 2 && !weights.tables.has(name))
        stored.set(name, storeAs(width as Width, float32Data(weight(weights, name)), shape, layout));
    const original = new DecoderRunner(engine, weights);
    const base = await BesideBase.compute(original, sequencesOf(6, vocab, 2));
    const klOf = async (from: ReadonlyMap<string, CompressedWeight>): Promise<number> => {
      const { kl } = summarizeLosses(await base.compare(new DecoderRunner(engine, decodedWeights(weights, from))));
      return kl?.mean ?? Number.NaN;
    };
    const said: number[] = [];
    const tuned = await tune(engine, weights, stored, original, sequencesOf(24, vocab, 1), {
      passes: 6,
      peakRate: 0.02,
      onProgress: (_done, _all, divergence) => said.push(divergence),
    });
    expect(await klOf(tuned)).toBeLessThan(0.9 * (await klOf(stored)));
    expect(said.length).toBe(6 * Math.ceil((24 * 32) / 512));

    const half = float16Table();
    for (const [name, w] of tuned) {
      const before = stored.get(name);
      if (w.kind === "palette" && before?.kind === "palette") {
        expect(w.indices).toEqual(before.indices);
        for (const v of w.tables) expect(half[toFloat16Bits(v)]).toBe(v);
      } else if (w.kind === "affine" && before?.kind === "affine") {
        expect(w.codes).toEqual(before.codes);
        for (const v of w.scales) expect(half[toFloat16Bits(v)]).toBe(v);
      } else expect(w).toMatchObject({ kind: "dense", dtype: "fp16" });
    }
  },
);

test("a cancelled tuning ends between two steps", async () => {
  const weights = tinyModel("llama", 4);
  const stop = new AbortController();
  const running = tune(
    engine,
    weights,
    new Map(),
    new DecoderRunner(engine, weights),
    sequencesOf(40, weights.arch.vocab, 1),
    {
      passes: 10,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    },
  );
  await expect(running).rejects.toMatchObject({ code: "run/cancelled" });
});
