import { join } from "node:path";
import { expect, test } from "vitest";
import { decoded, dense, difference, largest, rounded, wholeSequence } from "../../../test/fixtures/shipped-decoder.ts";
import {
  type TinyFamily,
  temporaryFolder,
  tinyConfigs,
  tinyIds,
  withBiases,
} from "../../../test/fixtures/tiny-model.ts";
import { pruneHeads } from "../../compress/prune/slice.ts";
import { palettize } from "../../compress/quantize/palettize.ts";
import { quantizeAffine } from "../../compress/quantize/round-to-nearest.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { readPackage } from "../../formats/coreml/package-reader.ts";
import { writePackage } from "../../formats/coreml/package-writer.ts";
import { f32, float32Data } from "../../mil/tensor.ts";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import type { DecoderArchitecture } from "../architecture.ts";
import { architectureOf } from "../families/registry.ts";
import { generate } from "../generate.ts";
import { initializeWeights } from "../initialize.ts";
import { packageModel } from "../opened-package.ts";
import { INTERFACE_KEY } from "../package-interface.ts";
import { stepModel } from "../step-model.ts";
import type { DecoderWeights } from "../weights.ts";
import { headRuns } from "./attention.ts";
import { openNeuralEngineModel } from "./driver.ts";
import { hostEmbedding, openEmbedding, writeEmbedding } from "./embedding.ts";
import { measureHeadroom } from "./headroom.ts";
import { neuralEngineProgram } from "./neural-engine-program.ts";
import { headParts, type NeuralEngineOptions, type NeuralEnginePlan, neuralEnginePlan, scaledPlan } from "./plan.ts";
import { scalingFor, unscaled } from "./scaling.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

const options: NeuralEngineOptions = {
  contexts: [64, 96],
  prefill: [16],
  embedding: "inside",
  cacheForm: "state",
  prefillLogits: "all",
  beginToken: 1,
  stopTokens: [2],
};

function model(
  family: TinyFamily,
  change: (arch: DecoderArchitecture) => DecoderArchitecture = (a) => a,
): DecoderWeights {
  const arch = architectureOf(tinyConfigs[family]);
  return withBiases(initializeWeights(change({ ...arch, maxPositions: 128 }), createRng(7, "neural engine test")));
}

const everyLayer = (arch: DecoderArchitecture, change: Partial<DecoderArchitecture["layers"][number]>) => ({
  ...arch,
  layers: arch.layers.map((l) => ({ ...l, ...change })),
});

/** A middle layer with other widths than its neighbours, one group with two heads and one with one. */
const ragged = (weights: DecoderWeights): DecoderWeights =>
  pruneHeads(
    weights,
    weights.arch.layers.map((_, l) => (l === 0 ? [1] : l === 1 ? [2, 3] : [])),
  );

const cases: [string, DecoderWeights, Partial<NeuralEngineOptions>][] = [
  ["llama", model("llama"), {}],
  ["llama with biases", model("biased"), {}],
  ["llama with biases, pruned unevenly", ragged(model("biased")), {}],
  ["granite, whose halves and logits are scaled", model("granite"), {}],
  ["olmo 2, norms behind the blocks alone", model("olmo2"), {}],
  ["gemma 3, rings that wrap", model("gemma3"), {}],
  ["llama, pruned unevenly", ragged(model("llama")), {}],
  ["gemma 3, pruned unevenly, head in parts", ragged(model("gemma3")), { largestHeadPart: 20 }],
  [
    "gemma 3 with soft caps",
    model("gemma3", (a) => everyLayer({ ...a, finalSoftcap: 3 }, { attentionSoftcap: 2 })),
    {},
  ],
  [
    "two windows and heads of several widths",
    model("gemma3", (a) => ({
      ...a,
      layers: a.layers.map((l, i) =>
        i === 1
          ? { ...l, window: 41 }
          : i === 2
            ? {
                ...l,
                headDim: 40,
                rope: { inverseFrequencies: Array.from({ length: 20 }, (_, k) => 2 ** -k), attentionFactor: 1.1 },
              }
            : l,
      ),
    })),
    {},
  ],
  ["llama without states", model("llama"), { cacheForm: "arguments" }],
  ["gemma 3 without states", ragged(model("gemma3")), { cacheForm: "arguments" }],
  ["gemma 3, only the last logits", model("gemma3"), { prefillLogits: "last" }],
];

