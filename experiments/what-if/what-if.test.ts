import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { leaveOneOut } from "../../lib/compress/importance/leave-one-out.ts";
import { gateGradients } from "../../lib/compress/importance/taylor.ts";
import { selectionByName } from "../../lib/compress/prune/prune-selection.ts";
import { pruneModel } from "../../lib/compress/prune/slice.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { weight } from "../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { growingBatches } from "../../lib/eval/growing-batches.ts";
import { sequenceLosses } from "../../lib/eval/perplexity.ts";
import { PrefixStreams } from "../../lib/eval/prefix-streams.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { createRng } from "../../lib/random.ts";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { modelSession } from "../model-session.ts";
import { heldOutDocuments, heldOutQuestions, SEPARATOR } from "../starter/corpus.ts";
import { textSequences } from "../text.ts";
import { closedBy, silenced } from "./closed-gates.ts";
import { calibrate, drawSelections, predictSelection } from "./taylor-prediction.ts";
import { openWhatIf } from "./what-if.ts";

const starter = join(import.meta.dirname, "../starter/model");
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);
const folder = await temporaryFolder();
const text = join(folder, "text.txt");
await writeFileAtomic(text, heldOutDocuments("calibrate", 4).join(SEPARATOR));
const tasks = join(folder, "tasks.jsonl");
await writeFileAtomic(
  tasks,
  heldOutQuestions("calibrate", 12)
    .map((q) => JSON.stringify(q))
    .join("\n"),
);
let now = 0;
const whatIf = await openWhatIf(
  { engine, models, clock: { nowMs: () => ++now } },
  { model: starter, text, separator: SEPARATOR, limit: 4 },
);
const model = await models.open(starter);
const { arch } = model.weights;
afterAll(() => models.close());
const { sequences } = await textSequences({ text, separator: SEPARATOR, limit: 4, context: 128 }, model);

test("one head alone is worth what leave-one-out says", async () => {
  const { units } = await leaveOneOut(model.runner, sequences, [{ layer: 6, kind: "heads", index: 4 }]);
  const values = [...(units[0]?.perSequence ?? [])];
  const found = await whatIf.measure(["L6.H4"]);
  expect(found.sequences).toBe(4);
  expect(found.difference).toBeCloseTo(values.reduce((a, b) => a + b, 0) / values.length, 5);
});

test.each([
  ["heads and a group", ["L7.H2", "L5.H0", "L2.G1"]],
  ["neurons and a layer", ["L1.N32-95", "L6.N0", "L3"]],
])("%s are worth what the sliced model loses, in loss, divergence and agreement", async (_what, selection) => {
  const sliced = new DecoderRunner(engine, pruneModel(model.weights, selectionByName(arch, selection)));
  const before = await sequenceLosses(model.runner, sequences);
  const after = await sequenceLosses(sliced, sequences, { base: model.runner });
  const mean = (of: (i: number) => number): number => after.reduce((n, _, i) => n + of(i), 0) / after.length;
  const tokens = (i: number): number => after[i]?.tokens ?? Number.NaN;
  const partial: number[] = [];
  const found = await whatIf.measure(selection, { onPartial: (p) => partial.push(p.sequences) });
  const loss = mean((i) => ((after[i]?.nll ?? Number.NaN) - (before[i]?.nll ?? Number.NaN)) / tokens(i));
  expect(found.difference).toBeCloseTo(loss, 4);
  expect(found.kl.mean).toBeCloseTo(
    mean((i) => (after[i]?.kl ?? Number.NaN) / tokens(i)),
    4,
  );
  expect(found.agreement.mean).toBeCloseTo(
    mean((i) => (after[i]?.agreed ?? Number.NaN) / tokens(i)),
    2,
  );
  expect(partial.at(-1)).toBe(4);
});

test("attention, MLPs and whole layers close; silenced weights are the gated model", async () => {
  const selection = ["L2.attn", "L4.mlp", "L6", "L0.H3", "L1.N0-31"];
  const quiet = new DecoderRunner(engine, silenced(model.weights, closedBy(arch, selection)), model.runner.programs);
  const before = await sequenceLosses(model.runner, sequences);
  const after = await sequenceLosses(quiet, sequences);
  const mean = after.reduce((n, l, i) => n + (l.nll - (before[i]?.nll ?? Number.NaN)) / l.tokens, 0) / after.length;
  expect((await whatIf.measure(selection)).difference).toBeCloseTo(mean, 4);
});

