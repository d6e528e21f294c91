/** A model in pages is the same model: losses, divergence, importance and logits, over a vocabulary of several parts. */
import { expect, test } from "vitest";
import { allValues } from "../../test/fixtures/all-values.ts";
import { tinyConfigs, tinyIds, withBiases } from "../../test/fixtures/tiny-model.ts";
import { leaveOneOut } from "../compress/importance/leave-one-out.ts";
import { gateGradients } from "../compress/importance/taylor.ts";
import { tensorSensitivity } from "../compress/importance/tensor-sensitivity.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { BesideBase } from "../eval/beside-base.ts";
import { sequenceLosses } from "../eval/perplexity.ts";
import { PrefixStreams } from "../eval/prefix-streams.ts";
import type { TokenSequence } from "../eval/sequences.ts";
import { float32Data } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { architectureOf } from "./families/registry.ts";
import { vocabularyParts } from "./head-in-parts.ts";
import { initializeWeights } from "./initialize.ts";
import { hostEmbedding } from "./neural-engine/embedding.ts";
import { layerBytes, pagedWeights } from "./paged-weights.ts";
import { DecoderRunner } from "./runner.ts";
import { type DecoderWeights, type RowTable, weightList } from "./weights.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const VOCAB = 20_000;

/** Untied and tied heads, biases, windows, capped logits, per-layer embeddings and shared keys and values. */
const families = ["llama", "biased", "gemma2", "gemma4"] as const;

function largeVocabulary(family: (typeof families)[number], seed: number): DecoderWeights {
  const config = { ...tinyConfigs[family], vocab_size: VOCAB, vocab_size_per_layer_input: VOCAB };
  return withBiases(initializeWeights(architectureOf(config), createRng(seed, "large vocabulary")), seed);
}

async function inPages(model: DecoderWeights, heldBytes = 0, onRead: (name: string) => void = () => {}) {
  const weights = new Map<string, CompressedWeight>();
  for (const { name, shape } of weightList(model.arch))
    weights.set(name, { kind: "dense", dtype: "fp32", shape, values: await allValues(model, name) });
  const watched = new Map(weights);
  watched.get = (name) => {
    onRead(name);
    return weights.get(name);
  };
  const table = (name: string): RowTable => hostEmbedding(weights.get(name) as CompressedWeight);
  return pagedWeights({ arch: model.arch, weights: watched, table }, heldBytes);
}

const texts: TokenSequence[] = [12, 9, 12].map((length, i) => ({
  id: `s${i}`,
  ids: tinyIds(length, VOCAB, i + 1),
  scoredFrom: 1,
  sizeBytes: length,
}));

const close = (value: number): unknown => expect.closeTo(value, 4);

test("a vocabulary falls into parts that cover it once", () => {
  const parts = vocabularyParts(VOCAB);
  expect(parts.length).toBe(3);
  expect(parts.flatMap(({ from, to }) => [from, to])).toEqual([0, 8192, 8192, 16384, 16384, VOCAB]);
});

test.each(families)("%s in pages: losses and right tokens are those of the model in memory", async (family) => {
  const model = largeVocabulary(family, 1);
  const whole = await sequenceLosses(new DecoderRunner(engine, model), texts);
  const paged = await sequenceLosses(new DecoderRunner(engine, await inPages(model)), texts);
  expect(paged).toEqual(whole.map((loss) => ({ ...loss, nll: close(loss.nll) })));
});

test.each(families)("%s: divergence is the same whichever of the two models is in pages", async (family) => {
  const [base, model] = [largeVocabulary(family, 1), largeVocabulary(family, 2)];
  const runners = async (weights: DecoderWeights) => ({
    whole: new DecoderRunner(engine, weights),
    paged: new DecoderRunner(engine, await inPages(weights)),
  });
  const [ofBase, ofModel] = [await runners(base), await runners(model)];
  const expected = await (await BesideBase.streams(ofBase.whole, texts)).compare(ofModel.whole);
  for (const loss of expected) expect(loss.kl).toBeGreaterThan(0.01);
  const same = expected.map((l) => ({ ...l, nll: close(l.nll), baseNll: close(l.baseNll ?? 0), kl: close(l.kl ?? 0) }));
  expect(await (await BesideBase.streams(ofBase.paged, texts)).compare(ofModel.paged)).toEqual(same);
  expect(await (await BesideBase.streams(ofBase.whole, texts)).compare(ofModel.paged)).toEqual(same);
  expect(await (await BesideBase.streams(ofBase.paged, texts)).compare(ofModel.whole)).toEqual(same);
});

