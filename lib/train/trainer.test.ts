import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, tinyIds, tinyModel } from "../../test/fixtures/tiny-model.ts";
import { type DecoderWeights, decoderWeights } from "../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import { Backward } from "./backward.ts";
import { LowRank } from "./low-rank.ts";
import { teacherFiles } from "./teacher-files.ts";
import { joinTopTokens, type TopTokens, topTokens } from "./top-tokens.ts";
import { Trainer } from "./trainer.ts";
import { textObjective } from "./training-program.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const copy = (w: DecoderWeights): DecoderWeights =>
  decoderWeights(
    w.arch,
    new Map([...w.tensors].map(([name, t]) => [name, f32(t.shape, float32Data(t).slice())])),
    w.tables,
  );
const schedule = { peak: 1e-2, warmupSteps: 1, totalSteps: 10, finalShare: 0.1 };
const [length, vocab] = [10, 48];
const batchOf = (seeds: readonly number[], all: number) => {
  const of = (offset: number) => Int32Array.from(seeds.flatMap((s) => [...tinyIds(length, vocab, s + offset)]));
  return {
    ids: of(0),
    targets: of(100),
    tokenWeights: new Float32Array(seeds.length * length).fill(1 / (all * length)),
  };
};

test("batches that are accumulated make the step that they make side by side", async () => {
  const weights = tinyModel("gemma3", 3);
  const [together, apart] = [copy(weights), copy(weights)];
  const one = await Trainer.create(engine, together, {
    shape: { batch: 2, length },
    schedule,
    objective: textObjective,
  });
  const two = await Trainer.create(engine, apart, { shape: { batch: 1, length }, schedule, objective: textObjective });
  for (const seed of [1, 5]) {
    const a = await one.step(batchOf([seed, seed + 1], 2));
    const b = await two.step([batchOf([seed], 2), batchOf([seed + 1], 2)]);
    expect(b.loss).toBeCloseTo(a.loss, 5);
    expect(b.gradientNorm).toBeCloseTo(a.gradientNorm, 4);
  }
  for (const [name, t] of together.tensors)
    for (const [i, v] of float32Data(t).entries())
      expect(float32Data(apart.tensors.get(name) as Tensor)[i], name).toBeCloseTo(v, 3);
});

test("gradients of adapters agree with finite differences, and only adapters change", async () => {
  const base = tinyModel("llama", 4);
  const merged = copy(base);
  const lora = new LowRank(engine, base, merged, { rank: 3, scale: 2, rng: createRng(1, "adapters") });
  expect(lora.pairs.has("embedding")).toBe(false);
  const rng = createRng(2);
  for (const { b } of lora.pairs.values()) float32Data(b).set(float32Data(b).map(() => 0.2 * rng.normal()));
  await lora.merge();
  const backward = new Backward(engine, merged, { trained: new Set(), adapters: lora });
  const { ids, targets, tokenWeights } = batchOf([7, 8], 2);
  const gradients = new Map<string, Float32Array>();
  const loss = async (take = false): Promise<number> => {
    await lora.merge();
    const tape = await backward.forward(ids, { batch: 2, length });
    const head = await backward.head(tape, targets, tokenWeights, textObjective, null, () => {});
    if (take) await backward.back(tape, head.dx, (name, g) => gradients.set(name, g.slice()));
    return head.loss;
  };
  await loss(true);
  expect(new Set(gradients.keys())).toEqual(new Set(lora.parameters().map((p) => p.name)));
  for (const [name, at] of [
    ["L0_query.a", 5],
    ["L0_down.b", 10],
    ["L1_value.b", 2],
    ["L1_gate.a", 17],
    ["L1_output.a", 40],
  ] as const) {
    const values = lora.parameters().find((p) => p.name === name)?.values as Float32Array;
    const before = values[at] as number;
    const h = 2e-2;
    values[at] = before + h;
    const up = await loss();
    values[at] = before - h;
    const down = await loss();
    values[at] = before;
    const numeric = (up - down) / (2 * h);
    const found = gradients.get(name)?.[at] as number;
    expect(Math.abs(found - numeric), name).toBeLessThan(1e-4 + 0.02 * Math.abs(numeric));
  }
  const trainer = await Trainer.create(engine, merged, {
    shape: { batch: 2, length },
    schedule,
    objective: textObjective,
    adapters: lora,
  });
  const losses = [];
  for (let i = 0; i < 4; i++) losses.push((await trainer.step(batchOf([7, 8], 2))).loss);
  expect(losses.at(-1)).toBeLessThan(losses[0] as number);
  expect(new Set(trainer.state.first.keys())).toEqual(new Set(gradients.keys()));
  for (const name of ["embedding", "L0_attentionNorm", "finalNorm"])
    expect(merged.tensors.get(name)?.data).toEqual(base.tensors.get(name)?.data);
});

test("the most likely tokens are those that sorting gives, and the rest is what they lack", () => {
  const rng = createRng(6);
  const logits = Float32Array.from({ length: 3 * 40 }, () => 3 * rng.normal());
  const found = topTokens(logits, 40, 5, 2);
  for (let r = 0; r < 3; r++) {
    const own = [...logits.subarray(r * 40, (r + 1) * 40)].map((z) => z / 2);
    const total = Math.log(own.reduce((t, z) => t + Math.exp(z), 0));
    const sorted = own.map((z, v) => ({ v, p: z - total })).sort((a, b) => b.p - a.p || a.v - b.v);
    expect([...found.ids.subarray(r * 5, r * 5 + 5)]).toEqual(sorted.slice(0, 5).map((s) => s.v));
    for (let i = 0; i < 5; i++) expect(found.logP[r * 5 + i]).toBeCloseTo(sorted[i]?.p as number, 5);
    expect(found.rest[r]).toBeCloseTo(
      sorted.slice(5).reduce((t, s) => t + Math.exp(s.p), 0),
      5,
    );
  }
  expect([...topTokens(logits, 40, 40, 1).rest]).toEqual([0, 0, 0]);
});

test("what the teacher said is asked for once, and by another teacher again", async () => {
  const folder = join(await temporaryFolder(), "teacher");
  const asked: number[] = [];
  const ask = async (missing: readonly Int32Array[]): Promise<TopTokens[]> => {
    asked.push(missing.length);
    return missing.map((ids) =>
      topTokens(
        Float32Array.from({ length: ids.length * 8 }, (_, i) => (i * (ids[0] as number)) % 7),
        8,
        3,
        1,
      ),
    );
  };
  const sequences = [Int32Array.of(1, 2), Int32Array.of(3, 4), Int32Array.of(5, 6)];
  const first = joinTopTokens(await teacherFiles(folder, "a", 3).of(sequences.slice(0, 2), ask));
  const again = joinTopTokens(await teacherFiles(folder, "a", 3).of(sequences, ask));
  expect(asked).toEqual([2, 1]);
  expect(again.ids.subarray(0, 12)).toEqual(first.ids);
  expect(again.logP.subarray(0, 12)).toEqual(first.logP);
  expect(again.rest.length).toBe(6);
  await teacherFiles(folder, "b", 3).of(sequences, ask);
  expect(asked).toEqual([2, 1, 3]);
});
