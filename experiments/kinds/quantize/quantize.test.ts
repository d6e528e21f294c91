import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { originOf } from "../../../lib/checkpoint/origin.ts";
import { allocateWidths, allocationPoints, uniformAllocation } from "../../../lib/compress/allocate/allocation.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../../../lib/eval/perplexity.ts";
import { summarizeLosses } from "../../../lib/eval/summary.ts";
import { writeFileAtomic } from "../../../lib/files/atomic.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { memoryArrays } from "../../array-files.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { calibrationText } from "../../splits.ts";
import { heldOutDocuments, SEPARATOR } from "../../starter/corpus.ts";
import { textSequences } from "../../text.ts";
import { prune, pruneConfig } from "../prune/prune.ts";
import { sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import { tradeoff, tradeoffConfig } from "../tradeoff/tradeoff.ts";
import { quantize, quantizeConfig } from "./quantize.ts";

const starter = join(import.meta.dirname, "../../starter/model");
const folder = await temporaryFolder();
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);
const text = join(folder, "text.txt");
await writeFileAtomic(text, heldOutDocuments("calibrate", 4).join(SEPARATOR));
let now = 0;
let computed = 0;
const store = memoryStore();
const context: ExperimentContext = {
  engine,
  models,
  clock: { nowMs: () => ++now },
  store: {
    get: store.get,
    async put(name, value) {
      computed++;
      await store.put(name, value);
    },
  },
};
const on = { model: starter, text, separator: SEPARATOR, limit: 2, context: 64 };
const asked = sensitivityConfig.parse({ ...on, units: ["tensors"], widths: ["palette3", "palette6"] });
const model = await models.open(starter);
const measured = await runExperiment(sensitivity, asked, context);
const map = measured.tensors;
if (!map) throw new Error("no width map");

vi.setConfig({ testTimeout: 240_000 });
afterAll(() => models.close());

const divergence = async (directory: string): Promise<number> => {
  const { sequences } = await textSequences(on, model);
  const other = await models.open(directory);
  const losses = await sequenceLosses(other.runner, sequences, { base: model.runner });
  return losses.reduce((t, l) => t + (l.kl ?? Number.NaN) / l.tokens, 0) / losses.length;
};

test("a width map has every tensor at every width, widest first, and is found again by content", async () => {
  expect(map.columns.map((c) => c.tensor).slice(0, 4)).toEqual(["embedding", "L0.query", "L0.key", "L0.value"]);
  expect(map.widths).toEqual(["palette6", "palette3"]);
  expect(map.cells).toHaveLength(57 * 2);
  expect(map.cells[0]).toMatchObject({ tensor: "embedding", width: "palette6" });
  for (const cell of map.cells) {
    expect(cell.kl.mean).toBeGreaterThanOrEqual(0);
    const bits = cell.width === "palette6" ? 6 : 3;
    const column = map.columns.find((c) => c.tensor === cell.tensor);
    const rows = { embedding: 1024 }[cell.tensor] ?? null;
    if (rows && column) expect(cell.sizeBytes).toBe((column.elements * bits) / 8 + (rows / 16) * 2 ** bits * 2);
  }
  const before = computed;
  // Asking for one of the widths again measures nothing.
  const again = await runExperiment(sensitivity, { ...asked, widths: ["palette3"] }, context);
  expect(again.tensors?.cells).toHaveLength(57);
  expect(computed).toBe(before);
  // A workbench has the same text in another place; what is stored of it is the same.
  const elsewhere = join(folder, "elsewhere.txt");
  await copyFile(text, elsewhere);
  await runExperiment(sensitivity, { ...asked, text: elsewhere }, context);
  expect(computed).toBe(before);
});

