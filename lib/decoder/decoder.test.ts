import { expect, test } from "vitest";
import { tinyFamilies as families, tinyConfigs, tinyIds, tinyModel } from "../../test/fixtures/tiny-model.ts";
import { leaveOneOut } from "../compress/importance/leave-one-out.ts";
import { gateGradients } from "../compress/importance/taylor.ts";
import { selectionByName } from "../compress/prune/prune-selection.ts";
import { pruneHeads } from "../compress/prune/slice.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../eval/perplexity.ts";
import type { TokenSequence } from "../eval/sequences.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { architectureOf, configFor } from "./families/registry.ts";
import { generate } from "./generate.ts";
import { DecoderRunner } from "./runner.ts";
import { stepModel } from "./step-model.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

const largestDifference = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - (b[i] as number))), 0);
};

const sequence = (length: number, seed: number): TokenSequence => ({
  id: `s${seed}`,
  ids: tinyIds(length, 48, seed),
  scoredFrom: 1,
  sizeBytes: length,
});

test.each(families)("%s: decoding with a cache gives the logits of the whole sequence", async (family) => {
  const weights = tinyModel(family);
  const ids = tinyIds(20, 48);
  const runner = new DecoderRunner(engine, weights);
  const whole = float32Data(
    await runner.logits(await runner.blocks(await runner.embed(ids, { batch: 1, length: 20 }))),
  );
  const model = await stepModel(engine, weights, { context: 32, prefillLength: 8 });
  const session = model.open();
  const found = new Float32Array(whole.length);
  expect(session.chunk(0, 20)).toBe(8);
  found.set(await session.feed([...ids.slice(0, 8)], 0));
  for (let i = 8; i < 20; i++) found.set(await session.feed([ids[i] as number], i), i * 48);
  expect(largestDifference(whole, found)).toBeLessThan(2e-5);
});

const losingHeads = families.filter((f) => f !== "olmo2");

test("heads under a norm over all of them are not cut, but closed", async () => {
  const weights = tinyModel("olmo2");
  expect(() => pruneHeads(weights, [[1], []])).toThrow("heads of layer 0 cannot be cut: one norm spans");
  expect(() => selectionByName(weights.arch, ["L1.G0"])).toThrow("heads of layer 1 cannot be cut: one norm spans");
  const runner = new DecoderRunner(engine, weights);
  const sequences = [sequence(14, 1)];
  const found = await leaveOneOut(runner, sequences, [{ layer: 1, kind: "heads", index: 2 }]);
  // The same head with its columns of the output projection at 0.
  const output = float32Data(weights.tensors.get("L1_output") as Tensor).map((v, i) =>
    Math.floor((i % 32) / 8) === 2 ? 0 : v,
  );
  const without = { ...weights, tensors: new Map([...weights.tensors, ["L1_output", f32([32, 32], output)]]) };
  const [base] = await sequenceLosses(runner, sequences);
  const [closed] = await sequenceLosses(new DecoderRunner(engine, without), sequences);
  expect(found.units[0]?.perSequence[0]).toBeCloseTo(((closed?.nll ?? 0) - (base?.nll ?? 0)) / 13, 5);
});

test.each(losingHeads)("%s: slicing heads away equals closing their gates", async (family) => {
  const weights = tinyModel(family);
  const ids = tinyIds(24, 48);
  const shape = { batch: 2, length: 12 };
  // Ragged on purpose: one head of the first group, a whole group of the next layer.
  const drop = weights.arch.layers.map((_, l) => (l === 0 ? [1] : l === 1 ? [2, 3] : []));
  const sliced = new DecoderRunner(engine, pruneHeads(weights, drop));
  const a = float32Data(await sliced.logits(await sliced.blocks(await sliced.embed(ids, shape))));
  const full = new DecoderRunner(engine, weights);
  let x = await full.embed(ids, shape);
  for (const [l, dropped] of drop.entries()) {
    const gate = Float32Array.from({ length: 8 }, (_, i) => (dropped.includes(i % 4) ? 0 : 1));
    x = await full.block(l, x, { heads: f32([2, 4], gate) });
  }
  expect(largestDifference(a, float32Data(await full.logits(x)))).toBeLessThan(1e-5);
  // A group stays while a later layer reads it.
  expect(sliced.weights.arch.layers[1]?.kvGroups).toBe(family === "gemma4" ? 2 : 1);
});

