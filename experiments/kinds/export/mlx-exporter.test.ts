/** A model as an MLX folder: codes that fit are kept, others cost what the card says; mlx-lm itself runs folders in the oracle tier. */
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import {
  decodeGroups,
  mlxBits,
  packCodes,
  quantizeGroups,
  unpackCodes,
} from "../../../lib/formats/mlx/affine-groups.ts";
import { tinyGgufBytes } from "../../../test/fixtures/tiny-gguf.ts";
import { temporaryFolder, writeTinyCheckpoint } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../starter/corpus.ts";
import { prune, pruneConfig } from "../prune/prune.ts";
import { quantize, quantizeConfig } from "../quantize/quantize.ts";
import type { MlxCard } from "./card.ts";
import { exportConfig } from "./config.ts";
import { exportExperiment } from "./export.ts";
import { exporterOf } from "./exporters.ts";

const starter = join(import.meta.dirname, "../../starter/model");
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (path) => path),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};

async function exported(model: string, more: Record<string, unknown> = {}): Promise<{ card: MlxCard; folder: string }> {
  const out = join(await temporaryFolder(), "out");
  const config = exportConfig.parse({ model, to: "mlx", out, checkTokens: 4, maxKl: 5, ...more });
  const { card } = await runExperiment(exportExperiment, config, context);
  if (card.to !== "mlx") throw new Error(`a card for ${card.to}`);
  return { card, folder: join(out, card.file) };
}

test.each(mlxBits)("%i bits: packed as one stream, and within half a step", (bits) => {
  const values = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i * i) + (i >= 128 ? 3 : 0));
  const made = quantizeGroups(values, { bits, groupSize: 64 }, null);
  expect(unpackCodes(packCodes(made.codes, bits), bits)).toEqual(made.codes);
  const decoded = decodeGroups(made, 64);
  for (const [i, v] of values.entries())
    expect(Math.abs(v - (decoded[i] ?? 0))).toBeLessThan(
      (bits === 2 ? 1.2 : 0.75) * (made.scales[Math.floor(i / 64)] ?? 0) + 2e-3,
    );
});

test("codes of eight and four bits are kept, palettes are quantized again at a cost", async () => {
  const folder = await temporaryFolder();
  const text = join(folder, "text.txt");
  await writeFile(text, heldOutDocuments("calibrate", 4).join(SEPARATOR));
  const make = async (name: string, more: Record<string, unknown>): Promise<string> => {
    const out = join(folder, name);
    await runExperiment(
      quantize,
      quantizeConfig.parse({ model: starter, out, text, context: 64, maxTokens: 400, ...more }),
      context,
    );
    return out;
  };
  const int8 = await exported(await make("int8", { scheme: "affine", bits: 8 }));
  expect(int8.card.types).toEqual([expect.objectContaining({ type: "8 bits, groups of 128", fidelity: "kept" })]);
  expect(int8.card.faithful).toEqual({ ok: true, reasons: [] });
  expect(int8.card.parity.maxLogitDifference / int8.card.parity.largestLogit).toBeLessThan(2e-3);
  const config = JSON.parse(await readFile(join(int8.folder, "config.json"), "utf8"));
  expect(config.quantization["model.layers.0.mlp.down_proj"]).toEqual({ group_size: 128, bits: 8 });
  expect(config.espalier).toBeUndefined();

  const palette = await exported(await make("palette", { bits: 3, embeddingBits: 4 }));
  expect(palette.card.types.map((t) => t.type).sort()).toEqual(["3 bits, groups of 64", "4 bits, groups of 64"]);
  expect(palette.card.parity.meanKl).toBeGreaterThan(1e-5);
  expect(palette.card.good?.reason).toContain("costs a KL of");
  const contents = await exporterOf("mlx").contents(palette.folder);
  expect(contents.weights.reduce((n, w) => n + w.elements, 0)).toBeGreaterThan(palette.card.parameters * 0.99);
  expect(await exporterOf("mlx").hash(palette.folder)).toMatch(/^[0-9a-f]{64}$/);
}, 120_000);

test("uneven layers are padded, floats kept, and options of others refused", async () => {
  const out = join(await temporaryFolder(), "pruned");
  await runExperiment(prune, pruneConfig.parse({ model: starter, drop: ["L0.H0", "L1.N0-7"], out }), context);
  const { card } = await exported(out);
  expect(card.paddedWeights).toBeGreaterThan(0);
  expect(card.faithful?.ok).toBe(true);
  expect(card.types).toEqual([expect.objectContaining({ type: "floats of 16 bits" })]);
  const streamed = await exported(out, { streamAboveBytes: 0, bits: 4, groupSize: 32 });
  expect(streamed.card.execution.kind).toBe("by-parts");
  expect(streamed.card.types[0]).toMatchObject({ type: "4 bits, groups of 32", fidelity: "quantized" });

  const gguf = join(await temporaryFolder(), "model.gguf");
  await writeFile(gguf, tinyGgufBytes("gemma3"));
  await expect(exported(gguf, { bits: 7 })).rejects.toThrow("MLX has 2, 3, 4, 5, 6, 8, found 7");
  await expect(exported(gguf, { type: "Q8_0" })).rejects.toThrow("--type is for --to gguf");
  const gemma2 = join(await temporaryFolder(), "gemma2");
  await writeTinyCheckpoint(gemma2, "gemma2");
  await copyFile(join(starter, "tokenizer.json"), join(gemma2, "tokenizer.json"));
  await expect(exported(gemma2)).rejects.toThrow("models of the family gemma2 are not written for MLX");
  await expect(exported(gguf, { to: "gguf", groupSize: 32 })).rejects.toThrow("--group-size is for --to mlx");
}, 120_000);