test("the checkpoint of an allocation has the bytes it was promised, and about the divergence", async () => {
  const budget = 1_000_000;
  const found = allocateWidths(map, budget);
  expect(found.sizeBytes).toBeLessThanOrEqual(budget);
  expect(found).toMatchObject({ unmeasured: [], optimal: true, gap: 0 });
  const out = join(folder, "mixed");
  const config = quantizeConfig.parse({ model: starter, out, recipe: { tensors: found.tensors } });
  const written = await runExperiment(quantize, config, context);
  expect(written.sizeBytes).toBe(found.sizeBytes);
  expect(written.bitsPerWeight).toBeCloseTo(found.bitsPerWeight, 10);
  expect(written.recipe).toEqual(found.tensors);
  const kl = await divergence(out);
  expect(kl).toBeGreaterThan(found.prediction.value / 3);
  expect(kl).toBeLessThan(found.prediction.value * 3);
  const kept = JSON.parse(await readFile(join(out, "config.json"), "utf8")) as { espalier: { recipe: object } };
  expect(kept.espalier.recipe).toMatchObject({ method: "nearest", rowsPerTable: 16, tensors: found.tensors });

  // Under a budget a measured search comes to the same, from the stored width map.
  const under = { search: "measured", widths: ["palette3", "palette6"] };
  const again = await runExperiment(
    quantize,
    quantizeConfig.parse({ ...on, ...under, out: join(folder, "again"), maxBytes: budget }),
    context,
  );
  expect(again.recipe).toEqual(found.tensors);
  expect(again.predicted?.value).toBeCloseTo(found.prediction.value, 12);
  // The same budget in bits a weight.
  const maxBits = (budget / written.sizeBytes) * written.bitsPerWeight + 1e-9;
  const inBits = await runExperiment(
    quantize,
    quantizeConfig.parse({ ...on, ...under, out: join(folder, "in-bits"), maxBits }),
    context,
  );
  expect(inBits.recipe).toEqual(found.tensors);
});

test("less is never predicted to cost less; uniform widths are among what is worse", () => {
  const points = allocationPoints(map);
  for (const [i, p] of points.slice(1).entries())
    expect(p.prediction.value).toBeLessThanOrEqual((points[i]?.prediction.value ?? 0) + 1e-15);
  const uniform = uniformAllocation(map, "palette3");
  const same = allocateWidths(map, uniform?.sizeBytes ?? 0);
  expect(same.prediction.value).toBeLessThanOrEqual((uniform?.prediction.value ?? 0) + 1e-15);
  expect(uniformAllocation(map, "affine4" as "palette3")).toBeNull();
  // Half measured: what is not stays fp16 and is named.
  const half = { ...map, cells: map.cells.filter((c) => c.tensor !== "L7.down") };
  const partial = allocateWidths(half, 2_000_000);
  expect(partial.unmeasured).toEqual(["L7.down"]);
  expect(partial.tensors?.["L7.down"]).toBe("fp16");
  expect(allocateWidths(map, 1000).tensors).toBeNull();
});

test("shorthands and recipes set widths from the general to the particular", async () => {
  const out = join(folder, "shorthand");
  const { recipe } = await runExperiment(
    quantize,
    quantizeConfig.parse({
      model: starter,
      out,
      bits: 8,
      attention: "palette6",
      embedding: "affine8",
      recipe: { mlp: "palette4", roles: { down: "fp16" }, layers: { 2: "palette3" }, tensors: { "L2.up": "palette1" } },
    }),
    context,
  );
  expect(recipe).toMatchObject({
    embedding: "affine8",
    "L0.query": "palette6",
    "L0.gate": "palette4",
    "L1.down": "fp16",
    "L2.key": "palette3",
    "L2.up": "palette1",
  });
  const reopened = await models.open(out);
  expect((await reopened.checkpoint.weight("L1_down")).kind).toBe("dense");
  expect(await reopened.checkpoint.weight("L2_up")).toMatchObject({ kind: "palette", bits: 1 });
});

