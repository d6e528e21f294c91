import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, tinyConfigs, tinyIds, writeTinyCheckpoint } from "../../../test/fixtures/tiny-model.ts";
import { openCheckpoint } from "../../checkpoint/checkpoint.ts";
import { affineRows, float16Rows, paletteRows, type RowCompression } from "../../compress/quantize/row-compression.ts";
import { generate } from "../../decoder/generate.ts";
import { openPackage } from "../../decoder/opened-package.ts";
import { packageProgram } from "../../decoder/plain-layout-program.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { streamedWeights } from "../../export/streamed-weights.ts";
import { partition } from "../../mil/passes/partition.ts";
import { readPipeline, writePipeline } from "./package-pipeline.ts";
import { writePackage } from "./package-writer.ts";

const metadata = { shortDescription: "tiny", author: "test", license: "", version: "1", userDefined: {} };
const engine = await createOnnxRuntimeEngine({ threads: 1 });

async function tinyProgram(family: keyof typeof tinyConfigs, rule: RowCompression) {
  const folder = join(await temporaryFolder(), "model");
  await writeTinyCheckpoint(folder, family);
  const checkpoint = await openCheckpoint(folder);
  const weights = streamedWeights(checkpoint, () => rule);
  return { folder, program: packageProgram(checkpoint.architecture, weights, { context: 16, prefillLength: 4 }) };
}

test.each<[keyof typeof tinyConfigs, string, RowCompression, number, number]>([
  ["llama", "fp16", float16Rows, 9000, 4],
  ["llama", "fp16, tables split by rows", float16Rows, 3200, 10],
  ["gemma3", "palettes", paletteRows(4, 8), 4000, 4],
  ["gemma3", "int8, the tied table split too", affineRows(8), 2500, 8],
])(
  "%s, %s: packages of a few kilobytes in a row say exactly what one package says",
  async (family, _what, rule, limitBytes, least) => {
    const { folder, program } = await tinyProgram(family, rule);
    await writePackage(join(folder, "Whole.mlpackage"), program, metadata);
    const description = await writePipeline(join(folder, "parts"), program, metadata, { limitBytes });
    expect(description.packages.length).toBeGreaterThanOrEqual(least);
    const pipeline = await readPipeline(join(folder, "parts"));
    for (const p of pipeline.packages) expect(p.weightBytes).toBeLessThanOrEqual(limitBytes * 1.05);
    // Each part keeps the cache of its own layers; together they are the whole.
    const rows = (
      fn: { inputs: readonly { type: { kind: string; wrapped?: { shape: readonly number[] } } }[] } | undefined,
    ) => (fn?.inputs ?? []).reduce((n, v) => n + (v.type.wrapped?.shape[1] ?? 0), 0);
    expect(pipeline.packages.reduce((n, p) => n + rows(p.program.functions[0]), 0)).toBe(
      tinyConfigs[family].num_hidden_layers * 2 * tinyConfigs[family].num_key_value_heads,
    );

    const whole = await openPackage(engine, join(folder, "Whole.mlpackage"), "round");
    const parts = await openPackage(engine, join(folder, "parts"), "round");
    const ids = [...tinyIds(14, 48)];
    const [a, b] = [whole.open(), parts.open()];
    for (const [from, to] of [[0, 4], ...ids.slice(4).map((_, i) => [i + 4, i + 5])] as [number, number][])
      expect(await b.feed(ids.slice(from, to), from)).toEqual(await a.feed(ids.slice(from, to), from));
    a.dispose();
    b.dispose();
    expect(await generate(parts, [3, 1, 4], { maxTokens: 10 })).toEqual(
      await generate(whole, [3, 1, 4], { maxTokens: 10 }),
    );
  },
);

test("a model that fits stays one package", async () => {
  const { program } = await tinyProgram("llama", float16Rows);
  expect(partition(program, 1_000_000)).toEqual([program]);
});

test("a limit nothing fits in is refused by name", async () => {
  const { folder, program } = await tinyProgram("llama", float16Rows);
  await expect(writePipeline(join(folder, "parts"), program, metadata, { limitBytes: 100 })).rejects.toMatchObject({
    code: "export/unsupported",
    hint: expect.stringContaining("limit"),
  });
});

test("an edited description is refused", async () => {
  const { folder, program } = await tinyProgram("llama", float16Rows);
  const path = join(folder, "parts");
  await writePipeline(path, program, metadata, { limitBytes: 9000 });
  const file = join(path, "pipeline.json");
  const text = await readFile(file, "utf8");
  const description = JSON.parse(text);
  const [first, ...others] = description.packages;
  await writeFile(file, JSON.stringify({ ...description, packages: others }));
  await expect(readPipeline(path)).rejects.toThrow(/which no earlier package gives/);
  await writeFile(file, JSON.stringify({ ...description, packages: [{ ...first, file: "../x.mlpackage" }] }));
  await expect(readPipeline(path)).rejects.toMatchObject({ code: "format/malformed" });
  await writeFile(file, text.slice(0, 100));
  await expect(readPipeline(path)).rejects.toThrow(/not JSON/);
  await expect(readPipeline(folder)).rejects.toThrow(/has no pipeline.json/);
});
