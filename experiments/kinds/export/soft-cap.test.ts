/** Models with a final soft cap: what a package gives is compared under the cap, whoever applies it. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openPackage } from "../../../lib/decoder/opened-package.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { decoded, difference, largest } from "../../../test/fixtures/shipped-decoder.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { simulatePhone } from "../../probe/simulate.ts";
import { tokenizerFiles } from "../../starter/bpe.ts";
import { exportConfig } from "./config.ts";
import { exportExperiment } from "./export.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
let now = 0;
const clock = { nowMs: () => ++now };
const context: ExperimentContext = {
  engine,
  models: modelSession(engine, async (r) => r),
  store: memoryStore(),
  clock,
};

/** A model of test/golden, made by transformers with a cap of 3, with a tokenizer of its 48 tokens. */
async function checkpoint(family: string): Promise<{ folder: string; ids: number[]; logits: Float32Array }> {
  const golden = join(import.meta.dirname, "../../../test/golden", family);
  const folder = await temporaryFolder();
  await cp(golden, folder, { recursive: true });
  const names = ["<pad>", "<eos>", "<bos>", "<unk>", ...Array.from({ length: 44 }, (_, i) => `t${i}`)];
  const { tokenizer, config } = tokenizerFiles({ vocab: new Map(names.map((n, i) => [n, i])), merges: [] });
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  const { ids, logits } = JSON.parse(await readFile(join(golden, "golden.json"), "utf8")) as {
    ids: number[];
    logits: number[][];
  };
  return { folder, ids, logits: Float32Array.from(logits.flat()) };
}

test.each([
  ["gemma4_dense", "neural-engine"],
  ["gemma4_dense", "plain"],
  ["gemma4", "neural-engine"],
  ["gemma3", "neural-engine"],
  ["gemma3", "plain"],
] as const)(
  "%s, %s layout: ready, with the logits of transformers, and right on a simulated phone",
  async (family, layout) => {
    const { folder, ids, logits } = await checkpoint(family);
    const out = join(folder, "out");
    const config = exportConfig.parse({ model: folder, out, layout, contexts: [64], prefill: [16] });
    const { card } = await runExperiment(exportExperiment, config, context);
    expect(card).toMatchObject({ status: "ready", reasons: [] });
    expect(card.parity.largestLogit).toBeLessThan(3);
    const model = await openPackage(engine, join(out, card.file), "round");
    const found = await decoded(model, ids);
    await model.dispose();
    // The cap bends much: without it the largest logits of these models are beyond 5.
    expect(largest(logits)).toBeGreaterThan(2.8);
    expect(difference(logits, found)).toBeLessThan(0.02 * largest(logits));
    const report = await simulatePhone(out, { engine, clock, memoryBytes: () => 0, timedTokens: 2, timedCalls: 1 });
    expect(report.runs[0]?.parity.map((p) => p.passed)).toEqual(report.runs[0]?.parity.map(() => true));
    expect(report.runs[0]?.parity.length).toBeGreaterThan(0);
  },
  120_000,
);
