import { join } from "node:path";
import { expect, test } from "vitest";
import { allValues } from "../../../test/fixtures/all-values.ts";
import { temporaryFolder, tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { palettizeScaled } from "../../compress/quantize/scaled-palette.ts";
import { writeEmbedding } from "../../decoder/neural-engine/embedding.ts";
import { neuralEngineProgram } from "../../decoder/neural-engine/neural-engine-program.ts";
import { neuralEnginePlan } from "../../decoder/neural-engine/plan.ts";
import { openPackage } from "../../decoder/opened-package.ts";
import { INTERFACE_KEY } from "../../decoder/package-interface.ts";
import { weightList } from "../../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { roundToFloat16 } from "../../float16.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { writePipeline } from "./package-pipeline.ts";
import { writePackage } from "./package-writer.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });

test.each(["llama", "gemma3", "gemma4", "gemma4_dense"] as const)(
  "%s in the Neural Engine layout, scales on the outputs, is cut the same way",
  async (family) => {
    const model = tinyModel(family, 4);
    const weights = new Map<string, CompressedWeight>();
    for (const { name, shape } of weightList(model.arch)) {
      const values = await allValues(model, name);
      weights.set(
        name,
        shape.length === 1
          ? { kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) }
          : palettizeScaled(values, shape, { bits: 6, rowsPerTable: 8 }),
      );
    }
    const plan = neuralEnginePlan(model.arch, {
      contexts: [64],
      prefill: [16],
      embedding: "inside",
      cacheForm: "state",
      prefillLogits: "last",
      beginToken: 1,
      stopTokens: [2],
    });
    const program = neuralEngineProgram(model.arch, weights, plan);
    const metadata = {
      shortDescription: "",
      author: "",
      license: "",
      version: "",
      userDefined: { [INTERFACE_KEY]: JSON.stringify(plan.interface) },
    };
    const folder = await temporaryFolder();
    await writePackage(join(folder, "Whole.mlpackage"), program, metadata, { compute: "neural-engine" });
    const description = await writePipeline(join(folder, "parts"), program, metadata, {
      limitBytes: family === "gemma4" ? 20_000 : 9000,
      compute: "neural-engine",
    });
    expect(description.packages.length).toBeGreaterThanOrEqual(3);
    const table = weights.get("perLayerEmbedding");
    if (table)
      for (const at of [folder, join(folder, "parts")]) await writeEmbedding(join(at, "per-layer.safetensors"), table);
    const whole = await openPackage(engine, join(folder, "Whole.mlpackage"), "round");
    const parts = await openPackage(engine, join(folder, "parts"), "round");
    const ids = [...tinyIds(20, 48)];
    const [a, b] = [whole.open(), parts.open()];
    for (const [from, to] of [
      [0, 16],
      [16, 17],
      [17, 18],
    ] as const)
      expect(await b.feed(ids.slice(from, to), from)).toEqual(await a.feed(ids.slice(from, to), from));
  },
);