test.each(families)("%s in pages: leave-one-out, gradients and a changed matrix", async (family) => {
  const model = largeVocabulary(family, 3);
  const paged = await inPages(model);
  const [a, b] = [new DecoderRunner(engine, model), new DecoderRunner(engine, paged)];
  const units = [
    { kind: "heads", layer: 0, index: 1 },
    { kind: "heads", layer: 1, index: 3 },
    { kind: "neurons", layer: 1, index: 5 },
  ] as const;
  const values = (found: readonly { readonly perSequence: Float64Array }[]) => found.map((u) => [...u.perSequence]);
  const closely = (found: number[][]) => found.map((row) => row.map(close));
  const one = values((await leaveOneOut(a, texts, units)).units);
  expect(values((await leaveOneOut(b, texts, units)).units)).toEqual(closely(one));
  const slopes = values(await gateGradients(engine, model, texts, units, {}));
  expect(values(await gateGradients(engine, paged, texts, units, {}))).toEqual(closely(slopes));
  for (const name of ["L1_up", "embedding"]) {
    const entry = weightList(model.arch).find((w) => w.name === name);
    if (!entry) throw new Error(`no weight ${name}`);
    const changed = (await allValues(model, name)).map((v, i) => (i % 2 === 0 ? v : v / 4));
    const found = async (runner: DecoderRunner) =>
      tensorSensitivity(await PrefixStreams.compute(runner, texts), entry, changed);
    const expected = await found(a);
    expect(Math.abs(expected[0]?.loss ?? 0)).toBeGreaterThan(1e-3);
    const same = expected.map(({ loss, kl, agreement }) => ({ loss: close(loss), kl: close(kl), agreement }));
    expect(await found(b)).toEqual(same);
  }
});

test("logits in pages, whole and of a part", async () => {
  const model = largeVocabulary("gemma2", 4);
  const ids = tinyIds(8, VOCAB);
  const streamOf = async (runner: DecoderRunner) => runner.blocks(await runner.embed(ids, { batch: 1, length: 8 }));
  const [a, b] = [new DecoderRunner(engine, model), new DecoderRunner(engine, await inPages(model))];
  const [x, y] = [await streamOf(a), await streamOf(b)];
  const whole = float32Data(await a.logits(x));
  const paged = float32Data(await b.logits(y));
  expect(paged.length).toBe(8 * VOCAB);
  for (let i = 0; i < whole.length; i++) expect(Math.abs((whole[i] ?? 0) - (paged[i] ?? 1))).toBeLessThan(1e-4);
  const part = { from: 8192, to: 16384 };
  for (const found of [await a.logits(x, 2, 1, part), await b.logits(y, 2, 1, part)]) {
    const expected = whole.subarray(2 * VOCAB + part.from, 2 * VOCAB + part.to);
    expect(found.shape).toEqual([1, 8192]);
    for (const [i, z] of float32Data(found).entries()) expect(Math.abs(z - (expected[i] ?? 0))).toBeLessThan(1e-4);
  }
});

test("layers that fit stay in memory; of the others one at a time", async () => {
  const model = largeVocabulary("gemma4", 5);
  const layers = model.arch.layers.length;
  const most = Math.max(...layerBytes(model.arch));
  const pass = async (runner: DecoderRunner) =>
    runner.blocks(await runner.embed(tinyIds(4, VOCAB), { batch: 1, length: 4 }));
  const readsOf = async (heldBytes: number): Promise<number[]> => {
    let read = new Set<string>();
    const runner = new DecoderRunner(
      engine,
      await inPages(model, heldBytes, (name) => read.add(name.split("_")[0] ?? "")),
    );
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      read = new Set();
      await pass(runner);
      counts.push([...read].filter((name) => /^L\d+$/.test(name)).length);
    }
    return counts;
  };
  expect(await readsOf(0)).toEqual([layers, layers, layers]);
  expect(await readsOf(layers * most)).toEqual([layers, 0, 0]);
  const [first, second, third] = await readsOf(3 * most);
  expect(first).toBe(layers);
  expect(second).toBe(third);
  expect(second).toBeLessThanOrEqual(layers - 2);
  expect(second).toBeGreaterThan(0);
});
