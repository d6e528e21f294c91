/** What is written as GGUF computes what the model did: read by our own reader, which agrees with the gguf package. */

import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../../experiments/model-session.ts";
import { allValues } from "../../../test/fixtures/all-values.ts";
import { bytePairMetadata, sentencePieceMetadata } from "../../../test/fixtures/gguf-tokenizer.ts";
import { temporaryFolder, tinyConfigs, tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { type Checkpoint, openCheckpoint } from "../../checkpoint/checkpoint.ts";
import { madeFrom } from "../../checkpoint/made-from.ts";
import { writeCheckpoint } from "../../checkpoint/write-checkpoint.ts";
import { selectionByName } from "../../compress/prune/prune-selection.ts";
import { pruneHeads, pruneModel } from "../../compress/prune/slice.ts";
import { architectureOf } from "../../decoder/families/registry.ts";
import { initializeWeights } from "../../decoder/initialize.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { type DecoderWeights, weightList } from "../../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import type { WrittenType } from "../../formats/gguf/quantize.ts";
import { predictGguf, writeGguf } from "../../formats/gguf/write.ts";
import { float32Data } from "../../mil/tensor.ts";
import { createRng } from "../../random.ts";
import { tokenizerKeys } from "../../tokenizer/gguf-metadata.ts";
import { tokenizerFilesFromGguf } from "../../tokenizer/gguf-tokenizer.ts";
import { tokenizerOf } from "../../tokenizer/tokenizer.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { evenWidths } from "../even-widths.ts";
import { ggufModel } from "./gguf-model.ts";
import { type AskedType, askedType, fittingType, nearestType } from "./tensor-types.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

async function folderOf(
  weights: DecoderWeights,
  config: Readonly<Record<string, unknown>>,
  codes: Readonly<Record<string, CompressedWeight>> = {},
): Promise<Checkpoint> {
  const folder = join(await temporaryFolder(), "model");
  await writeCheckpoint(folder, {
    architecture: weights.arch,
    config,
    dtype: "f32",
    copyFrom: null,
    weight: async (name) => {
      const values = await allValues(weights, name);
      const shape = weights.tensors.get(name)?.shape ?? [];
      return codes[name] ?? { kind: "dense", dtype: "fp32", shape, values };
    },
  });
  return openCheckpoint(folder);
}

async function written(checkpoint: Checkpoint, type: WrittenType | null) {
  const model = ggufModel(checkpoint, type, "tiny");
  const path = join(await temporaryFolder(), "model.gguf");
  await writeGguf(path, model.keys, model.tensors);
  const read = await openCheckpoint(path);
  return { model, read };
}

async function logitsOf(checkpoint: Checkpoint): Promise<Float32Array> {
  const runner = new DecoderRunner(engine, await loadWeights(checkpoint));
  const ids = tinyIds(24, 48);
  return float32Data(await runner.logits(await runner.blocks(await runner.embed(ids, { batch: 1, length: 24 }))));
}

function expectEqualLogits(a: Float32Array, b: Float32Array): void {
  const largest = Math.max(...a.map(Math.abs));
  expect(a.length).toBe(b.length);
  expect(Math.max(...a.map((v, i) => Math.abs(v - (b[i] ?? 0)))) / largest).toBeLessThan(2e-6);
}

const uneven = {
  llama: ["L0.H0", "L0.N0-7", "L1.H2", "L1.H3"],
  granite: ["L1.H2", "L1.H3", "L1.N0-15"],
  olmo2: ["L1.N0-15"],
  qwen3: ["L0.H0", "L0.H1", "L1.N0-15"],
  gemma3: ["L0.H3", "L1.N0-7", "L2.H0", "L2.H1"],
} as const;

test.each(Object.keys(uneven) as (keyof typeof uneven)[])(
  "%s, pruned unevenly: zeros even it out, and the logits stay",
  async (family) => {
    const whole = tinyModel(family);
    const origin = await folderOf(whole, tinyConfigs[family]);
    expectEqualLogits(await logitsOf(origin), await logitsOf((await written(origin, "F32")).read));

    const before = await loadWeights(origin);
    const made = pruneModel(before, selectionByName(before.arch, uneven[family]));
    const folder = join(await temporaryFolder(), "pruned");
    await writeCheckpoint(folder, {
      architecture: made.arch,
      config: origin.config,
      copyFrom: origin,
      ...madeFrom(origin, before, made),
    });
    const pruned = await openCheckpoint(folder);
    const { model, read } = await written(pruned, "F32");
    expect(model.paddedWeights).toBeGreaterThan(0);
    expect(new Set(read.architecture.layers.map((l) => `${l.queryHeads} ${l.kvGroups} ${l.neurons}`)).size).toBe(1);
    expectEqualLogits(await logitsOf(pruned), await logitsOf(read));
  },
);

test("a scale of attention that llama.cpp does not know goes into the norm of the queries", async () => {
  const config = { ...tinyConfigs.gemma3, query_pre_attn_scalar: 3 };
  const origin = await folderOf(initializeWeights(architectureOf(config), createRng(4, "scaled")), config);
  const { read } = await written(origin, "F32");
  expect(read.config.query_pre_attn_scalar).toBe(8);
  expectEqualLogits(await logitsOf(origin), await logitsOf(read));
});

const wide = { ...tinyConfigs.llama, hidden_size: 64, intermediate_size: 96, head_dim: 32, num_attention_heads: 4 };

function codesOf(shape: readonly number[], bits: 4 | 8, group: number): CompressedWeight {
  const [rows = 1, columns = 1] = shape;
  const half = 2 ** (bits - 1);
  const scaleShape = [rows, columns / group];
  const scales = Float32Array.from({ length: (rows * columns) / group }, (_, i) => 2 ** -(i % 5) / 64);
  const codes = Int8Array.from({ length: rows * columns }, (_, i) => ((i * 31) % (2 * half)) - half);
  return { kind: "affine", bits, shape, codes, scales, scaleShape, offsets: null };
}

test("codes that a type has a place for are kept; others are quantized, floats stay as they are stored", async () => {
  const weights = initializeWeights(architectureOf(wide), createRng(5, "codes"));
  const shape = (name: string): readonly number[] => weights.tensors.get(name)?.shape ?? [];
  const codes = {
    L0_query: codesOf(shape("L0_query"), 4, 32),
    L0_up: codesOf(shape("L0_up"), 4, 64),
    L1_down: codesOf(shape("L1_down"), 8, 96),
    L1_key: codesOf(shape("L1_key"), 4, 16),
  };
  const origin = await folderOf(weights, wide, codes);
  const { model, read } = await written(origin, null);
  const of = (name: string) => model.tensors.find((t) => t.weight === name);
  for (const [name, type] of [
    ["L0_query", "Q4_0"],
    ["L0_up", "Q4_0"],
    ["L1_down", "Q8_0"],
  ] as const) {
    expect(of(name), name).toMatchObject({ type, fidelity: "kept" });
    const there = await read.weight(name);
    expect(there.kind === "dense" ? there.values : null, name).toEqual(decodeWeight(codes[name]));
  }
  // Nearest to four bits, in rows that the K types do not divide.
  expect(of("L1_key")).toMatchObject({ type: "Q5_0", fidelity: "quantized" });
  expect(of("L0_gate")).toMatchObject({ type: "F16", fidelity: "rounded" });
  expect((await written(origin, "Q4_1")).model.tensors.find((t) => t.weight === "L0_gate")).toMatchObject({
    type: "Q4_1",
  });
  expect(predictGguf(model.keys, model.tensors)).toBeGreaterThan(read.sizeBytes);
});

test("types follow the mixture, the width of rows and the bits of codes", () => {
  const { arch } = initializeWeights(architectureOf({ ...wide, num_hidden_layers: 8 }), createRng(5, "mixed"));
  const entry = (name: string) => weightList(arch).find((e) => e.name === name) ?? expect.fail(name);
  const of = (asked: AskedType) =>
    ["embedding", "L0_down", "L1_down", "L3_value", "L7_value", "L2_query"].map((n) =>
      askedType(asked, entry(n), arch),
    );
  expect(of("Q4_K_M")).toEqual(["Q6_K", "Q6_K", "Q4_K", "Q6_K", "Q6_K", "Q4_K"]);
  expect(of("Q3_K_M")).toEqual(["Q6_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q3_K"]);
  expect(of("Q5_1")).toEqual(Array(6).fill("Q5_1"));
  expect([512, 576, 40].map((columns) => fittingType("Q4_K", columns))).toEqual(["Q4_K", "Q5_0", "F16"]);
  const shape = [8, 256];
  const palette = (bits: 1 | 3 | 4 | 6) => nearestType({ kind: "palette", bits, shape, rowsPerTable: 8 });
  expect([palette(1), palette(3), palette(4), palette(6)]).toEqual(["Q2_K", "Q3_K", "Q4_K", "Q6_K"]);
});

test("importances follow the columns of uneven layers, and lessen the error that they weigh", async () => {
  const config = { ...wide, intermediate_size: 64 };
  const weights = initializeWeights(architectureOf(config), createRng(8, "important"));
  const made = pruneModel(weights, selectionByName(weights.arch, ["L0.N0-31"]));
  const origin = await folderOf(made, config);
  const importance = Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? 0 : 4 ** (i % 5)));
  const lost = async (importances: ReadonlyMap<string, Float32Array>): Promise<number> => {
    const path = join(await temporaryFolder(), "model.gguf");
    const model = ggufModel(origin, "Q4_0", "tiny", importances);
    await writeGguf(path, model.keys, model.tensors);
    const there = await (await openCheckpoint(path)).layerTensor(0, "down");
    const values = await origin.layerTensor(0, "down");
    return values.reduce((sum, x, i) => {
      const [row, column] = [Math.floor(i / 32), i % 32];
      return sum + (importance[column] ?? 0) * (x - (there[row * 64 + column] ?? 0)) ** 2;
    }, 0);
  };
  expect(await lost(new Map([["L0_down", importance]]))).toBeLessThan(0.9 * (await lost(new Map())));
});

