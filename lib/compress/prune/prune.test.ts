import fc from "fast-check";
import { expect, test } from "vitest";
import { tinyConfigs, tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { architectureOf, configFor } from "../../decoder/families/registry.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { f32, float32Data } from "../../mil/tensor.ts";
import { createRng } from "../../random.ts";
import { keptAfter, keptForConfig, keptOf } from "./kept.ts";
import { neuronCount, selectLayers, selectNeurons } from "./neurons.ts";
import { emptySelection, selectHeads, selectionByName } from "./prune-selection.ts";
import { pruneModel } from "./slice.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const families = ["llama", "biased", "qwen3", "gemma3"] as const;
const arch = tinyModel("gemma3").arch;
const random = (seed: number): number[][] => {
  const rng = createRng(seed);
  return arch.layers.map((l) => Array.from({ length: l.neurons }, () => rng.uniform()));
};

test.each(families)("%s: heads, neurons and layers cut out together equal closed gates", async (family) => {
  const weights = tinyModel(family);
  const ids = tinyIds(24, 48);
  const shape = { batch: 2, length: 12 };
  const selection = selectionByName(weights.arch, ["L0.H1", "L0.N3", "L0.N16-31", "L1"]);
  const sliced = new DecoderRunner(engine, pruneModel(weights, selection));
  const a = float32Data(await sliced.logits(await sliced.blocks(await sliced.embed(ids, shape))));
  const full = new DecoderRunner(engine, weights);
  const gate = (width: number, gone: readonly number[]) =>
    f32(
      [2, width],
      Float32Array.from({ length: 2 * width }, (_, i) => (gone.includes(i % width) ? 0 : 1)),
    );
  let x = await full.embed(ids, shape);
  for (let l = 0; l < weights.arch.layers.length; l++) {
    const closed = { attention: f32([2], [0, 0]), mlp: f32([2], [0, 0]) };
    const heads = gate(4, selection.heads[l] ?? []);
    const neurons = gate(40, selection.neurons[l] ?? []);
    x = await full.block(l, x, l === 1 ? closed : { heads, neurons });
  }
  const b = float32Data(await full.logits(x));
  expect(a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - (b[i] as number))), 0)).toBeLessThan(1e-5);
  expect(sliced.weights.arch.layers[0]?.neurons).toBe(40 - 17);
});

