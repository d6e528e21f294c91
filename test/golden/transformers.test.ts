/** Logits of random checkpoints that `transformers` made and ran (test/oracles/make_golden.py). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { float32Data } from "../../lib/mil/tensor.ts";

const families = ["llama", "llama_stretched", "llama_own_head", "llama_biases", "phi3", "qwen2", "qwen3", "smollm3"];
const gemmas = ["gemma", "gemma2", "gemma3", "gemma3_gelu", "gemma3_own_head", "gemma4", "gemma4_dense"];

test.each([...families, ...gemmas])("%s agrees with transformers to 1e-4 of the largest logit", async (family) => {
  const folder = join(import.meta.dirname, family);
  const golden: { ids: number[]; logits: number[][] } = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8"));
  const checkpoint = await openCheckpoint(folder);
  const runner = new DecoderRunner(await createOnnxRuntimeEngine({ threads: 1 }), await loadWeights(checkpoint));
  const shape = { batch: 1, length: golden.ids.length };
  const logits = float32Data(
    await runner.logits(await runner.blocks(await runner.embed(Int32Array.from(golden.ids), shape))),
  );
  const expected = golden.logits.flat();
  const largest = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((v, i) => Math.abs(v - (logits[i] as number))));
  expect(worst / largest).toBeLessThan(1e-4);
  await checkpoint.close();
});