test("rows that are no whole blocks stay F16, and models that no architecture holds are refused", async () => {
  const config = { ...tinyConfigs.llama, hidden_size: 40 };
  const origin = await folderOf(initializeWeights(architectureOf(config), createRng(6, "odd")), config);
  const { tensors } = ggufModel(origin, "Q8_0", "odd");
  expect(tensors.find((t) => t.weight === "L0_query")).toMatchObject({ type: "F16" });
  expect(tensors.find((t) => t.weight === "L0_output")).toMatchObject({ type: "Q8_0" });

  const gemma4 = await openCheckpoint(join(import.meta.dirname, "../../../test/golden/gemma4"));
  expect(() => ggufModel(gemma4, null, "x")).toThrow("gemma4_text are not written as GGUF");
  const windowed = { ...tinyConfigs.qwen3, use_sliding_window: true, sliding_window: 8, max_window_layers: 1 };
  const qwen3 = await folderOf(initializeWeights(architectureOf(windowed), createRng(6, "q")), windowed);
  expect(() => ggufModel(qwen3, null, "x")).toThrow("the window of layer 1");
  const headsGone = pruneHeads(tinyModel("granite"), [
    [0, 2],
    [1, 3],
  ]);
  const granite = await folderOf(headsGone, { ...tinyConfigs.granite, num_attention_heads: 2, head_dim: 8 });
  expect(() => ggufModel(granite, null, "x")).toThrow("2 heads of 8 for a width of 32");
  expect(() => evenWidths(tinyModel("gemma4").arch)).toThrow("8 and 16 channels");
});

