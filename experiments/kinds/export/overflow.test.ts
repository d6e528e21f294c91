/** A model too loud for fp16: the plain layout names where it overflows and the way out, which works. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../lib/checkpoint/checkpoint.ts";
import { writeCheckpoint } from "../../../lib/checkpoint/write-checkpoint.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { type ExperimentContext, memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { tokenizerFiles } from "../../starter/bpe.ts";
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

/** The Llama of test/golden with matrices of layer 1 that many times as large. */
async function louder(factors: Readonly<Record<string, number>>): Promise<string> {
  const golden = await openCheckpoint(join(import.meta.dirname, "../../../test/golden/llama"));
  const { architecture } = golden;
  const path = join(await temporaryFolder(), "model");
  await writeCheckpoint(path, {
    architecture,
    config: golden.config,
    dtype: "f32",
    copyFrom: null,
    weight: async (name) => {
      const { shape } = golden.form(name);
      const values = (await golden.rows(name, 0, shape[0] ?? 1)).map((v) => v * (factors[name] ?? 1));
      return { kind: "dense", dtype: "fp32", shape, values };
    },
  });
  await golden.close();
  const names = ["<pad>", "<eos>", "<bos>", "<unk>", ...Array.from({ length: 44 }, (_, i) => `t${i}`)];
  const { tokenizer, config } = tokenizerFiles({ vocab: new Map(names.map((n, i) => [n, i])), merges: [] });
  await writeFile(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(path, "tokenizer_config.json"), JSON.stringify(config));
  return path;
}

const exported = (model: string, layout: string, more: object = {}) =>
  runExperiment(
    exportExperiment,
    exportConfig.parse({
      model,
      out: `${model}-${layout}`,
      layout,
      contexts: [32],
      prefill: [],
      checkTokens: 8,
      ...more,
    }),
    context,
  );

test.each([
  ["held", {}],
  ["streamed", { streamAboveBytes: 0 }],
])(
  "the plain layout names layer and operation of a %s model; the Neural Engine layout is ready",
  async (_name, more) => {
    const model = await louder({ L1_up: 10, L1_down: 5e3 });
    await expect(exported(model, "plain", more)).rejects.toMatchObject({
      code: "numeric/non-finite",
      message: expect.stringMatching(
        /^a value overflows fp16 in layer 1, L1_\w+: [\d.e+]+ times its largest number, at position 0$/,
      ),
      hint: expect.stringContaining("--layout neural-engine"),
    });
    expect((await exported(model, "neural-engine", more)).card).toMatchObject({ status: "ready", reasons: [] });
  },
  60_000,
);

test.each([
  ["held", {}],
  ["streamed", { streamAboveBytes: 0 }],
])("a weight beyond fp16 of a %s model is named by tensor, row and column", async (_name, more) => {
  const model = await louder({ L1_down: 1e6 });
  await expect(exported(model, "plain", more)).rejects.toMatchObject({
    code: "numeric/non-finite",
    message: expect.stringMatching(
      /^L1\.down: the weight at row \d+, column \d+ is -?\d+(\.\d+)?, beyond fp16's largest number, 65504$/,
    ),
    hint: expect.stringContaining("affine"),
  });
});
