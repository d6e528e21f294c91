import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, tinyIds, writeTinyCheckpoint } from "../../../test/fixtures/tiny-model.ts";
import { openCheckpoint } from "../../checkpoint/checkpoint.ts";
import { palettize } from "../../compress/quantize/palettize.ts";
import { paletteRows } from "../../compress/quantize/row-compression.ts";
import { palettizeScaled } from "../../compress/quantize/scaled-palette.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { streamedWeights } from "../../export/streamed-weights.ts";
import { roundToFloat16 } from "../../float16.ts";
import { readPackage } from "../../formats/coreml/package-reader.ts";
import { predictPackage, writePackage } from "../../formats/coreml/package-writer.ts";
import { f32, float32Data, type Tensor } from "../../mil/tensor.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { packageModel } from "../opened-package.ts";
import { INTERFACE_KEY } from "../package-interface.ts";
import { stepModel } from "../step-model.ts";
import { inMemoryWeights, weightList } from "../weights.ts";
import { neuralEngineProgram } from "./neural-engine-program.ts";
import { type NeuralEngineOptions, neuralEnginePlan } from "./plan.ts";

const options: NeuralEngineOptions = {
  contexts: [64],
  prefill: [16],
  embedding: "inside",
  cacheForm: "state",
  prefillLogits: "last",
  // Parts of the head are rows of the weight that arrives in pieces.
  largestHeadPart: 20,
  beginToken: null,
  stopTokens: [],
};

const about = (interfaceText: string) => ({
  shortDescription: "",
  author: "",
  license: "",
  version: "1",
  userDefined: { [INTERFACE_KEY]: interfaceText },
});
const engine = await createOnnxRuntimeEngine({ threads: 1 });

test.each(["llama", "gemma3"] as const)(
  "%s: weights streamed row by row make the package that held ones make",
  async (family) => {
    const folder = await temporaryFolder();
    const weights = await writeTinyCheckpoint(join(folder, "model"), family);
    const checkpoint = await openCheckpoint(join(folder, "model"));
    const held = new Map(
      weightList(weights.arch).map(({ name, shape }): [string, CompressedWeight] => {
        const v = float32Data(weights.tensors.get(name) as Tensor);
        return [
          name,
          shape.length === 1
            ? { kind: "dense", dtype: "fp16", shape, values: v.map(roundToFloat16) }
            : palettize(v, shape, { bits: 4, rowsPerTable: 4 }),
        ];
      }),
    );
    const plan = neuralEnginePlan(weights.arch, { ...options, largestHeadPart: 24 });
    const metadata = about(JSON.stringify(plan.interface));
    const [a, b] = [join(folder, "A.mlpackage"), join(folder, "B.mlpackage")];
    await writePackage(a, neuralEngineProgram(weights.arch, held, plan), metadata);
    const streamed = neuralEngineProgram(
      weights.arch,
      streamedWeights(checkpoint, () => paletteRows(4, 4)),
      plan,
    );
    expect(await writePackage(b, streamed, metadata)).toEqual(await predictPackage(streamed, metadata));
    const open = async (path: string) => (await packageModel(engine, await readPackage(path), "widen")).open();
    const [one, two] = [await open(a), await open(b)];
    for (const [i, id] of tinyIds(6, 48).entries()) expect(await two.feed([id], i)).toEqual(await one.feed([id], i));
    await checkpoint.close();
  },
);

test("palettes with a scale a row say what they decode to", async () => {
  const folder = await temporaryFolder();
  const weights = await writeTinyCheckpoint(join(folder, "model"), "gemma3", 4);
  const shipped = new Map(
    weightList(weights.arch).map(({ name, shape }): [string, CompressedWeight] => {
      const v = float32Data(weights.tensors.get(name) as Tensor);
      return [
        name,
        shape.length === 1
          ? { kind: "dense", dtype: "fp16", shape, values: v.map(roundToFloat16) }
          : palettizeScaled(v, shape, { bits: 6, rowsPerTable: 4 }),
      ];
    }),
  );
  const plan = neuralEnginePlan(weights.arch, options);
  const path = join(folder, "Scaled.mlpackage");
  await writePackage(path, neuralEngineProgram(weights.arch, shipped, plan), about(JSON.stringify(plan.interface)));
  const decoded = new Map([...shipped].map(([n, w]) => [n, f32(w.shape, decodeWeight(w))]));
  const reference = (await stepModel(engine, inMemoryWeights(weights.arch, decoded), { context: 64 })).open();
  const found = (await packageModel(engine, await readPackage(path), "widen")).open();
  for (const [i, id] of tinyIds(12, 48).entries()) {
    const left = await reference.feed([id], i);
    const right = await found.feed([id], i);
    const largest = left.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    for (const [n, v] of left.entries()) expect(Math.abs(v - (right[n] as number))).toBeLessThan(5e-3 * largest);
  }
});
