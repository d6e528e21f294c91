import { expect, test } from "vitest";
import { tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { DecoderRunner, type Gates } from "../../decoder/runner.ts";
import { gateShape } from "../../decoder/sequence-programs.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../../eval/perplexity.ts";
import { PrefixStreams } from "../../eval/prefix-streams.ts";
import type { TokenSequence } from "../../eval/sequences.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { decodeWeight } from "../../weights/decode.ts";
import { pruneModel, pruneNeurons } from "../prune/slice.ts";
import { storeAs } from "../quantize/width.ts";
import { activationImportance, activationNorm } from "./activation.ts";
import { layerInputMoments, layerInputStatistics } from "./activation-inputs.ts";
import { asClusterWeights, diagonalFisher } from "./fisher-weights.ts";
import { closedGates, type GateUnit } from "./gates.ts";
import { leaveOneOut, sharedPrefix } from "./leave-one-out.ts";
import { gateGradients } from "./taylor.ts";
import { matrices, tensorSensitivity } from "./tensor-sensitivity.ts";
import { absoluteColumnSums, wandaScore } from "./wanda.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const families = ["llama", "gemma3", "gemma4"] as const;

const sequence = (length: number, seed: number): TokenSequence => ({
  id: `s${seed}`,
  ids: tinyIds(length, 48, seed),
  scoredFrom: 1,
  sizeBytes: length,
});
const sequences = [sequence(14, 1), sequence(9, 2), sequence(20, 3)];
const perToken = async (runner: DecoderRunner): Promise<number[]> =>
  (await sequenceLosses(runner, sequences)).map((l) => l.nll / l.tokens);

test.each(families)("%s: leave-one-out of a block of neurons equals the sliced model", async (family) => {
  const weights = tinyModel(family, 3);
  const runner = new DecoderRunner(engine, weights);
  const units = [
    { layer: 0, kind: "neurons" as const, index: 8, count: 8 },
    { layer: 1, kind: "neurons" as const, index: 39 },
    { layer: 1, kind: "mlp" as const, index: 0 },
  ];
  const found = await leaveOneOut(runner, sequences, units, { tokensPerBatch: 256 });
  const base = await perToken(runner);
  for (const [u, unit] of units.slice(0, 2).entries()) {
    const gone = Array.from({ length: unit.count ?? 1 }, (_, i) => unit.index + i);
    const sliced = pruneNeurons(
      weights,
      weights.arch.layers.map((_, l) => (l === unit.layer ? gone : [])),
    );
    const without = await perToken(new DecoderRunner(engine, sliced));
    for (const [s, v] of (found.units[u]?.perSequence ?? []).entries())
      expect(v).toBeCloseTo((without[s] as number) - (base[s] as number), 5);
  }
  const mlp = [...(found.units[2]?.perSequence ?? [])];
  expect(mlp.some((v) => Math.abs(v) > 1e-4)).toBe(true);
});

test.each(families)(
  "%s: leave-one-out equals one closed gate at a time, whatever runs side by side",
  async (family) => {
    const weights = tinyModel(family, 11);
    const { arch } = weights;
    const runner = new DecoderRunner(engine, weights);
    const units = [0, 2].flatMap((layer): GateUnit[] => [
      ...[0, 1, 3].map((index) => ({ layer, kind: "heads" as const, index })),
      ...(arch.layers[layer]?.kvSource === null ? [{ layer, kind: "groups" as const, index: 0 }] : []),
      { layer, kind: "neurons", index: 3, count: 5 },
      { layer, kind: "attention", index: 0 },
      { layer, kind: "mlp", index: 0 },
      { layer, kind: "layers", index: 0 },
    ]);
    /** One sequence alone, unpadded, through every layer with one gate closed. */
    const naive = async (unit: GateUnit | null, s: TokenSequence): Promise<number> => {
      const length = s.ids.length - 1;
      let x = await runner.embed(s.ids.slice(0, length), { batch: 1, length });
      for (const [l, layer] of arch.layers.entries()) {
        const gates: Gates = {};
        for (const { kind, from, to } of unit?.layer === l ? closedGates(unit, arch) : []) {
          const shape = gateShape(kind, layer, 1);
          const closed = Float32Array.from({ length: shape[1] ?? 1 }, (_, i) => (i >= from && i < to ? 0 : 1));
          gates[kind] = f32(shape, closed);
        }
        x = await runner.block(l, x, gates);
      }
      return (await runner.loss(x, s.ids.slice(1))).nll.reduce((t, v) => t + v, 0) / length;
    };
    const expected: number[][] = [];
    for (const unit of units) {
      const row: number[] = [];
      for (const s of sequences) row.push((await naive(unit, s)) - (await naive(null, s)));
      expected.push(row);
    }
    for (const [tokensPerBatch, prefix] of [
      [32, undefined],
      [4096, undefined],
      [4096, sharedPrefix(runner, sequences, 4096)],
      [4096, sharedPrefix(runner, sequences, 4096, 1)],
    ] as const) {
      // Layer by layer, as pieces of a large model, and all at once.
      const found = [];
      for (const layers of prefix ? [[2], [0]] : [[0, 2]])
        found.push(
          ...(
            await leaveOneOut(
              runner,
              sequences,
              units.filter((u) => layers.includes(u.layer)),
              { tokensPerBatch, prefix },
            )
          ).units,
        );
      for (const { unit, perSequence } of found)
        for (const [s, v] of perSequence.entries())
          expect(Math.abs(v - (expected[units.indexOf(unit)]?.[s] ?? Number.NaN))).toBeLessThan(2e-6);
    }
  },
);

test("gradients of a block of neurons are the sum of its neurons' and agree with finite differences", async () => {
  const weights = tinyModel("gemma3", 6);
  const block = { layer: 1, kind: "neurons" as const, index: 16, count: 8 };
  const single = Array.from({ length: 8 }, (_, i) => ({ layer: 1, kind: "neurons" as const, index: 16 + i }));
  const [together, ...each] = await gateGradients(engine, weights, sequences, [block, ...single]);
  const runner = new DecoderRunner(engine, weights);
  for (const [s, seq] of sequences.entries()) {
    const sum = each.reduce((t, u) => t + (u.perSequence[s] as number), 0);
    expect(together?.perSequence[s]).toBeCloseTo(sum, 6);
    const length = seq.ids.length - 1;
    const at = async (gate: number): Promise<number> => {
      const values = Float32Array.from({ length: 40 }, (_, i) => (i >= 16 && i < 24 ? gate : 1));
      let x = await runner.embed(seq.ids.slice(0, length), { batch: 1, length });
      for (let l = 0; l < 3; l++) x = await runner.block(l, x, l === 1 ? { neurons: f32([1, 40], values) } : {});
      return (await runner.loss(x, seq.ids.slice(1))).nll.reduce((t, v) => t + v, 0) / length;
    };
    const h = 5e-2;
    const numeric = ((await at(1 + h)) - (await at(1 - h))) / (2 * h);
    expect(Math.abs((together?.perSequence[s] as number) - numeric)).toBeLessThan(2e-4 + 0.02 * Math.abs(numeric));
  }
});

test("the halves of a block make the block, and its inputs make its outputs", async () => {
  const weights = tinyModel("llama", 2);
  const runner = new DecoderRunner(engine, weights);
  const x = await runner.embed(tinyIds(20, 48), { batch: 2, length: 10 });
  const whole = float32Data((await runner.block(0, x)).x);
  const taps = ["attentionInput", "probabilities", "attended", "mlpInput", "inner"] as const;
  const out = await runner.part("block", 0, x, { taps });
  const halves = (await runner.part("mlp", 0, (await runner.part("attention", 0, x)).stream)).stream.x;
  for (const [i, v] of whole.entries()) {
    expect(float32Data(out.stream.x)[i]).toBeCloseTo(v, 5);
    expect(float32Data(halves)[i]).toBeCloseTo(v, 5);
  }
  expect(out.probabilities.shape).toEqual([2, 4, 10, 10]);
  expect(out.attended.shape).toEqual([2, 10, 32]);
  expect(out.inner.shape).toEqual([2, 10, 40]);
  // y = x + attended Wo + inner Wdown, without sandwich norms.
  const [wo, wd] = ["L0_output", "L0_down"].map((n) => float32Data(weights.tensors.get(n) as Tensor)) as [
    Float32Array,
    Float32Array,
  ];
  for (const [row, c] of [
    [0, 0],
    [7, 31],
    [19, 5],
  ] as const) {
    let y = float32Data(x.x)[row * 32 + c] as number;
    for (let k = 0; k < 32; k++) y += (float32Data(out.attended)[row * 32 + k] as number) * (wo[c * 32 + k] as number);
    for (let k = 0; k < 40; k++) y += (float32Data(out.inner)[row * 40 + k] as number) * (wd[c * 40 + k] as number);
    expect(y).toBeCloseTo(whole[row * 32 + c] as number, 4);
  }
});

test("activation statistics are those of the sequence alone, padding left out", async () => {
  const weights = tinyModel("gemma3", 5);
  const runner = new DecoderRunner(engine, weights);
  const layers = await layerInputStatistics(runner, sequences);
  for (const [s, seq] of sequences.entries()) {
    const length = seq.ids.length - 1;
    const x = await runner.embed(seq.ids.slice(0, length), { batch: 1, length });
    const out = await runner.part("block", 0, x, { taps: ["inner", "attended"] as const });
    const inner = float32Data(out.inner);
    const column = Array.from({ length }, (_, t) => inner[t * 40 + 7] as number);
    const mean = column.reduce((t, v) => t + Math.abs(v), 0) / length;
    const rms = Math.sqrt(column.reduce((t, v) => t + v * v, 0) / length);
    expect(layers[0]?.inner[s]?.meanAbsolute[7]).toBeCloseTo(mean, 6);
    expect(layers[0]?.inner[s]?.rootMeanSquare[7]).toBeCloseTo(rms, 6);
    let turn = 0;
    const [a, b] = [float32Data(x.x), float32Data(out.stream.x)];
    for (let t = 0; t < length; t++) {
      const at = (v: Float32Array): number[] => [...v.subarray(t * 32, (t + 1) * 32)];
      const dot = (p: number[], q: number[]): number => p.reduce((n, v, i) => n + v * (q[i] as number), 0);
      turn += 1 - dot(at(a), at(b)) / Math.sqrt(dot(at(a), at(a)) * dot(at(b), at(b)));
    }
    expect(layers[0]?.turn[s]).toBeCloseTo(turn / length, 5);
  }
});

test("activation and Wanda scores add up as their formulas say", () => {
  const statistics = {
    meanAbsolute: Float64Array.of(3, 4, 12),
    rootMeanSquare: Float64Array.of(1, 2, 3),
  };
  expect(activationNorm(statistics, 0, 2)).toBe(5);
  expect(activationNorm(statistics, 0, 3)).toBe(13);
  expect(activationImportance([3, 5]).value).toBeCloseTo(Math.sqrt(17), 12);
  const sums = absoluteColumnSums(Float32Array.of(1, -2, 3, -4, 5, -6), 3);
  expect([...sums]).toEqual([5, 7, 9]);
  expect(wandaScore(statistics, sums, 1, 3)).toBe(2 * 7 + 3 * 9);
});

test("the Fisher information of a weight is the mean of its squared gradients by sequence", async () => {
  const weights = tinyModel("llama", 9);
  const fisher = await diagonalFisher(engine, weights, sequences);
  const name = "L1_value";
  const values = float32Data(weights.tensors.get(name) as Tensor);
  for (const i of [0, 77, 300]) {
    let expected = 0;
    const h = 1e-2;
    const at = async (delta: number): Promise<number[]> => {
      const changed = values.slice();
      changed[i] = (changed[i] as number) + delta;
      const tensors = new Map(weights.tensors);
      tensors.set(name, f32([16, 32], changed));
      return perToken(new DecoderRunner(engine, { ...weights, tensors }));
    };
    const [more, less] = [await at(h), await at(-h)];
    for (const s of sequences.keys()) expected += (((more[s] as number) - (less[s] as number)) / (2 * h)) ** 2 / 3;
    expect(Math.abs((fisher.get(name)?.[i] as number) - expected)).toBeLessThan(0.05 * expected + 1e-8);
  }
});

test("weights of clusters are finite, at most 1 and never 0", () => {
  const found = asClusterWeights(Float32Array.of(0, 4, 1, 0));
  expect([...found]).toEqual([0.25, 1, 0.25, 0.25]);
  expect([...asClusterWeights(new Float32Array(3))]).toEqual([1, 1, 1]);
});

test.each(families)("%s: a changed tensor costs what the changed model loses, wherever it lies", async (family) => {
  const weights = tinyModel(family, 4);
  const runner = new DecoderRunner(engine, weights);
  const prefix = await PrefixStreams.compute(runner, sequences, { tokensPerBatch: 128 });
  // A budget that keeps neither streams nor logits gives the same.
  const bare = await PrefixStreams.compute(runner, sequences, { tokensPerBatch: 128, budgetBytes: 1 });
  const granularity = { rowsPerTable: null, groupSize: null, asymmetric: false, keepExtremes: false };
  for (const entry of matrices(weights.arch)) {
    if (entry.layer === 0 && entry.role !== "query" && entry.role !== "up") continue;
    const values = float32Data(weights.tensors.get(entry.name) as Tensor);
    const decoded = decodeWeight(storeAs("palette2", values, entry.shape, granularity));
    const found = await tensorSensitivity(prefix, entry, decoded);
    const again = await tensorSensitivity(bare, entry, decoded);
    const tensors = new Map(weights.tensors);
    tensors.set(entry.name, f32(entry.shape, decoded));
    const changed = new DecoderRunner(engine, { ...weights, tensors });
    const whole = await sequenceLosses(changed, sequences, { base: runner });
    const base = await perToken(runner);
    for (const [s, loss] of whole.entries()) {
      expect(found[s]?.kl).toBeCloseTo((loss.kl ?? Number.NaN) / loss.tokens, 5);
      expect(found[s]?.loss).toBeCloseTo(loss.nll / loss.tokens - (base[s] as number), 5);
      expect(found[s]?.agreement).toBeCloseTo((loss.agreed ?? Number.NaN) / loss.tokens, 6);
      expect(again[s]?.kl).toBeCloseTo(found[s]?.kl ?? Number.NaN, 6);
    }
  }
});

test("input moments of every linear layer have its columns", async () => {
  const weights = tinyModel("gemma3", 8);
  const runner = new DecoderRunner(engine, weights);
  const moments = await layerInputMoments(runner, sequences);
  for (const { name, shape } of matrices(weights.arch)) expect(moments.get(name)?.length).toBe(shape[1]);
  const inner = await layerInputStatistics(runner, sequences);
  const tokens = sequences.map((s) => s.ids.length - 1);
  const total = tokens.reduce((a, b) => a + b, 0);
  const expected = tokens.reduce((t, n, s) => t + n * (inner[2]?.inner[s]?.rootMeanSquare[3] ?? Number.NaN) ** 2, 0);
  expect(moments.get("L2_down")?.[3]).toBeCloseTo(expected / total, 6);
});

test("layers taken out equal the stream that skips them", async () => {
  const weights = tinyModel("gemma3", 7);
  const pruned = pruneModel(weights, { layers: [1] });
  expect(pruned.arch.layers.map((l) => l.window)).toEqual([6, null]);
  const runner = new DecoderRunner(engine, weights);
  const x = await runner.block(2, await runner.block(0, await runner.embed(tinyIds(12, 48), { batch: 1, length: 12 })));
  const sliced = new DecoderRunner(engine, pruned);
  const y = await sliced.blocks(await sliced.embed(tinyIds(12, 48), { batch: 1, length: 12 }));
  for (const [i, v] of float32Data(y.x).entries()) expect(v).toBeCloseTo(float32Data(x.x)[i] as number, 5);
});
