/** A model of the workbench as a GGUF file: checked, read again with its tokenizer, with the cost of its types on the card. */
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../lib/checkpoint/checkpoint.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { modelfile } from "../../../lib/export/gguf/modelfile.ts";
import { tinyGgufBytes } from "../../../test/fixtures/tiny-gguf.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import type { GgufCard } from "./card.ts";
import { exportConfig } from "./config.ts";
import { exportExperiment } from "./export.ts";
import { exporterOf } from "./exporters.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (path) => path),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};

async function exported(
  family: "llama" | "gemma3",
  more: Record<string, unknown>,
): Promise<{ card: GgufCard; file: string }> {
  const folder = await temporaryFolder();
  const model = join(folder, "model.gguf");
  await writeFile(model, tinyGgufBytes(family));
  const out = join(folder, "out");
  const config = exportConfig.parse({ model, to: "gguf", out, checkTokens: 4, ...more });
  const { card } = await runExperiment(exportExperiment, config, context);
  if (card.to !== "gguf") throw new Error(`a card for ${card.to}`);
  return { card, file: join(out, card.file) };
}

test.each(["llama", "gemma3"] as const)("%s: ready, with nothing lost where nothing is rounded", async (family) => {
  const { card, file } = await exported(family, { type: "F32" });
  expect(card).toMatchObject({
    ready: true,
    reasons: [],
    faithful: { ok: true },
    good: { ok: true },
    textsCompared: 2,
  });
  expect(card.parity.greedyIdentical).toBe(true);
  // The same weights, taken by the reference in chunks of another size.
  expect(card.parity.maxLogitDifference).toBeLessThan(1e-5);
  const read = await openCheckpoint(file);
  expect(read.sizeBytes).toBe(card.weightBytes);
  await read.close();
  const contents = await exporterOf("gguf").contents(file);
  expect(contents.weights).toEqual([expect.objectContaining({ scheme: "F32", tensors: card.tensorsCompared })]);
  expect(await exporterOf("gguf").hash(file)).toMatch(/^[0-9a-f]{64}$/);
});

test("what a coarser type costs is on the card, and decides", async () => {
  const { card } = await exported("llama", { type: "Q4_0" });
  expect(card.types.some((t) => t.type === "Q4_0" && t.fidelity === "quantized")).toBe(true);
  expect(card.parity.meanKl).toBeGreaterThan(0);
  expect(card.faithful).toEqual({ ok: true, reasons: [] });
  const strict = await exported("llama", { type: "Q4_0", maxKl: 1e-9 });
  expect(strict.card).toMatchObject({ status: "not-ready", file: "not-ready-Model.gguf", good: { ok: false } });
  expect(strict.card.reasons[0]).toContain("costs a KL of");
});

test("importances of a calibration text are measured, and refused for a model that is streamed", async () => {
  const text = join(await temporaryFolder(), "text.txt");
  await writeFile(text, "hello world 12, ".repeat(40));
  const plain = await exported("llama", { type: "Q4_0", text });
  const weighted = await exported("llama", { type: "Q4_0", text, calibration: text });
  expect(weighted.card.types).toEqual(plain.card.types);
  expect(weighted.card.parity.meanKl).not.toBe(plain.card.parity.meanKl);
  expect(weighted.card.notes).toContainEqual(expect.stringContaining("importance"));
  await expect(exported("llama", { calibration: text, streamAboveBytes: 0 })).rejects.toThrow(
    "holds the model in memory",
  );
  await expect(exported("llama", { to: "coreml", calibration: text })).rejects.toThrow(
    "--calibration is for --to gguf",
  );
});

test("a Modelfile names the file, and passes prompts on where there is no chat template", async () => {
  const { file } = await exported("llama", { type: "F32", ollama: true });
  const text = await readFile(join(dirname(file), "Modelfile"), "utf8");
  expect(text).toBe("FROM ./Model.gguf\nPARAMETER num_ctx 64\n");
  expect(modelfile({ file: "a.gguf", context: 131_072, hasChatTemplate: false })).toBe(
    'FROM ./a.gguf\nTEMPLATE "{{ .Prompt }}"\nPARAMETER num_ctx 8192\n',
  );
});

test("a streamed model says the same, and what is for Core ML is refused", async () => {
  const whole = await exported("gemma3", { type: "Q8_0" });
  const streamed = await exported("gemma3", { type: "Q8_0", streamAboveBytes: 0 });
  expect(streamed.card.execution.kind).toBe("by-parts");
  expect(streamed.card.types).toEqual(whole.card.types);
  await expect(exported("llama", { layout: "plain" })).rejects.toThrow("--layout is for --to coreml");
  await expect(exported("llama", { to: "coreml", type: "Q8_0" })).rejects.toThrow("--type is for --to gguf");
});