const ids = [...tinyIds(90, 48)];

test.each(cases)(
  "%s: fp32 logits are those of the whole sequence, prefilled, padded, grown and decoded",
  async (_n, weights, change) => {
    const plan = neuralEnginePlan(weights.arch, { ...options, ...change });
    const program = neuralEngineProgram(weights.arch, await dense(weights), plan, "fp32");
    const found = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen" });
    const expected = await wholeSequence(engine, weights, ids);
    const { vocab } = weights.arch;
    const session = found.open();
    // 50 tokens as they come in chunks of 16, a padded one last; then one by one; then another padded chunk; then to the end.
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

test("the plain layout with a cache says the same", async () => {
  const weights = ragged(model("gemma3"));
  const plan = neuralEnginePlan(weights.arch, { ...options, contexts: [64] });
  const program = neuralEngineProgram(weights.arch, await dense(weights), plan, "fp32");
  const session = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen" }).open();
  const plain = (await stepModel(engine, weights, { context: 64 })).open();
  for (let i = 0; i < 60; i++) {
    const token = [ids[i] as number];
    expect(difference(await plain.feed(token, i), await session.feed(token, i))).toBeLessThan(1e-4);
  }
});

test("runs of heads follow groups of any size", () => {
  const layer = model("llama").arch.layers[0] as DecoderArchitecture["layers"][number];
  const runs = headRuns({ ...layer, queryHeads: 8, kvGroups: 5, headToGroup: [0, 0, 1, 1, 2, 4, 4, 4] });
  expect(runs).toEqual([
    { heads: [0, 4], groups: [0, 2], perGroup: 2 },
    { heads: [4, 5], groups: [2, 3], perGroup: 1 },
    { heads: [5, 8], groups: [4, 5], perGroup: 3 },
  ]);
});

test.each(["llama", "qwen3", "gemma3"] as const)(
  "%s: rounded to fp16 after every operation, logits and text stay the model's",
  async (family) => {
    const { shipped, exact } = await rounded(ragged(model(family)));
    const plan = neuralEnginePlan(exact.arch, { ...options, prefillLogits: "last" });
    const path = join(await temporaryFolder(), "Tiny.mlpackage");
    await writePackage(path, neuralEngineProgram(exact.arch, shipped, plan), {
      shortDescription: "tiny",
      author: "test",
      license: "",
      version: "1",
      userDefined: { [INTERFACE_KEY]: JSON.stringify(plan.interface) },
    });
    const read = await packageModel(engine, await readPackage(path), "round");
    const reference = await stepModel(engine, exact, { context: 96 });
    const expected = await decoded(reference, ids.slice(0, 60));
    const found = await decoded(read, ids.slice(0, 60));
    expect(difference(expected, found) / largest(expected)).toBeLessThan(0.01);

    // 25 tokens of prompt: one whole chunk and a padded one; the text then grows out of the context of 64.
    const prompt = ids.slice(0, 25);
    const text = await generate(reference, prompt, { maxTokens: 64 });
    expect(text).toHaveLength(64);
    expect(await generate(read, prompt, { maxTokens: 64 })).toEqual(text);
  },
);

test("prefill in short chunks and decode give the logits of one long prefill", async () => {
  const { shipped, exact } = await rounded(model("gemma3"));
  const plan = neuralEnginePlan(exact.arch, { ...options, contexts: [96], prefill: [8, 32], prefillLogits: "last" });
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  const m = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen" });
  const long = m.open({ only: ["prefill32_96"] });
  const mixed = m.open({ only: ["prefill8_96", "decode_96"] });
  await long.feed(ids.slice(0, 32), 0);
  const one = await long.feed(ids.slice(32, 60), 32);
  for (let at = 0; at < 48; at += 8) await mixed.feed(ids.slice(at, at + 8), at);
  let two = new Float32Array();
  for (let at = 48; at < 60; at++) two = new Float32Array(await mixed.feed([ids[at] as number], at));
  expect(difference(one, two)).toBeLessThan(2e-4 * largest(one));
  await expect(mixed.feed([1], 96)).rejects.toMatchObject({ code: "input/invalid" });
});

/** A model whose blocks write `factor` times as much to the stream, and whose embedding is 10 000 times as large. */
function loud(weights: DecoderWeights, factor: number): DecoderWeights {
  const sandwich = weights.arch.layers[0]?.outputNorms === true;
  const writers = sandwich ? /_(postAttentionNorm|postMlpNorm)$/ : /_(output|down)$/;
  const tensors = new Map(
    [...weights.tensors].map(([name, t]) => {
      const v = float32Data(t);
      if (!writers.test(name)) return [name, t];
      // Gemma's gain is 1 + w.
      const { normOffset } = weights.arch;
      return [
        name,
        f32(t.shape, sandwich ? v.map((x) => (x + normOffset) * factor - normOffset) : v.map((x) => x * factor)),
      ];
    }),
  );
  return { ...weights, arch: { ...weights.arch, embeddingScale: weights.arch.embeddingScale * 10_000 }, tensors };
}

test("a stream that products read without a norm is scaled in their weights", async () => {
  const weights = model("olmo2");
  const plan = neuralEnginePlan(weights.arch, options);
  const whole = unscaled(weights.arch.layers.length);
  const scaling = { ...whole, stream: 0.25, layers: whole.layers.map((l) => ({ ...l, inner: 0.5, attention: 0.125 })) };
  const scaled = scaledPlan(plan, scaling);
  const program = neuralEngineProgram(weights.arch, await dense(weights), scaled, "fp32");
  const tokens = ids.slice(0, 12);
  const found = await decoded(openNeuralEngineModel(engine, program, scaled.interface, { float16: "widen" }), tokens);
  const expected = await decoded(await stepModel(engine, weights, { context: 64 }), tokens);
  expect(difference(expected, found)).toBeLessThan(1e-4);
});

test.each([
  ["llama", "inside"],
  ["granite", "inside"],
  ["gemma3", "inside"],
  ["gemma3", "host"],
] as const)("%s, embedding %s: a stream beyond fp16 fails as it is and works scaled", async (family, embedding) => {
  const { shipped, exact } = await rounded(loud(model(family), 60000));
  const plan = neuralEnginePlan(exact.arch, { ...options, embedding });
  const outside = embedding === "host" ? hostEmbedding(shipped.get("embedding") as CompressedWeight) : null;
  const tokens = ids.slice(0, 40);
  const expected = await decoded(await stepModel(engine, exact, { context: 64 }), tokens);
  const open = (p: NeuralEnginePlan) => {
    const program = neuralEngineProgram(exact.arch, shipped, p);
    const m = openNeuralEngineModel(engine, program, p.interface, { float16: "round", embedding: outside });
    return { m, headroom: () => measureHeadroom(engine, program, p.interface, [tokens], { embedding: outside }) };
  };
  const asItIs = open(plan);
  await expect(decoded(asItIs.m, tokens)).rejects.toMatchObject({ code: "numeric/non-finite" });

  const before = await asItIs.headroom();
  expect(before.worst).toBeLessThan(1);
  const scaling = scalingFor(exact.arch.layers, before);
  expect(scaling.stream).toBeLessThanOrEqual(0.25);
  expect(Number.isInteger(Math.log2(scaling.stream))).toBe(true);
  const scaled = open(scaledPlan(plan, scaling));
  expect((await scaled.headroom()).worst).toBeGreaterThan(1);
  const found = await decoded(scaled.m, tokens);
  expect(difference(expected, found) / largest(expected)).toBeLessThan(0.01);
});

test.each(["llama", "gemma3"] as const)("%s: overflow inside a block is scaled away", async (family) => {
  const quiet = model(family);
  const tensors = new Map(
    [...quiet.tensors].map(([n, t]) => [
      n,
      /L1_(gate|up)/.test(n)
        ? f32(
            t.shape,
            float32Data(t).map((x) => x * 400),
          )
        : t,
    ]),
  );
  const { shipped, exact } = await rounded({ ...quiet, tensors });
  const plan = neuralEnginePlan(exact.arch, options);
  const tokens = ids.slice(0, 24);
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  const before = await measureHeadroom(engine, program, plan.interface, [tokens]);
  expect(before.layers[1]?.inner).toBeGreaterThan(65504);
  expect(before.layers[1]?.insideAt).toMatch(/^L1_mlp_/);
  const scaling = scalingFor(exact.arch.layers, before);
  expect(scaling.layers[1]?.inner).toBeLessThan(1);
  expect(scaling.layers[0]).toEqual({ attention: 1, inner: 1, mlp: 1, perLayer: 1 });
  const scaled = neuralEngineProgram(exact.arch, shipped, scaledPlan(plan, scaling));
  const found = await decoded(openNeuralEngineModel(engine, scaled, plan.interface, { float16: "round" }), tokens);
  const expected = await decoded(await stepModel(engine, exact, { context: 64 }), tokens);
  expect(difference(expected, found) / largest(expected)).toBeLessThan(0.02);
});

test.each([
  [{ contexts: [50] }, "not a multiple of 32"],
  [{ contexts: [] }, "at least one context"],
  [{ contexts: [256] }, "beyond the model's 128"],
  [{ prefill: [48] }, "wider than the 32 slots of kv_ring"],
  [{ prefill: [1] }, "at least 2 positions"],
])("%j is refused: %s", (change, message) => {
  expect(() => neuralEnginePlan(model("gemma3").arch, { ...options, ...change })).toThrow(message);
});

test("an embedding looked up by the host, of any kind, gives the model's logits", async () => {
  const folder = await temporaryFolder();
  for (const kind of ["fp16", "int8", "int4", "palette"] as const) {
    const { shipped, exact } = await rounded(model("gemma3"));
    const dense = shipped.get("embedding") as CompressedWeight;
    const v = decodeWeight(dense);
    const table = {
      fp16: () => dense,
      int8: () => quantizeAffine(v, dense.shape, { bits: 8, groupSize: null, symmetric: true, clipSearch: false }),
      int4: () => quantizeAffine(v, dense.shape, { bits: 4, groupSize: 8, symmetric: false, clipSearch: false }),
      palette: () => palettize(v, dense.shape, { bits: 3, rowsPerTable: 16 }),
    }[kind]();
    shipped.set("embedding", table);
    const tensors = new Map(exact.tensors).set("embedding", f32(table.shape, decodeWeight(table)));
    const path = join(folder, `${kind}.safetensors`);
    await writeEmbedding(path, table);
    const plan = neuralEnginePlan(exact.arch, { ...options, embedding: "host", embeddingFile: `${kind}.safetensors` });
    const program = neuralEngineProgram(exact.arch, shipped, plan);
    expect(program.functions[0]?.inputs.map((i) => i.name)).not.toContain("ids");
    expect(() => openNeuralEngineModel(engine, program, plan.interface, { float16: "widen" })).toThrow("is needed");
    const embedding = await openEmbedding(path);
    const whole = decodeWeight(table);
    const picked = [0, 17, 47, 17];
    expect([...(await embedding.rows(picked))]).toEqual(
      picked.flatMap((t) => [...whole.subarray(t * 32, t * 32 + 32)]),
    );
    const m = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen", embedding });
    const session = m.open();
    const expected = await decoded(await stepModel(engine, { ...exact, tensors }, { context: 64 }), ids.slice(0, 20));
    const found = await session.feed(ids.slice(0, 16), 0);
    expect(difference(expected.subarray(0, found.length), found) / largest(expected)).toBeLessThan(5e-3);
  }
});

test.each([6, 24, 48])("a head in parts, its tables of %i rows: the model's logits", async (rowsPerTable) => {
  const { shipped, exact } = await rounded(model("gemma3"));
  const dense = shipped.get("embedding") as CompressedWeight;
  const table = palettize(decodeWeight(dense), dense.shape, { bits: 4, rowsPerTable });
  shipped.set("embedding", table);
  const tensors = new Map(exact.tensors).set("embedding", f32(table.shape, decodeWeight(table)));
  const inParts = { ...options, largestHeadPart: 20, headRowsTogether: rowsPerTable };
  const plan = neuralEnginePlan(exact.arch, inParts);
  expect(plan.interface.logits.length).toBeGreaterThan(2);
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  const m = openNeuralEngineModel(engine, program, plan.interface, { float16: "widen" });
  const expected = await decoded(await stepModel(engine, { ...exact, tensors }, { context: 64 }), ids.slice(0, 12));
  expect(difference(expected, await decoded(m, ids.slice(0, 12))) / largest(expected)).toBeLessThan(5e-3);
});

test("a package without states carries its caches through the host", async () => {
  const { shipped, exact } = await rounded(ragged(model("gemma3")));
  const plan = neuralEnginePlan(exact.arch, { ...options, cacheForm: "arguments", prefillLogits: "last" });
  const program = neuralEngineProgram(exact.arch, shipped, plan);
  for (const fn of program.functions) {
    expect(fn.operations.map((o) => o.type)).not.toContain("slice_update");
    expect(fn.inputs.every((i) => i.type.kind === "tensor")).toBe(true);
  }
  const prompt = ids.slice(0, 21);
  const text = await generate(await stepModel(engine, exact, { context: 96 }), prompt, { maxTokens: 48 });
  const m = openNeuralEngineModel(engine, program, plan.interface, { float16: "round" });
  expect(await generate(m, prompt, { maxTokens: 48 })).toEqual(text);
});

test("graphs keep to what the engine takes: fp16, rank 4, no integers computed, nothing compared, no infinities", async () => {
  const { shipped, exact } = await rounded(ragged(model("gemma3")));
  for (const cacheForm of ["state", "arguments"] as const) {
    const plan = neuralEnginePlan(exact.arch, { ...options, cacheForm });
    for (const fn of neuralEngineProgram(exact.arch, shipped, plan).functions) {
      const states = fn.inputs.flatMap((i) => (i.type.kind === "state" ? [i.type.wrapped] : []));
      expect(states.length).toBeLessThanOrEqual(2);
      for (const s of states) expect(s.shape.slice(-2).map((d) => d % 32)).toEqual([0, 0]);
      for (const op of fn.operations) {
        expect(
          ["add", "sub", "mul", "less", "less_equal", "greater", "equal", "cast", "select"].includes(op.type) &&
            op.outputs[0]?.type.kind === "tensor" &&
            op.outputs[0].type.dtype !== "fp16",
        ).toBe(false);
        for (const o of op.outputs) {
          if (o.type.kind !== "tensor") continue;
          expect(o.type.dtype).not.toBe("fp32");
          expect(o.type.shape.length).toBeLessThanOrEqual(4);
        }
        const bits = op.constant?.dtype === "fp16" ? [...op.constant.data] : [];
        expect(bits.some((v) => (v & 0x7c00) === 0x7c00)).toBe(false);
      }
    }
  }
});

test("no part of a head cuts through rows that share a table", () => {
  const ends = (vocab: number, largest: number, together?: number): number[] => {
    const parts = headParts(vocab, largest, together);
    expect(parts[0]?.from).toBe(0);
    for (const [i, p] of parts.entries()) {
      expect(p.to - p.from).toBeLessThanOrEqual(largest);
      expect(p.to).toBe(parts[i + 1]?.from ?? vocab);
    }
    return parts.map((p) => p.to);
  };
  expect(ends(262_144, 16_384)).toHaveLength(16);
  // 262145 = 5 · 13 · 37 · 109: tables of 13 rows, in parts of multiples of 832 = 13 · 64.
  expect(ends(262_145, 16_384, 13).every((end) => end === 262_145 || end % 832 === 0)).toBe(true);
  // 509 · 64 is more than a part.
  expect(ends(50_900, 16_384, 509).every((end) => end % 509 === 0)).toBe(true);
  // 32001 = 3 · 10667, and one table of more rows than a part holds.
  expect(ends(32_001, 16_384, 10_667)).toEqual([10_667, 21_334, 32_001]);
  expect(ends(50_257, 16_384, 50_257)).toEqual(ends(50_257, 16_384));
  expect(ends(40_022, 16_384, 20_011)).toContain(20_011);
  expect(ends(300, 301)).toEqual([300]);
});