test.each(families)("%s: open gates change nothing", async (family) => {
  const runner = new DecoderRunner(engine, tinyModel(family));
  const x = await runner.embed(tinyIds(12, 48), { batch: 1, length: 12 });
  const open = {
    heads: f32([1, 4], new Float32Array(4).fill(1)),
    groups: f32([1, 2], new Float32Array(2).fill(1)),
    attention: f32([1], [1]),
    mlp: f32([1], [1]),
  };
  expect(
    largestDifference(float32Data((await runner.block(0, x)).x), float32Data((await runner.block(0, x, open)).x)),
  ).toBeLessThan(1e-6);
});

test("leave-one-out equals a plain loop over pruned models", async () => {
  const weights = tinyModel("gemma3", 3);
  const sequences = [sequence(14, 1), sequence(9, 2), sequence(20, 3)];
  const runner = new DecoderRunner(engine, weights);
  const units = [0, 1, 2].flatMap((layer) => [0, 3].map((index) => ({ layer, kind: "heads" as const, index })));
  const found = await leaveOneOut(runner, sequences, units);
  const mean = (losses: Awaited<ReturnType<typeof sequenceLosses>>): number[] => losses.map((l) => l.nll / l.tokens);
  const base = mean(await sequenceLosses(runner, sequences));
  expect([...found.base].every((v, i) => Math.abs(v - (base[i] as number)) < 1e-5)).toBe(true);
  for (const { unit, perSequence } of found.units) {
    const drop = weights.arch.layers.map((_, l) => (l === unit.layer ? [unit.index] : []));
    const without = mean(await sequenceLosses(new DecoderRunner(engine, pruneHeads(weights, drop)), sequences));
    for (const [s, v] of perSequence.entries()) expect(v).toBeCloseTo((without[s] as number) - (base[s] as number), 4);
  }
});

test.each(["gemma3", "gemma4"] as const)(
  "%s: leave-one-out of heads and groups equals a forward pass with gates",
  async (family) => {
    const weights = tinyModel(family, 5);
    const runner = new DecoderRunner(engine, weights);
    const sequences = [sequence(14, 1), sequence(20, 3)];
    const units = weights.arch.layers.flatMap((_, layer) => [
      { layer, kind: "heads" as const, index: 2 },
      { layer, kind: "groups" as const, index: 1 },
      { layer, kind: "groups" as const, index: 0 },
    ]);
    const found = await leaveOneOut(runner, sequences, units);
    for (const { unit, perSequence } of found.units) {
      for (const [s, seq] of sequences.entries()) {
        const length = seq.ids.length - 1;
        let x = await runner.embed(seq.ids.slice(0, length), { batch: 1, length });
        const width = unit.kind === "heads" ? 4 : (weights.arch.layers[unit.layer]?.kvGroups ?? 0);
        const gate = f32(
          [1, width],
          Float32Array.from({ length: width }, (_, i) => (i === unit.index ? 0 : 1)),
        );
        for (let l = 0; l < weights.arch.layers.length; l++)
          x = await runner.block(l, x, l === unit.layer ? { [unit.kind]: gate } : {});
        const gone = (await runner.nll(x, seq.ids.slice(1))).reduce((t, v) => t + v, 0) / length;
        expect(perSequence[s]).toBeCloseTo(gone - (found.base[s] as number), 4);
      }
    }
  },
);

