/** Every scheme of quantize, for every target, in both layouts, on models whose dimensions nothing divides: each ends in a faithful package. */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../../../bench/synthetic-checkpoint.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { writeFileAtomic } from "../../../lib/files/atomic.ts";
import { type TargetName, targetNames } from "../../../lib/formats/coreml/targets.ts";
import { temporaryFolder, tinyConfigs } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../starter/corpus.ts";
import { quantize, quantizeConfig } from "../quantize/quantize.ts";
import type { CoremlCard, ExportCard } from "./card.ts";
import { exportConfig } from "./config.ts";
import { exportExperiment } from "./export.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
let now = 0;
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (r) => r),
  store: memoryStore(),
  clock: { nowMs: () => ++now },
};
let folder = "";
let outputs = 0;

/** 301 = 7 · 43 tokens and 91 = 7 · 13 neurons, as a pruned model has; 307 tokens, a prime, and 172 = 4 · 43 neurons. */
const models = {
  llama: { ...tinyConfigs.llama, vocab_size: 301, intermediate_size: 91, num_hidden_layers: 1 },
  gemma3: {
    ...tinyConfigs.gemma3,
    vocab_size: 307,
    intermediate_size: 172,
    num_hidden_layers: 2,
    layer_types: ["sliding_attention", "full_attention"],
  },
};
type Model = keyof typeof models;

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const [name, config] of Object.entries(models))
    await writeSyntheticCheckpoint(join(folder, name), { ...config, max_position_embeddings: 64 });
  await writeFileAtomic(join(folder, "text.txt"), heldOutDocuments("calibrate", 2).join(SEPARATOR));
});

async function quantized(model: Model, options: Record<string, unknown>): Promise<{ path: string; notes: string[] }> {
  const path = join(folder, `quantized-${outputs++}`);
  const text = join(folder, "text.txt");
  const config = quantizeConfig.parse({
    model: join(folder, model),
    out: path,
    text,
    separator: SEPARATOR,
    context: 32,
    maxTokens: 160,
    weighting: "none",
    ...options,
  });
  return { path, notes: (await runExperiment(quantize, config, context)).notes };
}

async function exported(path: string, target: TargetName, layout: CoremlCard["layout"]): Promise<ExportCard> {
  const out = join(folder, `out-${outputs++}`);
  const config = exportConfig.parse({ model: path, out, target, layout, contexts: [32], prefill: [], checkTokens: 4 });
  return (await runExperiment(exportExperiment, config, context)).card;
}

const palette = { scheme: "palette", rowsPerTable: 16 };
const schemes: [string, Record<string, unknown>][] = [
  ...[1, 2, 3, 4, 6, 8].map((bits): [string, Record<string, unknown>] => [`palette${bits}`, { ...palette, bits }]),
  ["palette with row scales", { ...palette, bits: 4, rowScales: true }],
  ["int8", { scheme: "affine", bits: 8 }],
  ["int8 with offsets", { scheme: "affine", bits: 8, asymmetric: true }],
  ["int8 in blocks", { scheme: "affine", bits: 8, groupSize: 16 }],
  ["int4", { scheme: "affine", bits: 4 }],
  ["int4 in blocks with offsets", { scheme: "affine", bits: 4, groupSize: 16, asymmetric: true }],
  ["a mixture", { rowsPerTable: 8, recipe: { default: "palette4", mlp: "affine8", roles: { down: "palette3" } } }],
];

const layouts = ["plain", "neural-engine"] as const;
/** Kept as they are by systems before iOS 18; of the rest a package has the same values in another form, and says so. */
const asTheyAre = ["int8", "int8 with offsets"];
const inBlocks = (name: string): boolean => name.includes("blocks");

async function checkAll(name: string, path: string): Promise<void> {
  for (const target of targetNames)
    for (const layout of layouts) {
      const card = await exported(path, target, layout);
      expect([target, layout, card.faithful]).toEqual([target, layout, { ok: true, reasons: [] }]);
      const changed = target === "iOS17" ? !asTheyAre.includes(name) : layout === "neural-engine" && inBlocks(name);
      expect(card.notes.length > 0).toBe(changed);
    }
}

test.each(schemes)(
  "llama, %s",
  async (name, options) => {
    const { path, notes } = await quantized("llama", options);
    const grouped = options.scheme !== "affine" || inBlocks(name);
    expect(notes.some((n) => n.includes("do not divide"))).toBe(grouped);
    await checkAll(name, path);
  },
  120_000,
);

test.each(schemes.filter(([name]) => ["palette4", "palette with row scales", "a mixture"].includes(name)))(
  "gemma3, %s",
  async (name, options) => checkAll(name, (await quantized("gemma3", options)).path),
  120_000,
);

test.each([
  ["palettes", { ...palette, bits: 4 }],
  ["palettes with row scales", { ...palette, bits: 6, rowScales: true }],
  ["blocks", { scheme: "affine", bits: 8, groupSize: 16, asymmetric: true }],
  ["what a search chooses", { maxBits: 5, widths: ["palette4", "palette3", "affine4", "affine8"] }],
] as const)(
  "%s quantized for iOS 17 are stored there as they are",
  async (_name, options) => {
    const { path } = await quantized("llama", { ...options, target: "iOS17" });
    for (const layout of layouts) {
      const card = await exported(path, "iOS17", layout);
      expect(card).toMatchObject({ faithful: { ok: true }, notes: [] });
      expect(card.bitsPerWeight).toBeLessThan(10);
    }
  },
  120_000,
);

test("a width that iOS 17 does not store is refused by tensor, with those it does", async () => {
  await expect(
    quantized("llama", { recipe: { tensors: { "L0.down": "palette3" } }, target: "iOS17" }),
  ).rejects.toMatchObject({
    code: "input/invalid",
    message: "L0.down: iOS 17 does not store palette3",
    hint: "It stores palette1, palette2, palette4, palette6, palette8, affine8, fp16.",
  });
  await expect(quantized("llama", { scheme: "affine", bits: 4, target: "iOS17" })).rejects.toMatchObject({
    message: "--bits: iOS 17 does not store affine4",
  });
  await expect(quantized("llama", { maxBits: 4, widths: ["palette3"], target: "iOS17" })).rejects.toMatchObject({
    message: "iOS 17 can store none of palette3",
  });
});
