/** Logits of random checkpoints that `transformers` made and ran (test/oracles/make_golden.py). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { storedTensors } from "../../lib/decoder/families/stored-tensors.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { f32, float32Data, i32 } from "../../lib/mil/tensor.ts";
import { textObjective, trainingProgram } from "../../lib/train/training-program.ts";

const families = [
  "llama",
  "llama_stretched",
  "llama_own_head",
  "llama_biases",
  "phi3",
  "qwen2",
  "qwen3",
  "smollm3",
  "granite",
  "granite_tied",
  "olmo2",
  "olmo2_biases",
];
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

test.each(["granite", "granite_tied", "olmo2", "olmo2_biases"])(
  "%s: gradients of the loss agree with torch's to 1e-3",
  async (family) => {
    const folder = join(import.meta.dirname, family);
    const golden: { ids: number[]; loss: number; gradients: Record<string, [number, ...number[]]> } = JSON.parse(
      readFileSync(join(folder, "golden.json"), "utf8"),
    );
    const checkpoint = await openCheckpoint(folder);
    const { arch, tensors } = await loadWeights(checkpoint);
    const length = golden.ids.length - 1;
    const engine = await createOnnxRuntimeEngine({ threads: 1 });
    const executable = await engine.compile(trainingProgram(arch, { batch: 1, length }, textObjective));
    const results = await executable.run({
      ids: i32([1, length], Int32Array.from(golden.ids.slice(0, length))),
      targets: i32([length], Int32Array.from(golden.ids.slice(1))),
      tokenWeights: f32([length], new Float32Array(length).fill(1 / length)),
      ...Object.fromEntries(tensors),
    });
    const outputs = new Map(Object.entries(results).map(([name, t]) => [name, float32Data(t)]));
    const compared: string[] = [];
    for (const [name, entries] of storedTensors(arch)) {
      const found = entries.flatMap((e) => [...(outputs.get(`d_${e.name}`) ?? [])]);
      const [norm, ...first] = golden.gradients[name] ?? [0];
      const own = Math.sqrt(found.reduce((sum, v) => sum + v * v, 0));
      expect(Math.abs(own / norm - 1), name).toBeLessThan(1e-3);
      for (const [i, v] of first.entries())
        expect(Math.abs((found[i] ?? Number.NaN) - v), name).toBeLessThan(1e-3 * norm);
      compared.push(name);
    }
    expect(compared.sort()).toEqual(Object.keys(golden.gradients).sort());
    await checkpoint.close();
  },
);