test("what a recipe cannot mean is refused", async () => {
  const run = (given: object) =>
    runExperiment(quantize, quantizeConfig.parse({ model: starter, out: join(folder, "no"), ...given }), context);
  await expect(run({ recipe: { tensors: { "L9.down": "palette4" } } })).rejects.toThrow(/L9\.down/);
  await expect(run({ recipe: { layers: { 8: "palette4" } } })).rejects.toThrow(/layer 8/);
  await expect(run({ bits: 5 })).rejects.toThrow(/found 5/);
  await expect(run({ ...on, maxBytes: 10 })).rejects.toThrow(/codes alone take/);
  await expect(run({ ...on, maxBytes: 750_000, search: "measured", widths: ["palette3", "palette6"] })).rejects.toThrow(
    /smallest widths take/,
  );
  await expect(run({ ...on, maxBytes: 1e6, mlp: "palette4" })).rejects.toThrow(/ambiguous/);
  await expect(run({ ...on, maxBytes: 1e6, maxBits: 3 })).rejects.toThrow(/the same budget/);
  await expect(run({ maxBits: 3, search: "measured" })).rejects.toThrow(/--search measured needs --text/);
  await expect(run({ maxKl: 0.1, bits: 4 })).rejects.toThrow(/--max-kl chooses all widths; --bits/);
  await expect(run({ maxKl: 0.1, maxBits: 4 })).rejects.toThrow(/two limits/);
  expect(quantizeConfig.safeParse({ model: "a", out: "b", recipe: { tensors: { x: "palette5" } } }).success).toBe(
    false,
  );
});

test("GPTQ and Fisher weights diverge less than the nearest codes of plain tables", async () => {
  const make = async (name: string, given: object): Promise<number> => {
    const out = join(folder, name);
    await runExperiment(quantize, quantizeConfig.parse({ ...on, out, ...given }), context);
    return divergence(out);
  };
  const plain = await make("plain", { bits: 2, weighting: "none" });
  expect(await make("fisher", { bits: 2, weighting: "fisher" })).toBeLessThan(0.8 * plain);
  const affine = { scheme: "affine", bits: 4, embedding: "affine8", weighting: "none" };
  const int4 = await make("int4", affine);
  expect(await make("int4-gptq", { ...affine, method: "gptq" })).toBeLessThan(int4);
});

test("a pruned and quantized model says what it is made of, layer by layer", async () => {
  const pruned = join(folder, "pruned");
  const { neurons, layers, dropped } = await runExperiment(
    prune,
    pruneConfig.parse({ ...on, out: pruned, neurons: 0.2, layers: 1, layerMetric: "block-influence" }),
    context,
  );
  expect(layers).toEqual({ before: 8, after: 7 });
  expect(neurons.after % 16).toBe(0);
  expect(dropped.some((d) => /^L\d$/.test(d))).toBe(true);
  const small = join(folder, "small");
  await runExperiment(
    quantize,
    quantizeConfig.parse({ model: pruned, out: small, bits: 4, embeddingBits: 6 }),
    context,
  );
  const { points } = await runExperiment(
    tradeoff,
    tradeoffConfig.parse({ ...on, base: starter, models: [small] }),
    context,
  );
  const [base, made] = points.map((p) => p.made);
  expect(base?.layers).toHaveLength(8);
  expect(base?.layers[0]).toMatchObject({
    layer: 0,
    heads: [0, 1, 2, 3, 4, 5, 6, 7],
    headsOfBase: 8,
    neuronsOfBase: 384,
  });
  expect(made?.layers).toHaveLength(7);
  expect(made?.layers.reduce((n, l) => n + l.neurons, 0)).toBe(neurons.after);
  const widths = Object.fromEntries((made?.tensors ?? []).map((t) => [t.tensor, Math.floor(t.bitsPerWeight)]));
  expect(widths).toMatchObject({ embedding: 6, "L0.query": 4 });
});