test("free selection drops the least chunks anywhere, keeps multiples and a quarter", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 999 }),
      fc.constantFrom(1, 4, 8),
      fc.double({ min: 0.05, max: 0.6, noNaN: true }),
      (seed, multiple, share) => {
        const scores = random(seed);
        const drop = selectNeurons(arch, scores, share, { mode: "free", multiple, standardize: false });
        const gone = drop.reduce((n, d) => n + d.length, 0);
        expect(gone).toBeGreaterThanOrEqual(share * neuronCount(arch) - 1e-9);
        expect(gone).toBeLessThan(share * neuronCount(arch) + multiple);
        for (const [l, own] of drop.entries()) {
          const left = 40 - own.length;
          expect(left % multiple).toBe(0);
          expect(left).toBeGreaterThanOrEqual(10);
          const kept = (scores[l] as number[]).filter((_, n) => !own.includes(n));
          const lost = (scores[l] as number[]).filter((_, n) => own.includes(n));
          if (lost.length > 0) expect(Math.max(...lost)).toBeLessThanOrEqual(Math.min(...kept));
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("balanced drops the nearest whole number of every group, and never a whole group", () => {
  const nine = architectureOf({
    ...tinyConfigs.llama,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    hidden_size: 36,
  });
  const scores = nine.layers.map((l) => Array.from({ length: l.queryHeads }, (_, h) => (h * 7) % 9));
  const dropped = (share: number) => selectHeads(nine, scores, share, "balanced").map((d) => d.length);
  expect(dropped(0.34)).toEqual([3, 3]);
  expect(dropped(0.5)).toEqual([6, 6]);
  expect(() => dropped(0.9)).toThrow(/leaves none/);
  const uneven = { ...nine, layers: nine.layers.map((l) => ({ ...l, headToGroup: [0, 0, 0, 0, 1, 1, 1, 2, 2] })) };
  expect(selectHeads(uneven, scores, 0.3, "balanced").map((d) => d.length)).toEqual([3, 3]);
  expect(() => selectHeads(uneven, scores, 0.8, "balanced")).toThrow(/has 2 heads a group/);
});

test("standardised scores make layers comparable; even selection takes as many of each", () => {
  const scores = random(5).map((row, l) => row.map((v) => v * 10 ** l));
  const raw = selectNeurons(arch, scores, 0.3, { mode: "free", multiple: 1, standardize: false });
  const fair = selectNeurons(arch, scores, 0.3, { mode: "free", multiple: 1, standardize: true });
  expect(raw[0]?.length).toBeGreaterThan(raw[2]?.length ?? 0);
  for (const own of fair) expect(Math.abs(own.length - 12)).toBeLessThanOrEqual(4);
  const even = selectNeurons(arch, scores, 0.3, { mode: "even", multiple: 8, standardize: false });
  expect(even.map((d) => 40 - d.length)).toEqual([24, 24, 24]);
});

test("what cannot be is refused", () => {
  const options = { mode: "free", multiple: 16, standardize: false } as const;
  expect(() => selectNeurons(arch, random(1), 0.9, options)).toThrow(/cannot go/);
  expect(() => selectNeurons(arch, random(1), 0.7, { ...options, mode: "even" })).toThrow(/cannot go/);
  expect(() => selectNeurons(arch, random(1), 1.2, options)).toThrow(/between 0 and 1/);
  expect(() => selectNeurons(arch, [[Number.NaN]], 0.2, options)).toThrow(/L0\.N0/);
  expect(() => selectLayers([1, 2], 2)).toThrow(/one must stay/);
  expect(selectLayers([3, 1, 2, 1], 2)).toEqual([1, 3]);
  expect(() => selectionByName(arch, ["L0.N40"])).toThrow(/N0 to N39|no such neuron/);
  expect(() => selectionByName(arch, ["L0.N0-39"])).toThrow(/without neurons/);
  expect(() => selectionByName(arch, ["L0", "L1", "L2"])).toThrow(/no layer/);
  expect(() => selectionByName(arch, ["L0.mlp"])).toThrow(/cannot be cut out/);
  expect(selectionByName(arch, ["L0", "L0.N0-39"]).layers).toEqual([0]);
});

test.each(families)("%s: a model of fewer layers and ragged neurons survives its config", (family) => {
  const weights = tinyModel(family);
  const last = weights.arch.layers.length - 1;
  for (const names of [["L0"], ["L0.N0-7"], [`L${last}`, "L0.H0"]]) {
    const pruned = pruneModel(weights, selectionByName(weights.arch, names));
    expect(architectureOf(configFor(pruned.arch, tinyConfigs[family]))).toEqual(pruned.arch);
  }
  // Without a list of layer types the pattern would now say something else.
  const { layer_types: _types, ...implicit } = tinyConfigs.gemma3;
  const six = { ...implicit, num_hidden_layers: 6 };
  const all = architectureOf(six);
  const five = { ...all, layers: all.layers.slice(1) };
  expect(architectureOf(configFor(five, six))).toEqual(five);
});

test("a layer that others need, or that has something of its own, is not taken out", () => {
  const shared = tinyModel("gemma4");
  expect(() => selectionByName(shared.arch, ["L0"])).toThrow(/cannot be taken out/);
  const plain = { ...arch, layers: arch.layers.map((l, i) => (i === 2 ? { ...l, kvSource: 0 } : l)) };
  expect(() => selectionByName(plain, ["L0"])).toThrow(/reads its keys/);
  expect(selectionByName(plain, ["L0", "L2"]).layers).toEqual([0, 2]);
  expect(selectionByName(plain, ["L1"]).layers).toEqual([1]);
});

test("what is kept is told in the numbering of the first model, however often it is pruned", () => {
  const first = keptOf({}, arch);
  const drop = selectionByName(arch, ["L0.H1", "L0.N0-9", "L1"]);
  const once = keptAfter(first, drop);
  const twice = keptAfter(once, { ...emptySelection(arch), heads: [[1], []], neurons: [[0], []] });
  expect(keptForConfig(twice)).toEqual([
    { layer: 0, heads: "0,3", neurons: "11-39" },
    { layer: 2, heads: "0-3", neurons: "0-39" },
  ]);
  const weights = pruneModel(tinyModel("gemma3"), drop);
  const config = configFor(weights.arch, {
    ...tinyConfigs.gemma3,
    espalier: { version: 1, kept: keptForConfig(once) },
  });
  expect(keptOf(config, weights.arch)).toEqual(once);
  expect(() => keptOf(config, arch)).toThrow(/does not fit/);
});