test("nothing selected changes nothing; unknown units are refused; a cancelled measurement ends", async () => {
  expect(await whatIf.measure([])).toMatchObject({ difference: 0, kl: { mean: 0 }, agreement: { mean: 1 } });
  for (const name of ["L99.H0", "L0.H8", "L0.N380-390", "L9.mlp", "nonsense"])
    await expect(whatIf.measure([name])).rejects.toMatchObject({ code: "prune/unknown-unit" });
  await expect(whatIf.measure(["L1.G0", "L1.G1"])).rejects.toMatchObject({ code: "prune/empty-layer" });
  const cancel = new AbortController();
  cancel.abort();
  await expect(whatIf.measure(["L0.H0"], { signal: cancel.signal })).rejects.toMatchObject({ code: "run/cancelled" });
});

test("text before and after says where it first differs", async () => {
  const same = await whatIf.generate("Once", [], { maxTokens: 8 });
  expect(same.firstDifference).toBeNull();
  const { base, pruned, firstDifference } = await whatIf.generate("Once", ["L7.G0", "L3.mlp"], { maxTokens: 24 });
  const at = base.tokens.findIndex((t, i) => t !== pruned.tokens[i]);
  expect(firstDifference).toBe(at < 0 ? null : at);
  expect(base.tokens.slice(0, 8)).toEqual(same.base.tokens);
});

test("text after is what the sliced model writes, and not what the untouched one does", async () => {
  const selection = ["L7.G0", "L6.G1", "L2"];
  const { base, pruned } = await whatIf.generate("Once upon a time", selection, { maxTokens: 24 });
  const ids = promptIds(model.tokenizer, "Once upon a time");
  const sliced = pruneModel(model.weights, selectionByName(arch, selection));
  const step = await stepModel(engine, sliced, { context: ids.length + 24 });
  expect(pruned.text).toBe(model.tokenizer.decode(await generate(step, ids, { maxTokens: 24 })));
  expect(pruned.text).not.toBe(base.text);
});

/** softmax(q kᵀ) of one head by the definition, from the stream entering layer 0: norm, project, norm, rotate. */
function naiveAttention(x: Float32Array, length: number, head: number): number[][] {
  const layer = arch.layers[0];
  if (!layer?.rope) throw new Error("no rope");
  const { headDim, rope } = layer;
  const of = (name: string): Float32Array => float32Data(weight(model.weights, name));
  const norm = (v: number[], gain: Float32Array): number[] => {
    const rms = Math.sqrt(v.reduce((t, a) => t + a * a, 0) / v.length + arch.normEpsilon);
    return v.map((a, i) => (a / rms) * ((gain[i] as number) + arch.normOffset));
  };
  const project = (v: number[], w: Float32Array, row: number): number[] =>
    Array.from({ length: headDim }, (_, r) =>
      v.reduce((t, a, c) => t + a * (w[(row * headDim + r) * arch.hidden + c] as number), 0),
    );
  const rotated = (v: number[], t: number): number[] =>
    v.map((a, i) => {
      const half = headDim / 2;
      const angle = t * (rope.inverseFrequencies[i % half] as number);
      const other = i < half ? -(v[i + half] as number) : (v[i - half] as number);
      return a * Math.cos(angle) + other * Math.sin(angle);
    });
  const normed = Array.from({ length }, (_, t) =>
    norm([...x.subarray(t * arch.hidden, (t + 1) * arch.hidden)], of("L0_attentionNorm")),
  );
  const group = layer.headToGroup[head] as number;
  const q = normed.map((n, t) => rotated(norm(project(n, of("L0_query"), head), of("L0_queryNorm")), t));
  const k = normed.map((n, t) => rotated(norm(project(n, of("L0_key"), group), of("L0_keyNorm")), t));
  return q.map((row, t) => {
    const scores = k
      .slice(0, t + 1)
      .map((key) => layer.attentionScale * row.reduce((s, a, i) => s + a * (key[i] as number), 0));
    const most = Math.max(...scores);
    const total = scores.reduce((s, v) => s + Math.exp(v - most), 0);
    return k.map((_, j) => (j <= t ? Math.exp((scores[j] as number) - most) / total : 0));
  });
}