test("leave-one-out of a layer skips attention and MLP alike", async () => {
  const weights = tinyModel("llama", 4);
  const runner = new DecoderRunner(engine, weights);
  const sequences = [sequence(16, 7)];
  const { base, units } = await leaveOneOut(runner, sequences, [{ layer: 1, kind: "layers", index: 0 }]);
  const shape = { batch: 1, length: 15 };
  const x = await runner.block(0, await runner.embed((sequences[0] as TokenSequence).ids.slice(0, 15), shape));
  const { nll } = await runner.loss(x, (sequences[0] as TokenSequence).ids.slice(1));
  const skipped = nll.reduce((t, v) => t + v, 0) / 15;
  expect(units[0]?.perSequence[0]).toBeCloseTo(skipped - (base[0] as number), 4);
});

// Gemma 2's go through a cap on scores.
test.each(["gemma2", "gemma3"] as const)(
  "%s: gate gradients agree with finite differences of the loss",
  async (family) => {
    const weights = tinyModel(family, 6);
    const sequences = [sequence(17, 1), sequence(17, 2)];
    const units = [
      { layer: 0, kind: "heads" as const, index: 2 },
      { layer: 2, kind: "groups" as const, index: 1 },
      { layer: 1, kind: "mlp" as const, index: 0 },
    ];
    const found = await gateGradients(engine, weights, sequences, units);
    const runner = new DecoderRunner(engine, weights);
    for (const { unit, perSequence } of found) {
      for (const [s, seq] of sequences.entries()) {
        const at = async (gate: number): Promise<number> => {
          const width = unit.kind === "heads" ? 4 : unit.kind === "groups" ? 2 : 1;
          const values = Float32Array.from({ length: width }, (_, i) => (i === unit.index ? gate : 1));
          let x = await runner.embed(seq.ids.slice(0, 16), { batch: 1, length: 16 });
          for (let l = 0; l < 3; l++) {
            x = await runner.block(
              l,
              x,
              l === unit.layer ? { [unit.kind]: f32(unit.kind === "mlp" ? [1] : [1, width], values) } : {},
            );
          }
          return (await runner.loss(x, seq.ids.slice(1))).nll.reduce((t, v) => t + v, 0) / 16;
        };
        const h = 2e-2;
        const numeric = ((await at(1 + h)) - (await at(1 - h))) / (2 * h);
        expect(Math.abs((perSequence[s] as number) - numeric)).toBeLessThan(2e-4 + 0.02 * Math.abs(numeric));
      }
    }
  },
);

test("greedy text stops at the end token and at the context", async () => {
  const weights = tinyModel("llama", 8);
  const model = await stepModel(engine, weights, { context: 12 });
  const all = await generate(model, [1, 5], { maxTokens: 100 });
  expect(all).toHaveLength(10);
  const stop = all[3] as number;
  const cut = await generate(model, [1, 5], { maxTokens: 100, eosIds: [stop] });
  expect(cut).toEqual(all.slice(0, all.indexOf(stop)));
  await expect(generate(model, [99], { maxTokens: 2 })).rejects.toMatchObject({ code: "input/token-range" });
  await expect(generate(model, [], { maxTokens: 2 })).rejects.toMatchObject({ code: "input/empty" });
});

test.each(losingHeads)("%s: a ragged architecture survives its config", (family) => {
  const pruned = pruneHeads(
    tinyModel(family),
    tinyModel(family).arch.layers.map((_, l) => (l === 0 ? [0] : [])),
  );
  const config = configFor(pruned.arch, tinyConfigs[family]);
  expect(architectureOf(config)).toEqual(pruned.arch);
});

test("balanced pruning leaves a config that any loader reads", () => {
  const weights = tinyModel("llama");
  const pruned = pruneHeads(
    weights,
    weights.arch.layers.map(() => [0, 2]),
  );
  const config = configFor(pruned.arch, tinyConfigs.llama);
  expect(config).toMatchObject({ num_attention_heads: 2, num_key_value_heads: 2, head_dim: 8 });
  expect(config).not.toHaveProperty("espalier");
});