test("what is written says what was lost against the first original, as an evaluation against it measures it", async () => {
  const pruned = join(folder, "chain-pruned");
  const first = await runExperiment(
    prune,
    pruneConfig.parse({ ...on, out: pruned, drop: ["L3.H5", "L4.N0-31"] }),
    context,
  );
  expect(first.origin).toMatchObject({ hash: model.hash, name: "model", note: null, loss: { against: "original" } });
  const out = join(folder, "chain-quantized");
  const summary = await runExperiment(
    quantize,
    quantizeConfig.parse({ ...on, limit: 4, model: pruned, out, bits: 3 }),
    context,
  );
  const made = await models.open(out);
  expect(originOf(made.checkpoint.config)).toEqual(summary.origin);
  const { loss, hash } = summary.origin;
  expect(hash).toBe(model.hash);
  if (!loss) throw new Error("no loss");
  const { heldOut } = await calibrationText({ ...on, limit: 4 }, model, context);
  expect(heldOut.sequences).toHaveLength(1);
  const beside = summarizeLosses(await sequenceLosses(made.runner, heldOut.sequences, { base: model.runner }));
  const alone = summarizeLosses(await sequenceLosses(model.runner, heldOut.sequences));
  expect(loss.kl.mean).toBeCloseTo(beside.kl?.mean ?? Number.NaN, 5);
  expect(loss.agreement.mean).toBeCloseTo(beside.agreement?.mean ?? Number.NaN, 10);
  expect(loss.perplexity / beside.perplexity).toBeCloseTo(1, 5);
  expect(loss.basePerplexity / alone.perplexity).toBeCloseTo(1, 5);
  expect(loss).toMatchObject({ against: "original", tokens: beside.tokens, kl: { standardError: null } });

  // Where nothing is remembered and nothing is given, the parent stands in and the record says so; a wrong original is refused.
  const elsewhere = { ...context, store: memoryStore() };
  const asked = { ...on, limit: 4, model: pruned, bits: 3 };
  const lone = await runExperiment(quantize, quantizeConfig.parse({ ...asked, out: join(folder, "lone") }), elsewhere);
  expect(lone.origin).toMatchObject({ hash: model.hash, loss: { against: "parent" } });
  expect(lone.origin.note).toMatch(/was not found here/);
  const named = quantizeConfig.parse({ ...asked, out: join(folder, "named"), original: starter });
  expect((await runExperiment(quantize, named, elsewhere)).origin.loss?.kl).toEqual(loss.kl);
  const wrong = quantizeConfig.parse({ ...asked, out: join(folder, "wrong"), original: out });
  await expect(runExperiment(quantize, wrong, elsewhere)).rejects.toThrow(/was made from/);
});

test("the limit is on what quantizing adds to the loss of a pruned model", async () => {
  const pruned = join(folder, "half-pruned");
  await runExperiment(prune, pruneConfig.parse({ ...on, out: pruned, drop: ["L3", "L5"] }), context);
  const widths = ["palette6", "palette4", "palette3"];
  const given = { ...on, limit: 8, model: pruned, out: join(folder, "half-shipped"), widths, method: "nearest" };
  const { search, origin, recipe } = await runExperiment(
    quantize,
    quantizeConfig.parse({ ...given, tune: 0 }),
    context,
  );
  expect(origin.loss?.kl.mean).toBeGreaterThan(0.1);
  expect(search?.trials.some((t) => t.kl > 0.01 && t.kl <= 0.05)).toBe(true);
  expect(Object.values(recipe)).toContain("palette4");
});

test("rows that a table does not divide get the nearest table that does, and the summary counts them", async () => {
  const odd = join(folder, "odd");
  await runExperiment(prune, pruneConfig.parse({ model: starter, out: odd, drop: ["L2.N0-11"] }), context);
  const out = join(folder, "odd-quantized");
  const { notes } = await runExperiment(quantize, quantizeConfig.parse({ model: odd, out, bits: 4 }), context);
  expect(notes).toEqual(["2 tensors: 16 rows a table do not divide 372 rows: 12 instead"]);
  const made = await models.open(out);
  expect(await made.checkpoint.weight("L2_gate")).toMatchObject({ kind: "palette", rowsPerTable: 12 });
});

