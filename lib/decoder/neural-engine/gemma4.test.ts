/** Gemma 4 in the Neural Engine layout: per-layer inputs, shared keys, two head dimensions, value norms, layer scalars. */
import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../../experiments/model-session.ts";
import { decoded, dense, difference, largest, rounded, wholeSequence } from "../../../test/fixtures/shipped-decoder.ts";
import { temporaryFolder, tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { openCheckpoint } from "../../checkpoint/checkpoint.ts";
import { pruneHeads, pruneNeurons } from "../../compress/prune/slice.ts";
import { palettize } from "../../compress/quantize/palettize.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { writePackage } from "../../formats/coreml/package-writer.ts";
import { f32, float32Data } from "../../mil/tensor.ts";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import type { DecoderArchitecture, LayerArchitecture } from "../architecture.ts";
import { generate } from "../generate.ts";
import { initializeWeights } from "../initialize.ts";
import { openPackage } from "../opened-package.ts";
import { INTERFACE_KEY, type NeuralEngineInterface } from "../package-interface.ts";
import { stepModel } from "../step-model.ts";
import { type DecoderWeights, inMemoryWeights } from "../weights.ts";
import { type DriverOptions, openNeuralEngineModel } from "./driver.ts";
import { hostEmbedding, openEmbedding, writeEmbedding } from "./embedding.ts";
import { type Headroom, measureHeadroom } from "./headroom.ts";
import { neuralEngineProgram } from "./neural-engine-program.ts";
import {
  type NeuralEngineOptions,
  type NeuralEnginePlan,
  neuralEngineGap,
  neuralEnginePlan,
  scaledPlan,
} from "./plan.ts";
import { scalingFor } from "./scaling.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

const options: NeuralEngineOptions = {
  contexts: [64, 96],
  prefill: [16],
  embedding: "inside",
  cacheForm: "state",
  prefillLogits: "all",
  beginToken: 2,
  stopTokens: [1],
};

const ids = [...tinyIds(90, 48)];

/** The checkpoints `transformers` made, with room for more positions than their ring has slots. */
async function golden(family: "gemma4" | "gemma4_dense"): Promise<DecoderWeights> {
  const checkpoint = await openCheckpoint(join(import.meta.dirname, "../../../test/golden", family));
  const weights = await loadWeights(checkpoint);
  const all = new Map<string, CompressedWeight>(await dense(weights));
  await checkpoint.close();
  const tensors = new Map([...all].map(([n, w]) => [n, f32(w.shape, decodeWeight(w))]));
  return inMemoryWeights({ ...weights.arch, maxPositions: 128 }, tensors);
}

/** Without its cap of 3, which bends these models' logits of 9 and would turn the share of the largest that fp16 costs into thrice as much. */
const uncapped = (weights: DecoderWeights): DecoderWeights => ({
  ...weights,
  arch: { ...weights.arch, finalSoftcap: null },
});

/** Heads from single layers and a group from all its readers, and neurons of a shared layer. */
const pruned = (weights: DecoderWeights): DecoderWeights => {
  const { layers } = weights.arch;
  // Layer 1 lends its keys to layers 3 and 4 where there are six.
  const heads = layers.map((l, i) => (i === 0 ? [1] : [1, 3, 4].includes(i) && l.window !== null ? [0, 1] : []));
  const neurons = layers.map((l, i) =>
    i === layers.length - 1 ? Array.from({ length: l.neurons - 24 }, (_, n) => n) : [],
  );
  return pruneNeurons(pruneHeads(weights, heads), neurons);
};

const tables = (weights: ReadonlyMap<string, CompressedWeight>): Pick<DriverOptions, "embedding" | "perLayer"> => {
  const perLayer = weights.get("perLayerEmbedding");
  return {
    embedding: hostEmbedding(weights.get("embedding") as CompressedWeight),
    perLayer: perLayer ? hostEmbedding(perLayer) : null,
  };
};

const cases: [string, DecoderWeights, Partial<NeuralEngineOptions>][] = [
  ["gemma 4, rings that wrap", await golden("gemma4"), {}],
  ["gemma 4, dense", await golden("gemma4_dense"), {}],
  [
    "gemma 4, pruned, embedding outside, head in parts",
    pruned(await golden("gemma4")),
    { embedding: "host", largestHeadPart: 20 },
  ],
  ["gemma 4, dense, pruned", pruned(await golden("gemma4_dense")), {}],
  ["gemma 4 without states", pruned(await golden("gemma4")), { cacheForm: "arguments" }],
  ["gemma 4, only the last logits", await golden("gemma4"), { prefillLogits: "last" }],
  ["gemma 4, no rings, heads of 32 and 64", wide(), {}],
];

/** Full layers have heads of 40, and windows hold the largest context. */
function wide(): DecoderWeights {
  const { arch } = tinyModel("gemma4");
  const rope = { inverseFrequencies: Array.from({ length: 20 }, (_, k) => (k < 5 ? 3 ** -k : 0)), attentionFactor: 1 };
  const layers = arch.layers.map((l) => (l.window === null ? { ...l, headDim: 40, rope } : { ...l, window: 96 }));
  return initializeWeights({ ...arch, maxPositions: 128, layers }, createRng(3, "wide heads"));
}

test.each(cases)(
  "%s: fp32 logits are those of the whole sequence, prefilled, padded, grown and decoded",
  async (_n, weights, change) => {
    const plan = neuralEnginePlan(weights.arch, { ...options, ...change });
    const shipped = await dense(weights);
    const program = neuralEngineProgram(weights.arch, shipped, plan, "fp32");
    const found = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen", ...tables(shipped) });
    const expected = await wholeSequence(engine, weights, ids);
    const { vocab } = weights.arch;
    const session = found.open();
    let at = 0;
    let compared = 0;
    for (const upTo of [50, 57, 68, 90]) {
      while (at < upTo) {
        const count = upTo === 57 || upTo === 90 ? 1 : session.chunk(at, upTo - at);
        const logits = await session.feed(ids.slice(at, at + count), at);
        at += count;
        const rows = logits.length / vocab;
        expect(difference(expected.subarray((at - rows) * vocab, at * vocab), logits)).toBeLessThan(1e-4);
        compared += rows;
      }
    }
    expect(compared).toBeGreaterThanOrEqual(30);
    session.dispose();
    await found.dispose();
  },
);

test.each(["gemma4", "gemma4_dense"] as const)("%s: the logits of transformers", async (family) => {
  const file = join(import.meta.dirname, "../../../test/golden", family, "golden.json");
  const reference: { ids: number[]; logits: number[][] } = JSON.parse(readFileSync(file, "utf8"));
  const weights = await golden(family);
  const plan = neuralEnginePlan(weights.arch, { ...options, contexts: [32] });
  const shipped = await dense(weights);
  const program = neuralEngineProgram(weights.arch, shipped, plan, "fp32");
  const session = openNeuralEngineModel(engine, program, plan.interface, {
    float16: "widen",
    ...tables(shipped),
  }).open();
  expect(plan.interface.finalSoftcap).toEqual({ cap: 3, applied: false });
  const found = [...(await session.feed(reference.ids.slice(0, 16), 0))];
  for (let i = 16; i < 24; i++) found.push(...(await session.feed([reference.ids[i] as number], i)));
  const expected = Float32Array.from(reference.logits.flat());
  expect(found).toHaveLength(expected.length);
  expect(difference(expected, Float32Array.from(found)) / largest(expected)).toBeLessThan(1e-4);
});

test("the plain layout with a cache says the same", async () => {
  const weights = pruned(await golden("gemma4"));
  const plan = neuralEnginePlan(weights.arch, { ...options, contexts: [64] });
  const shipped = await dense(weights);
  const program = neuralEngineProgram(weights.arch, shipped, plan, "fp32");
  const session = openNeuralEngineModel(engine, program, plan.interface, {
    float16: "widen",
    ...tables(shipped),
  }).open();
  const plain = (await stepModel(engine, weights, { context: 64 })).open();
  for (let i = 0; i < 60; i++) {
    const token = [ids[i] as number];
    expect(difference(await plain.feed(token, i), await session.feed(token, i))).toBeLessThan(1e-4);
  }
});

const shapes = (plan: NeuralEnginePlan) =>
  plan.caches.map(({ name, rows, dimension, ringSlots }) => [name, rows, dimension, ringSlots]);

test("layers that read another's keys have no rows, and there are never more than two states", async () => {
  const { arch } = await golden("gemma4");
  const plan = neuralEnginePlan(arch, options);
  // Two sliding layers and a full one have keys of their own, of two groups each.
  expect(shapes(plan)).toEqual([
    ["kv_ring", 8, 32, 32],
    ["kv_full", 4, 32, null],
  ]);
  expect(plan.layers.map((l) => [l.cache, l.row])).toEqual([
    [0, 0],
    [0, 4],
    [1, 0],
    [0, 4],
    [0, 4],
    [1, 0],
  ]);
  expect(plan.interface.masks.map((m) => m.input)).toEqual(["mask_6", "mask_full"]);
  // Without rings the narrow heads need not be filled up to the wide ones: the states differ in dimension.
  const level = neuralEnginePlan(wide().arch, options);
  expect(shapes(level)).toEqual([
    ["kv_full_32", 8, 32, null],
    ["kv_full_64", 4, 64, null],
  ]);
  expect(level.interface.masks).toEqual([{ input: "mask_full", cache: "kv_full_32", window: null }]);
  // Three kinds of layers are two again.
  const mixed = wide().arch;
  const three = mixed.layers.map((l, i) => (l.window !== null ? { ...l, window: 8, headDim: i === 0 ? 40 : 8 } : l));
  expect(shapes(neuralEnginePlan({ ...mixed, layers: three }, options))).toEqual([
    ["kv_ring", 8, 64, 32],
    ["kv_full", 4, 64, null],
  ]);
});

test("what has no place is refused, in words", () => {
  const { arch } = tinyModel("gemma4");
  const changed = (index: number, change: Partial<LayerArchitecture>): DecoderArchitecture => ({
    ...arch,
    layers: arch.layers.map((l, i) => (i === index ? { ...l, ...change } : l)),
  });
  expect(neuralEngineGap(arch)).toBeNull();
  expect(neuralEngineGap(changed(4, { window: null }))).toBe(
    "layer 4, which looks farther back than layer 1 that it reads",
  );
  expect(neuralEngineGap(changed(4, { headDim: 16 }))).toContain("heads are not those of layer 1");
  expect(neuralEngineGap(changed(4, { kvSource: 3 }))).toContain("keys of layer 3, where there are none");
  expect(() => neuralEnginePlan(changed(4, { window: null }), { ...options, contexts: [32] })).toThrow(
    "has no place for layer 4",
  );
});

async function written(
  weights: DecoderWeights,
  shipped: ReadonlyMap<string, CompressedWeight>,
  change: Partial<NeuralEngineOptions>,
): Promise<string> {
  const folder = await temporaryFolder();
  const files = { embeddingFile: "Tiny.embedding.safetensors", perLayerFile: "Tiny.per-layer.safetensors" };
  const plan = neuralEnginePlan(weights.arch, { ...options, prefillLogits: "last", ...files, ...change });
  const path = join(folder, "Tiny.mlpackage");
  await writePackage(path, neuralEngineProgram(weights.arch, shipped, plan), {
    shortDescription: "tiny",
    author: "test",
    license: "",
    version: "1",
    userDefined: { [INTERFACE_KEY]: JSON.stringify(plan.interface) },
  });
  if (change.embedding === "host")
    await writeEmbedding(join(folder, files.embeddingFile), shipped.get("embedding") as CompressedWeight);
  const perLayer = shipped.get("perLayerEmbedding");
  if (perLayer) await writeEmbedding(join(folder, files.perLayerFile), perLayer);
  return path;
}

test.each([
  ["gemma4", "inside", "fp16"],
  ["gemma4", "host", "palettes"],
  ["gemma4_dense", "inside", "fp16"],
] as const)(
  "%s, embedding %s, table in %s: rounded to fp16 after every operation, logits and text stay the model's",
  async (family, embedding, kind) => {
    const { shipped, exact } = await rounded(pruned(uncapped(await golden(family))));
    let model = exact;
    if (kind === "palettes") {
      const w = shipped.get("perLayerEmbedding") as CompressedWeight;
      const small = palettize(decodeWeight(w), w.shape, { bits: 4, rowsPerTable: 8 });
      shipped.set("perLayerEmbedding", small);
      const all = new Map([...shipped].map(([n, t]) => [n, f32(t.shape, decodeWeight(t))]));
      model = inMemoryWeights(exact.arch, all);
    }
    const read = await openPackage(engine, await written(model, shipped, { embedding }), "round");
    const reference = await stepModel(engine, model, { context: 96 });
    const expected = await decoded(reference, ids.slice(0, 60));
    const found = await decoded(read, ids.slice(0, 60));
    // As far as the plain layout is, rounded likewise: 1.3 % of the largest logit in the deeper of these models.
    expect(difference(expected, found) / largest(expected)).toBeLessThan(0.02);

    const prompt = ids.slice(0, 25);
    const text = await generate(reference, prompt, { maxTokens: 64 });
    expect(text).toHaveLength(64);
    expect(await generate(read, prompt, { maxTokens: 64 })).toEqual(text);
  },
);

test("prefill in short chunks and decode give the logits of one long prefill", async () => {
  const { shipped, exact } = await rounded(await golden("gemma4"));
  const plan = neuralEnginePlan(exact.arch, { ...options, contexts: [96], prefill: [8, 32], prefillLogits: "last" });
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  const m = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen", ...tables(shipped) });
  const long = m.open({ only: ["prefill32_96"] });
  const mixed = m.open({ only: ["prefill8_96", "decode_96"] });
  await long.feed(ids.slice(0, 32), 0);
  const one = await long.feed(ids.slice(32, 60), 32);
  for (let at = 0; at < 48; at += 8) await mixed.feed(ids.slice(at, at + 8), at);
  let two = new Float32Array();
  for (let at = 48; at < 60; at++) two = new Float32Array(await mixed.feed([ids[at] as number], at));
  expect(difference(one, two)).toBeLessThan(2e-4 * largest(one));
});

/** The model with the weights of these names multiplied. */
async function louder(
  weights: DecoderWeights,
  factors: readonly (readonly [RegExp, number])[],
): Promise<DecoderWeights> {
  const all = [...(await dense(weights))].map(([name, w]) => {
    const factor = factors.find(([which]) => which.test(name))?.[1] ?? 1;
    return [
      name,
      f32(
        w.shape,
        decodeWeight(w).map((v) => v * factor),
      ),
    ] as const;
  });
  return inMemoryWeights(weights.arch, new Map(all));
}

type Reached = "stream" | "perLayerContext" | "perLayerVectors" | "layer";
test.each<[string, (readonly [RegExp, number])[], (h: Headroom) => number, Reached]>([
  [
    "the stream",
    // The gate reads the stream as it is; one that was taught on a loud stream has small weights.
    [
      [/_(postAttentionNorm|postMlpNorm|perLayerNorm)$/, 20_000],
      [/_perLayerGate$/, 2 ** -12],
    ],
    (h) => h.layers[5]?.stream ?? 0,
    "stream",
  ],
  [
    "the projection to all layers' vectors",
    [[/^perLayerContext$/, 60_000]],
    (h) => h.perLayerContext,
    "perLayerContext",
  ],
  ["the vectors", [[/^perLayerContextNorm$/, 25_000]], (h) => h.perLayerVectors, "perLayerVectors"],
  [
    "gate times vector",
    [
      [/^L4_perLayerGate$/, 1000],
      [/^perLayerContextNorm$/, 300],
    ],
    (h) => h.layers[4]?.perLayerInner ?? 0,
    "perLayerVectors",
  ],
  [
    "a layer's per-layer input",
    [[/^L4_perLayerProjection$/, 60_000]],
    (h) => h.layers[4]?.perLayerOutput ?? 0,
    "layer",
  ],
])("%s beyond fp16 fails as it is and works scaled", async (_name, factors, peak, reached) => {
  const { shipped, exact } = await rounded(await louder(uncapped(await golden("gemma4")), factors));
  const plan = neuralEnginePlan(exact.arch, { ...options, embedding: "host" });
  const tokens = ids.slice(0, 40);
  const expected = await decoded(await stepModel(engine, exact, { context: 64 }), tokens);
  const outside = tables(shipped);
  const run = (p: NeuralEnginePlan) => {
    const program = neuralEngineProgram(exact.arch, shipped, p);
    return {
      model: openNeuralEngineModel(engine, program, p.interface, { float16: "round", ...outside }),
      headroom: () => measureHeadroom(engine, program, p.interface, [tokens], outside),
    };
  };
  const asItIs = run(plan);
  await expect(decoded(asItIs.model, tokens)).rejects.toMatchObject({ code: "numeric/non-finite" });
  const before = await asItIs.headroom();
  expect(before.worst).toBeLessThan(1);
  expect(peak(before)).toBeGreaterThan(65504);
  const scaling = scalingFor(exact.arch.layers, before);
  const chosen = reached === "layer" ? (scaling.layers[4]?.perLayer ?? 1) : scaling[reached];
  expect(chosen).toBeLessThan(1);
  expect(Number.isInteger(Math.log2(chosen))).toBe(true);
  const scaled = run(scaledPlan(plan, scaling));
  expect((await scaled.headroom()).worst).toBeGreaterThan(1);
  expect(difference(expected, await decoded(scaled.model, tokens)) / largest(expected)).toBeLessThan(0.02);
});

test("a table larger than memory is read by rows, and a table of another model is refused", async () => {
  const path = join(await temporaryFolder(), "huge.safetensors");
  // 262144 rows of 35 · 256 in fp16, as E2B's: 4.7 GB, almost all of it a hole in the file.
  const [rows, columns] = [262_144, 8960];
  const header = JSON.stringify({
    __metadata__: { kind: "dense", bits: "16" },
    embedding: { dtype: "F16", shape: [rows, columns], data_offsets: [0, 2 * rows * columns] },
  }).padEnd(256);
  const file = await open(path, "w");
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, 256n, true);
  await file.write(prefix);
  await file.write(header);
  const last = 264 + 2 * (rows - 1) * columns;
  await file.truncate(264 + 2 * rows * columns);
  await file.write(Uint8Array.of(0x00, 0x3c, 0x00, 0xc0), 0, 4, last);
  await file.close();
  const table = await openEmbedding(path);
  expect(table.shape).toEqual([rows, columns]);
  const found = await table.rows([rows - 1, 0]);
  expect([...found.subarray(0, 3)]).toEqual([1, -2, 0]);
  expect(largest(found.subarray(columns))).toBe(0);

  const { arch, tensors } = tinyModel("gemma4");
  const plan = neuralEnginePlan({ ...arch, maxPositions: 64 }, { ...options, contexts: [32] });
  const shipped = await dense(tinyModel("gemma4"));
  const program = neuralEngineProgram(arch, shipped, plan);
  const opened = (change: Partial<DriverOptions>) => () =>
    openNeuralEngineModel(engine, program, plan.interface, { float16: "widen", ...change });
  expect(opened({})).toThrow("the table per-layer.safetensors is needed");
  expect(opened({ perLayer: table })).toThrow("the package needs 48 rows of 48");
  expect(float32Data(tensors.get("perLayerContextNorm") as never)).toHaveLength(8);
});