test.each([
  ["byte-level pairs", bytePairMetadata()],
  ["pieces with scores", sentencePieceMetadata()],
] as const)("a tokenizer of %s comes back as it was", (_kind, metadata) => {
  const files = tokenizerFilesFromGguf(metadata);
  const contents = { tokenizer: files.tokenizer, own: files.config, generation: files.generation, model: null };
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const vocab = (Array.isArray(tokens) ? tokens.length : 0) + 3;
  const keys = tokenizerKeys({
    ...contents,
    chatTemplate: files.chatTemplate,
    vocab,
    adds: { bos: files.config.add_bos_token === true, eos: false },
  });
  const back = new Map<string, unknown>(keys.map((k) => [k.key, k.value]));
  for (const key of ["model", "pre", "merges", "bos_token_id", "eos_token_id", "add_bos_token", "unknown_token_id"])
    expect(back.get(`tokenizer.ggml.${key}`), key).toEqual(metadata.get(`tokenizer.ggml.${key}`));
  expect(back.get("tokenizer.chat_template")).toEqual(metadata.get("tokenizer.chat_template"));
  expect(
    Array(back.get("tokenizer.ggml.token_type"))
      .flat()
      .slice(0, vocab - 3),
  ).toEqual(metadata.get("tokenizer.ggml.token_type"));
  const again = tokenizerFilesFromGguf(back);
  const [first, second] = [
    contents,
    { tokenizer: again.tokenizer, own: again.config, generation: again.generation, model: null },
  ].map((c) => tokenizerOf(c, "a test"));
  for (const text of ["hello world 12", "  日本é<tool>\n\n<|im_end|>", "▁hello"])
    expect(second?.encode(text)).toEqual(first?.encode(text));
  expect(second?.eosIds).toEqual(first?.eosIds);
});