test("attention on a sentence is what the definition gives, and rows add up to 1", async () => {
  const prompt = "Mia found a key in the attic. It was a Monday.";
  const { tokens, weights } = await whatIf.attention(prompt, "L0.H5");
  expect(tokens.slice(1).join("").trim()).toBe(prompt);
  expect(weights).toHaveLength(tokens.length);
  for (const row of weights) expect(row.reduce((t, v) => t + v, 0)).toBeCloseTo(1, 5);
  const ids = promptIds(model.tokenizer, prompt);
  const x = await model.runner.embed(Int32Array.from(ids), { batch: 1, length: ids.length });
  const expected = naiveAttention(float32Data(x.x), ids.length, 5);
  for (const [t, row] of expected.entries())
    for (const [j, v] of row.entries()) expect(weights[t]?.[j]).toBeCloseTo(v, 4);
  await expect(whatIf.attention(prompt, "L0.mlp")).rejects.toMatchObject({ code: "prune/unknown-unit" });
  await expect(whatIf.attention(prompt, "L0.H8")).rejects.toMatchObject({ code: "prune/unknown-unit" });
  await expect(whatIf.attention("word ".repeat(400), "L0.H0")).rejects.toThrow(/at most/);
});

test("a head is explained by its patterns, its strongest examples and what breaks without it", async () => {
  const { patterns, reach, examples, breaks } = await whatIf.explain("L3.H2");
  for (const p of patterns ?? []) {
    expect(p.score).toBeGreaterThanOrEqual(0);
    expect(p.score).toBeLessThanOrEqual(1 + 1e-5);
  }
  expect(patterns?.map((p) => p.pattern)).toContain("previous");
  expect(reach?.distances.reduce((t, d) => t + d.share, 0)).toBeCloseTo(1, 4);
  // Distances 0 and 1 are the patterns "self" and "previous".
  expect(reach?.distances[0]?.share).toBeCloseTo(patterns?.find((p) => p.pattern === "self")?.score ?? Number.NaN, 6);
  expect(reach?.distances[1]?.share).toBeCloseTo(
    patterns?.find((p) => p.pattern === "previous")?.score ?? Number.NaN,
    6,
  );
  expect(reach?.entropy).toBeLessThan(reach?.evenEntropy ?? 0);
  expect(reach?.tokens).toHaveLength(10);
  expect(examples?.length).toBeGreaterThan(0);
  for (const e of examples ?? []) {
    expect(e.key).toBeLessThan(e.query);
    expect(e.tokens[e.query]).toBeDefined();
  }
  const rises = breaks.map((b) => b.nll - b.baseNll);
  expect(rises).toEqual([...rises].sort((a, b) => b - a));
  expect(rises[0]).toBeGreaterThan(0);
  const mlp = await whatIf.explain("L5.mlp");
  expect(mlp).toMatchObject({ patterns: null, reach: null, examples: null });
  expect((mlp.breaks[0]?.nll ?? 0) - (mlp.breaks[0]?.baseNll ?? 0)).toBeGreaterThan(0);
});

test("answers to questions are those of the pruned model", async () => {
  const none = await whatIf.accuracy(tasks, []);
  expect(none).toMatchObject({ items: 12, lost: 0, won: 0, p: 1 });
  const found = await whatIf.accuracy(tasks, ["L7", "L6", "L5"], { limit: 8 });
  expect(found.items).toBe(8);
  expect(found.base.correct - found.selected.correct).toBe(found.lost - found.won);
  expect(found.selected.interval.low).toBeLessThanOrEqual(found.selected.correct / 8);
});

