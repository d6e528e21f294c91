/** What is particular to Gemma 4: its shapes, shared keys and values, and the table of per-layer embeddings. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../experiments/model-session.ts";
import { allValues } from "../../test/fixtures/all-values.ts";
import { releasedModels } from "../../test/fixtures/released-configs.ts";
import {
  temporaryFolder,
  tinyConfigs,
  tinyIds,
  tinyModel,
  writeTinyCheckpoint,
} from "../../test/fixtures/tiny-model.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { writeCheckpoint } from "../checkpoint/write-checkpoint.ts";
import { leaveOneOut } from "../compress/importance/leave-one-out.ts";
import { gateGradients } from "../compress/importance/taylor.ts";
import { selectHeads, selectionByName } from "../compress/prune/prune-selection.ts";
import { pruneHeads } from "../compress/prune/slice.ts";
import { compressByRows } from "../compress/quantize/by-rows.ts";
import { palettize } from "../compress/quantize/palettize.ts";
import { quantizeAffine } from "../compress/quantize/round-to-nearest.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import type { TokenSequence } from "../eval/sequences.ts";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import { textObjective, trainingProgram } from "../train/training-program.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { cacheStates } from "./decoding-step.ts";
import { architectureOf, configFor } from "./families/registry.ts";
import { initializeWeights } from "./initialize.ts";
import { DecoderRunner, type Gates } from "./runner.ts";
import { type DecoderWeights, memoryTable, perLayerRows } from "./weights.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

test.each([
  ["gemma4-e2b", 13, 14],
  ["gemma4-e4b", 22, 23],
  ["gemma4-12b", null, null],
  ["gemma4-31b", null, null],
] as const)("%s reads the keys of the right layers, in two head dimensions", (name, sliding, full) => {
  const arch = architectureOf(releasedModels[name].config);
  const last = arch.layers.at(-1);
  const lastSliding = arch.layers.filter((l) => l.window !== null).at(-1);
  expect([lastSliding?.kvSource, last?.kvSource]).toEqual([sliding, full]);
  expect([lastSliding?.headDim, last?.headDim]).toEqual([256, 512]);
});

test("the mixture of experts is refused by name, and other legal-looking configs by what is wrong", () => {
  const bad =
    (change: object): (() => unknown) =>
    () =>
      architectureOf({ ...tinyConfigs.gemma4, ...change });
  expect(bad({ enable_moe_block: true })).toThrow(/mixture of experts \(Gemma 4 26B-A4B\)/);
  expect(bad({ use_bidirectional_attention: "all" })).toThrow(/causal/);
  expect(bad({ num_kv_shared_layers: 5 })).toThrow(/leaves no full_attention layer/);
  expect(bad({ num_kv_shared_layers: 6 })).toThrow(/leaves no/);
  expect(bad({ vocab_size_per_layer_input: 40 })).toThrow(/without a row/);
  expect(bad({ per_layer_config: { 2: { num_attention_heads: 2 } } })).toThrow(/per_layer_config/);
  expect(bad({ per_layer_config: { 2: { head_dim: 16 }, 5: { head_dim: 8 } } })).toThrow(/shapes differ/);
});

test("proportional RoPE turns the first quarter of the pairs, with the exponent over the whole head", () => {
  const { layers } = architectureOf(releasedModels["gemma4-e2b"].config);
  const frequencies = layers[4]?.rope?.inverseFrequencies ?? [];
  expect(frequencies).toHaveLength(256);
  expect(frequencies[1]).toBeCloseTo(1e6 ** (-2 / 512), 12);
  expect(frequencies.filter((f) => f !== 0)).toHaveLength(64);
  expect(frequencies.slice(64).every((f) => f === 0)).toBe(true);
});

test("layers that read another's keys and values have no rows in the cache", () => {
  const states = cacheStates(tinyModel("gemma4").arch, 32);
  // Three layers with keys of their own, two groups each: two sliding, one full.
  expect(states).toEqual([
    { name: "kv_cache_8", headDim: 8, shape: [1, 8, 32, 8] },
    { name: "kv_cache_16", headDim: 16, shape: [1, 4, 32, 16] },
  ]);
});

const sequence = (length: number, seed: number): TokenSequence => ({
  id: `s${seed}`,
  ids: tinyIds(length, 48, seed),
  scoredFrom: 1,
  sizeBytes: length,
});

const shape = { batch: 2, length: 12 };
const ids = tinyIds(24, 48);
const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - (b[i] as number))), 0);

async function logits(weights: DecoderWeights, gatesOf: (layer: number) => Gates = () => ({})): Promise<Float32Array> {
  const runner = new DecoderRunner(engine, weights);
  let stream = await runner.embed(ids, shape);
  for (let l = 0; l < weights.arch.layers.length; l++) stream = await runner.block(l, stream, gatesOf(l));
  return float32Data(await runner.logits(stream));
}

test("closing a group's gate is dropping the heads that read it: of every reader, or of the one that is named", async () => {
  const weights = tinyModel("gemma4", 3);
  // Layer 1 gives its keys and values to the sliding layers 3 and 4.
  for (const [name, layers] of [
    ["L1.G0", [1, 3, 4]],
    ["L4.G0", [4]],
    ["L0.G1", [0]],
  ] as const) {
    const drop = selectionByName(weights.arch, [name]).heads;
    expect(drop.flatMap((heads, l) => (heads.length > 0 ? [l] : []))).toEqual(layers);
    const [layer, group] = [Number(name[1]), Number(name[4])];
    const gate = Float32Array.from({ length: 4 }, (_, i) => (i % 2 === group ? 0 : 1));
    const closed = await logits(weights, (l) => (l === layer ? { groups: f32([2, 2], gate) } : {}));
    const pruned = pruneHeads(weights, drop);
    expect(largestDifference(closed, await logits(pruned))).toBeLessThan(1e-5);
    expect(largestDifference(closed, await logits(weights))).toBeGreaterThan(1e-3);
    expect(pruned.arch.layers[layer]?.kvGroups).toBe(name === "L4.G0" ? 2 : 1);
  }
});

test("whole groups are chosen over all layers that read them", () => {
  const { arch } = tinyModel("gemma4");
  const scores = arch.layers.map((_, l) => [l === 1 ? 0 : 5, l === 1 ? 0 : 5, 1, 1]);
  // Group 1 of layer 1 (heads 2 and 3 of layers 1, 3 and 4) is worth 1 a head, group 0 more, though least in layer 1 itself.
  const drop = selectHeads(arch, scores, 0.5, "groups");
  expect(drop.map((d) => d.join())).toEqual(["2,3", "2,3", "2,3", "2,3", "2,3", "2,3"]);
  const pruned = pruneHeads(tinyModel("gemma4"), drop);
  expect(pruned.arch.layers.map((l) => l.kvGroups)).toEqual([1, 1, 1, 1, 1, 1]);
  // A whole group of every layer is a standard config again.
  const config = configFor(pruned.arch, tinyConfigs.gemma4);
  expect(config).not.toHaveProperty("espalier");
  expect(config).toMatchObject({ num_attention_heads: 2, num_key_value_heads: 1 });
});

test("leave-one-out and Taylor of a layer count its per-layer input, and agree with finite differences", async () => {
  const weights = tinyModel("gemma4", 6);
  const sequences = [sequence(17, 1), sequence(17, 2)];
  const units = [
    { layer: 1, kind: "groups" as const, index: 1 },
    { layer: 4, kind: "groups" as const, index: 0 },
    { layer: 2, kind: "perLayer" as const, index: 0 },
  ];
  const runner = new DecoderRunner(engine, weights);
  const loss = async (seq: TokenSequence, gatesOf: (layer: number) => Gates): Promise<number> => {
    let x = await runner.embed(seq.ids.slice(0, 16), { batch: 1, length: 16 });
    for (let l = 0; l < 6; l++) x = await runner.block(l, x, gatesOf(l));
    return (await runner.loss(x, seq.ids.slice(1))).nll.reduce((t, v) => t + v, 0) / 16;
  };
  const gradients = await gateGradients(engine, weights, sequences, units);
  for (const { unit, perSequence } of gradients) {
    for (const [s, seq] of sequences.entries()) {
      const at = (gate: number): Promise<number> =>
        loss(seq, (l) => {
          if (l !== unit.layer) return {};
          if (unit.kind === "perLayer") return { perLayer: f32([1], [gate]) };
          return { groups: f32([1, 2], [unit.index === 0 ? gate : 1, unit.index === 1 ? gate : 1]) };
        });
      const h = 2e-2;
      const numeric = ((await at(1 + h)) - (await at(1 - h))) / (2 * h);
      expect(Math.abs((perSequence[s] as number) - numeric)).toBeLessThan(2e-4 + 0.02 * Math.abs(numeric));
    }
  }
  const closed: Gates = { attention: f32([1], [0]), mlp: f32([1], [0]), perLayer: f32([1], [0]) };
  const [whole] = (await leaveOneOut(runner, sequences, [{ layer: 3, kind: "layers", index: 0 }])).units;
  for (const [s, seq] of sequences.entries()) {
    const difference = (await loss(seq, (l) => (l === 3 ? closed : {}))) - (await loss(seq, () => ({})));
    expect(whole?.perSequence[s]).toBeCloseTo(difference, 4);
  }
});

test("gradients through per-layer inputs and shared keys and values agree with finite differences", async () => {
  const weights = tinyModel("gemma4", 4);
  const [batch, length] = [1, 10];
  const exe = await engine.compile(trainingProgram(weights.arch, { batch, length }, textObjective));
  const inputs = {
    ids: i32([batch, length], tinyIds(length, 48)),
    targets: i32([length], tinyIds(length, 48, 6)),
    tokenWeights: f32([length], new Float32Array(length).fill(1 / length)),
    ...(await perLayerRows(weights, tinyIds(length, 48), batch)),
  };
  const run = (tensors: ReadonlyMap<string, Tensor>) => exe.run({ ...inputs, ...Object.fromEntries(tensors) });
  const out = await run(weights.tensors);
  expect(out).not.toHaveProperty("d_perLayerEmbedding");
  expect(out).not.toHaveProperty("d_L0_layerScalar");
  for (const name of [
    "L1_key",
    "L1_value",
    "L2_key",
    "L2_value",
    "L2_keyNorm",
    "L4_query",
    "L0_perLayerGate",
    "L5_perLayerProjection",
    "perLayerContext",
    "perLayerContextNorm",
    "embedding",
  ]) {
    const gradient = float32Data(out[`d_${name}`] as Tensor);
    const t = weights.tensors.get(name) as Tensor;
    // Along the gradient itself, so that the difference stands out of fp32's noise.
    const norm = Math.hypot(...gradient);
    expect(norm, name).toBeGreaterThan(0);
    const at = async (h: number): Promise<number> => {
      const moved = float32Data(t).map((v, i) => v + (h * (gradient[i] as number)) / norm);
      return float32Data(
        (await run(new Map(weights.tensors).set(name, f32(t.shape, moved)))).loss as Tensor,
      )[0] as number;
    };
    const h = 1e-2;
    const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
    expect(Math.abs(numeric - norm) / norm, name).toBeLessThan(0.02);
  }
});

const kinds: readonly [string, number, (v: Float32Array, s: readonly number[]) => CompressedWeight][] = [
  ["palettes of 3 bits", 8, (v, s) => palettize(v, s, { bits: 3, rowsPerTable: 8 })],
  ["palettes of 4 bits", 48, (v, s) => palettize(v, s, { bits: 4, rowsPerTable: 48 })],
  [
    "int4 with offsets",
    1,
    (v, s) => quantizeAffine(v, s, { bits: 4, groupSize: 7, symmetric: false, clipSearch: false }),
  ],
  ["int8", 1, (v, s) => quantizeAffine(v, s, { bits: 8, groupSize: null, symmetric: true, clipSearch: false })],
];

test.each(kinds)("rows of a table in %s are read and decoded one by one", async (_, _rows, compress) => {
  // 42 columns, so that rows of 3 bits begin inside a byte.
  const config = { ...tinyConfigs.gemma4, hidden_size_per_layer_input: 7 };
  const weights = initializeWeights(architectureOf(config), createRng(2, "table"));
  const folder = await temporaryFolder();
  const values = new Map<string, Float32Array>();
  const as = async (name: string): Promise<CompressedWeight> => {
    const t = weights.tensors.get(name);
    if (t) return { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) };
    const w = compress(await allValues(weights, name), [48, 42]);
    values.set(name, decodeWeight(w));
    return w;
  };
  await writeCheckpoint(join(folder, "m"), {
    architecture: weights.arch,
    config,
    dtype: "bf16",
    copyFrom: null,
    weight: as,
  });
  const checkpoint = await openCheckpoint(join(folder, "m"));
  const indices = [47, 0, 5, 5, 31, 0];
  const rows = await checkpoint.table("perLayerEmbedding").rows(indices);
  const whole = values.get("perLayerEmbedding") as Float32Array;
  expect([...rows]).toEqual(indices.flatMap((r) => [...whole.subarray(42 * r, 42 * (r + 1))]));
  await checkpoint.close();
});

test.each(kinds)("a table in %s made by rows is the table made whole", async (_, rowsTogether, compress) => {
  const rng = createRng(5, "table");
  const values = Float32Array.from({ length: 48 * 42 }, () => rng.normal());
  const source = memoryTable(f32([48, 42], values));
  const shares: number[] = [];
  const whole = compress(values, [48, 42]);
  const onBlock = (_v: Float32Array, _w: CompressedWeight, share: number): void => {
    shares.push(share);
  };
  const byRows = await compressByRows(source, { rowsTogether, blockElements: 42 * 10, compress, onBlock });
  expect(byRows).toEqual(whole);
  expect(shares).toHaveLength(rowsTogether === 48 ? 1 : rowsTogether === 8 ? 6 : 5);
  expect(shares.at(-1)).toBe(1);
});

test("a multimodal checkpoint is read as its text decoder, shared layers' unused tensors left alone, and pruned to a text model", async () => {
  const folder = await temporaryFolder();
  await writeTinyCheckpoint(join(folder, "text"), "gemma4", 7);
  const text = await openCheckpoint(join(folder, "text"));
  const source = await openSafetensors(join(folder, "text", "model.safetensors"));
  const tensors: TensorToWrite[] = [...source.tensors.values()].map((t) => ({
    ...t,
    name: t.name.replace(/^model\./, "model.language_model."),
    bytes: () => source.readBytes(t.name),
  }));
  const extra = (name: string, dims: number[]): TensorToWrite => ({
    name,
    dtype: "F32",
    shape: dims,
    bytes: () => new Uint8Array(4 * dims.reduce((n, d) => n * d, 1)),
  });
  tensors.push(extra("model.language_model.layers.5.self_attn.k_proj.weight", [32, 32]));
  tensors.push(extra("model.vision_tower.patch.weight", [3, 3]));
  const wrapped = join(folder, "wrapped");
  await writeTinyCheckpoint(wrapped, "gemma4", 7);
  await writeSafetensors(join(wrapped, "model.safetensors"), tensors);
  const { eos_token_id, ...textConfig } = JSON.parse(await readFile(join(folder, "text", "config.json"), "utf8"));
  const wrapper = {
    architectures: ["Gemma4ForConditionalGeneration"],
    model_type: "gemma4",
    eos_token_id,
    text_config: textConfig,
  };
  await writeFile(join(wrapped, "config.json"), JSON.stringify(wrapper));

  const checkpoint = await openCheckpoint(wrapped);
  expect(checkpoint.architecture).toEqual(text.architecture);
  const loaded = await loadWeights(checkpoint);
  expect(await logits(loaded)).toEqual(await logits(await loadWeights(text)));

  const pruned = pruneHeads(loaded, selectionByName(loaded.arch, ["L0.H1", "L1.G0"]).heads);
  await writeCheckpoint(join(folder, "pruned"), {
    architecture: pruned.arch,
    config: checkpoint.config,
    dtype: "f32",
    copyFrom: null,
    weight: async (name) => {
      const t = pruned.tensors.get(name);
      return t ? { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) } : checkpoint.stored(name);
    },
  });
  const again = await openCheckpoint(join(folder, "pruned"));
  expect(again.config).toMatchObject({
    model_type: "gemma4_text",
    architectures: ["Gemma4ForCausalLM"],
    eos_token_id: 1,
  });
  expect(again.architecture).toEqual(pruned.arch);
  expect(await logits(await loadWeights(again))).toEqual(await logits(pruned));
  for (const c of [text, checkpoint, again]) await c.close();
  await source.close();
});
