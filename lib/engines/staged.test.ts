/** Packages run some weights at a time say exactly what they say whole. */

import { join } from "node:path";
import { expect, test } from "vitest";
import { allValues } from "../../test/fixtures/all-values.ts";
import { type TinyFamily, temporaryFolder, tinyIds, tinyModel } from "../../test/fixtures/tiny-model.ts";
import { palettize } from "../compress/quantize/palettize.ts";
import type { StepModel } from "../decoder/generate.ts";
import { hostEmbedding } from "../decoder/neural-engine/embedding.ts";
import { neuralEngineProgram } from "../decoder/neural-engine/neural-engine-program.ts";
import { neuralEnginePlan } from "../decoder/neural-engine/plan.ts";
import { loadStaged, openPackage, packageModel } from "../decoder/opened-package.ts";
import { INTERFACE_KEY } from "../decoder/package-interface.ts";
import { packageProgram } from "../decoder/plain-layout-program.ts";
import { stepModel } from "../decoder/step-model.ts";
import { knownTextModel, streamedLogits } from "../decoder/streamed-logits.ts";
import { weightList } from "../decoder/weights.ts";
import { roundToFloat16 } from "../float16.ts";
import { writePipeline } from "../formats/coreml/package-pipeline.ts";
import { writePackage } from "../formats/coreml/package-writer.ts";
import type { Program } from "../mil/program.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import type { Engine } from "./engine.ts";
import { createOnnxRuntimeEngine } from "./onnxruntime/onnxruntime-engine.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const LIMIT = 3000;

async function shipped(family: TinyFamily): Promise<Map<string, CompressedWeight>> {
  const model = tinyModel(family, 3);
  const weights = new Map<string, CompressedWeight>();
  for (const { name, shape } of weightList(model.arch)) {
    const v = await allValues(model, name);
    weights.set(
      name,
      shape.length === 1
        ? { kind: "dense", dtype: "fp16", shape, values: v.map(roundToFloat16) }
        : palettize(v, shape, { bits: 4, rowsPerTable: 8 }),
    );
  }
  return weights;
}

/** How often it compiled, and the most constant elements a function had. */
function watched(inner: Engine): { engine: Engine; seen: { compiled: number } } {
  const seen = { compiled: 0 };
  const compile: Engine["compile"] = (fn, options) => {
    seen.compiled++;
    return inner.compile(fn, options);
  };
  return { engine: { ...inner, compile }, seen };
}

/** The logits along a text, in a chunk first and one by one afterwards. */
async function along(model: StepModel, ids: readonly number[]): Promise<Float32Array[]> {
  const session = model.open();
  const all: Float32Array[] = [];
  for (let at = 0; at < ids.length; ) {
    const count = at === 0 ? 8 : 1;
    all.push(await session.feed(ids.slice(at, at + count), at));
    at += count;
  }
  session.dispose();
  return all;
}

test.each([
  ["gemma3", "neural-engine", false],
  ["gemma3", "plain", false],
  ["gemma4", "plain", false],
  ["llama", "neural-engine", true],
  ["gemma4", "plain", true],
] as const)(
  "%s, %s layout, pipeline: %s",
  async (family, layout, pipeline) => {
    const { arch } = tinyModel(family, 3);
    const weights = await shipped(family);
    const plan =
      layout === "plain"
        ? null
        : neuralEnginePlan(arch, {
            contexts: [64],
            prefill: [8],
            embedding: "inside",
            cacheForm: "state",
            prefillLogits: "last",
            beginToken: null,
            stopTokens: [],
          });
    const program: Program = plan
      ? neuralEngineProgram(arch, weights, plan)
      : packageProgram(arch, weights, { context: 64, prefillLength: 8 });
    const userDefined: Record<string, string> = plan ? { [INTERFACE_KEY]: JSON.stringify(plan.interface) } : {};
    const metadata = { shortDescription: "", author: "", license: "", version: "1", userDefined };
    const folder = await temporaryFolder();
    const path = join(folder, pipeline ? "parts" : "Whole.mlpackage");
    if (pipeline) await writePipeline(path, program, metadata, { limitBytes: 9000 });
    else await writePackage(path, program, metadata);

    const ids = [...tinyIds(20, 48)];
    const expected = await along(await openPackage(engine, path, "round"), ids);
    const counted = watched(engine);
    const staged = await loadStaged(counted.engine, path, LIMIT);
    const model = await packageModel(staged.engine, staged, "round");
    expect(counted.seen.compiled).toBe(0);
    for (const row of await along(model, ids)) expect(row.every((v) => v === 0)).toBe(true);
    await staged.engine.execute();
    expect(counted.seen.compiled).toBeGreaterThan(6);
    expect(await along(model, ids)).toEqual(expected);
    // Other calls than were noted are not answered.
    await expect(along(model, ids)).rejects.toThrow("internal: call");
  },
  120_000,
);

test.each(["llama", "gemma3", "gemma4", "gemma4_dense"] as const)(
  "%s: logits with one layer in memory are those of the decoder",
  async (family) => {
    const model = tinyModel(family, 5);
    const weights = new Map<string, CompressedWeight>();
    for (const { name, shape } of weightList(model.arch))
      weights.set(name, { kind: "dense", dtype: "fp32", shape, values: await allValues(model, name) });
    const texts = [[...tinyIds(12, 48)], [...tinyIds(9, 48)].reverse()];
    const table = (name: string) => hostEmbedding(weights.get(name) as CompressedWeight);
    const known = await streamedLogits(engine, { arch: model.arch, weights, table }, [
      { ids: texts[0] as number[] },
      { ids: texts[1] as number[], from: 4, to: 6 },
    ]);
    const reference = await stepModel(engine, model, { context: 32 });
    for (const [t, ids] of texts.entries()) {
      const session = reference.open();
      const again = knownTextModel(model.arch.vocab, 32, known).open();
      for (const [i, id] of ids.entries()) {
        const wanted = await session.feed([id], i);
        if (t === 1 && (i < 4 || i >= 6)) {
          await expect(again.feed([id], i)).rejects.toThrow("no logits are known");
          continue;
        }
        const found = await again.feed([id], i);
        for (const [v, z] of wanted.entries()) expect(Math.abs(z - (found[v] as number))).toBeLessThan(1e-4);
      }
    }
  },
  60_000,
);