test("graphs keep to what the engine takes: no table inside, two states, rank 4, legal extents", async () => {
  const { shipped, exact } = await rounded(pruned(await golden("gemma4")));
  const plan: { interface: NeuralEngineInterface } & NeuralEnginePlan = neuralEnginePlan(exact.arch, options);
  expect(plan.interface.perLayer).toEqual({
    input: "per_layer",
    file: "per-layer.safetensors",
    channels: 48,
    scale: 2,
  });
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  for (const fn of program.functions) {
    const states = fn.inputs.flatMap((i) => (i.type.kind === "state" ? [i.type.wrapped.shape] : []));
    expect(states).toHaveLength(2);
    for (const s of states) expect(s.slice(-2).map((d) => d % 32)).toEqual([0, 0]);
    const types = new Set(fn.operations.map((o) => o.type));
    for (const never of ["less_equal", "greater", "cast", "select", "reduce_mean", "rsqrt"])
      expect(types).not.toContain(never);
    // One gather, of the embedding that is inside.
    expect(fn.operations.filter((o) => o.type === "gather")).toHaveLength(1);
    for (const op of fn.operations) {
      expect(op.constant?.shape ?? []).not.toEqual([48, 48]);
      for (const o of op.outputs) if (o.type.kind === "tensor") expect(o.type.shape.length).toBeLessThanOrEqual(4);
    }
  }
});