test("without options: the smallest mixture under the limit, on text the model wrote, measured on what was held out", async () => {
  const kept = memoryStore();
  let puts = 0;
  const own: ExperimentContext = {
    ...context,
    arrays: memoryArrays(),
    store: {
      get: kept.get,
      async put(name, value) {
        if (/^(mixture|sampled text)@/.test(name.subject)) puts++;
        await kept.put(name, value);
      },
    },
  };
  const widths = ["palette6", "palette4", "palette2"];
  const out = join(folder, "shipped");
  const few = { model: starter, limit: 24 };
  const summary = await runExperiment(quantize, quantizeConfig.parse({ ...few, out, widths, maxKl: 0.01 }), own);
  expect(summary.calibration).toMatch(/^calibrated on \d+ tokens that the model wrote itself$/);
  const { loss } = summary.origin;
  expect(loss?.protocol).toMatch(/24 texts that model wrote itself/);
  // The limit holds on the trial part; text that no choice was made on says the same within its error.
  const { trials } = summary.search ?? { trials: [] };
  const best = trials.filter((t) => t.kl <= 0.01).sort((a, b) => a.sizeBytes - b.sizeBytes)[0];
  expect(best?.sizeBytes).toBe(summary.sizeBytes);
  expect(loss?.kl.mean).toBeLessThan(0.013);
  expect(loss?.kl.mean).toBeGreaterThan(0.001);
  expect(new Set(Object.values(summary.recipe)).size).toBeGreaterThan(1);
  // No smaller than what misses the limit, and smaller than the narrowest single width that meets it.
  for (const t of trials) if (t.kl > 0.01) expect(t.sizeBytes).toBeLessThan(summary.sizeBytes);
  const alike = quantizeConfig.parse({ ...few, out: join(folder, "alike"), bits: 4 });
  const uniform = await runExperiment(quantize, alike, own);
  if ((uniform.origin.loss?.kl.mean ?? 1) < 0.01) expect(summary.sizeBytes).toBeLessThan(uniform.sizeBytes);

  // The same question again measures nothing, and writes the same recipe.
  const before = puts;
  const again = quantizeConfig.parse({ ...few, out: join(folder, "again-shipped"), widths, maxKl: 0.01 });
  expect((await runExperiment(quantize, again, own)).recipe).toEqual(summary.recipe);
  expect(puts).toBe(before);
  // A budget is another question to the same measurements; where it is as large, the mixture is as good or better.
  const budget = quantizeConfig.parse({
    ...few,
    out: join(folder, "budget"),
    widths,
    maxBytes: summary.sizeBytes,
    tune: 0,
  });
  const within = await runExperiment(quantize, budget, own);
  expect(puts).toBe(before);
  expect(within.sizeBytes).toBeLessThanOrEqual(summary.sizeBytes);
  expect(within.origin.loss?.kl.mean).toBeLessThan(0.015);
});

test.each(["nearest", "gptq"] as const)(
  "%s: a model that fits in memory only a layer at a time gets the same codes and the same record",
  async (method) => {
    const given = { ...on, limit: 8, method, bits: 4, tune: 0, weighting: "activation" };
    const made = async (name: string, own: ExperimentContext) => {
      const out = join(folder, `${method}-${name}`);
      const { origin } = await runExperiment(quantize, quantizeConfig.parse({ ...given, out }), own);
      return { codes: await readFile(join(out, "model.safetensors")), loss: origin.loss };
    };
    const small = { ...context, models: modelSession(engine, async (r) => r, { memoryBytes: 4_000_000 }) };
    const [whole, paged] = [await made("whole", context), await made("paged", small)];
    expect(paged.codes.equals(whole.codes)).toBe(true);
    expect(paged.loss?.kl.mean).toBeCloseTo(whole.loss?.kl.mean ?? Number.NaN, 5);
    expect(paged.loss?.kl.mean).toBeGreaterThan(1e-3);
    // What needs all of the model at once is refused, with both sizes.
    for (const whole of [{ tune: 1 }, { rowScales: true }, { weighting: "fisher" }, { text: undefined }]) {
      const refused = quantizeConfig.parse({ ...given, ...whole, out: join(folder, "refused") });
      await expect(runExperiment(quantize, refused, small)).rejects.toMatchObject({
        code: "run/memory",
        message: expect.stringMatching(/takes 7\.\d+ MB in fp32, 4\.00 MB of memory may be used/),
      });
    }
    await small.models.close();
  },
);