test("the fit finds a law of interactions, and its intervals hold what comes about", () => {
  const rng = createRng(3);
  const draw = () => {
    const share = 0.02 + 0.48 * rng.uniform();
    const size = share * (0.5 + rng.uniform());
    const additive = size * rng.normal();
    const noise = 0.1 * size * share * rng.normal();
    return { additive, size, share, measured: 1.1 * additive + 0.3 * size + 5 * size * share + noise };
  };
  const many = calibrate(Array.from({ length: 400 }, draw));
  for (const [i, expected] of [1.1, 0.3, 5].entries()) expect(many.fit.coefficients[i]).toBeCloseTo(expected, 1);
  let held = 0;
  for (let r = 0; r < 400; r++) {
    const fitted = calibrate(Array.from({ length: 24 }, draw));
    const next = draw();
    const p = predictSelection(fitted, next);
    if (p.low <= next.measured && next.measured <= p.high) held++;
  }
  expect(held / 400).toBeGreaterThan(0.92);
  expect(predictSelection(many, { additive: 0, size: 0, share: 0 })).toMatchObject({ value: 0, low: 0, high: 0 });
  const some = { additive: 0.1, size: 0.2, share: 0.1 };
  const [seen, unseen] = [predictSelection(many, some), predictSelection(many, some, 0.01)];
  expect(unseen.high - unseen.low).toBeGreaterThan(seen.high - seen.low);
});

const heads = arch.layers.flatMap((l, i) => Array.from({ length: l.queryHeads }, (_, h) => `L${i}.H${h}`));

test("a prediction is minus the gradient at first; refined, it holds fresh selections and beats the plain sum", async () => {
  const gradients = await gateGradients(engine, model.weights, sequences, [
    { layer: 6, kind: "heads", index: 4 },
    { layer: 2, kind: "neurons", index: 7 },
    { layer: 3, kind: "mlp", index: 0 },
  ]);
  const mean = (u: number): number =>
    (gradients[u]?.perSequence.reduce((t, v) => t + v, 0) ?? Number.NaN) / sequences.length;
  const first = await whatIf.predict(["L6.H4"]);
  expect(first).toMatchObject({ low: null, high: null, selections: 0, sequences: 4 });
  expect(first.value).toBeCloseTo(-mean(0), 6);
  expect((await whatIf.predict(["L6.H4", "L2.N7", "L3.mlp"])).value).toBeCloseTo(-mean(0) - mean(1) - mean(2), 6);

  let done = 0;
  for (let step = 0; step < 40; step++) {
    const refined = await whatIf.refine(["L6.H4"]);
    expect(refined.done).toBeGreaterThanOrEqual(done);
    done = refined.done;
    if (refined.done === refined.of) break;
  }
  let held = 0;
  let [plain, corrected] = [0, 0];
  const fresh = drawSelections(
    heads.map((_, i) => (i * 7919) % heads.length),
    12,
    createRng(99),
  ).map((drawn) => drawn.map((i) => heads[i] as string).filter((n) => !n.endsWith("H0")));
  for (const selection of fresh.filter((s) => s.length > 0)) {
    const p = await whatIf.predict(selection);
    const { difference } = await whatIf.measure(selection);
    if ((p.low ?? Number.NaN) <= difference && difference <= (p.high ?? Number.NaN)) held++;
    plain += Math.abs(p.additive - difference);
    corrected += Math.abs(p.value - difference);
  }
  expect(held / fresh.length).toBeGreaterThanOrEqual(0.75);
  expect(corrected).toBeLessThan(0.7 * plain);
});

test("a selection is measured on few sequences first, each group as many as all before it and more", async () => {
  const growing = growingBatches(sequences, 60, 256);
  expect(growing.map((g) => g.flatMap((b) => b.rows).sort((a, b) => a - b))).toEqual([
    [0, 1],
    [2, 3],
  ]);
  const prefix = PrefixStreams.open(model.runner, sequences, { tokensPerBatch: 256, firstTokens: 60 });
  expect(prefix.baseNll.every(Number.isNaN)).toBe(true);
  const x = await prefix.stream(0, arch.layers.length);
  expect(await prefix.compare(0, x)).toMatchObject([{ kl: expect.closeTo(0, 6) }, { kl: expect.closeTo(0, 6) }]);
  expect(prefix.baseNll.map((v) => (Number.isNaN(v) ? 0 : 1))).toEqual(Float64Array.of(1, 1, 0, 0));
  const all = await PrefixStreams.compute(model.runner, sequences, { tokensPerBatch: 256 });
  for (const b of prefix.batches.keys()) await prefix.prepare(b);
  for (const i of sequences.keys()) expect(prefix.baseNll[i]).toBeCloseTo(all.baseNll[i] as number, 6);
});
