import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, tinyConfigs, tinyModel, writeTinyCheckpoint } from "../../test/fixtures/tiny-model.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { writeCheckpoint } from "../checkpoint/write-checkpoint.ts";
import { palettize } from "../compress/quantize/palettize.ts";
import { quantizeAffine } from "../compress/quantize/round-to-nearest.ts";
import {
  affineRows,
  deferredWeight,
  float16Rows,
  paletteRows,
  type RowCompression,
} from "../compress/quantize/row-compression.ts";
import { palettizeScaled } from "../compress/quantize/scaled-palette.ts";
import { packageModel } from "../decoder/opened-package.ts";
import { packageProgram } from "../decoder/plain-layout-program.ts";
import { stepModel } from "../decoder/step-model.ts";
import { decoderWeights, weightList } from "../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { roundToFloat16 } from "../float16.ts";
import { storedBytes, storedPieces } from "../formats/coreml/element-types.ts";
import { readPackage } from "../formats/coreml/package-reader.ts";
import { predictPackage, writePackage } from "../formats/coreml/package-writer.ts";
import { DeferredTensor, f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { weightTensors } from "../weights/weight-constants.ts";
import { summarizePackage } from "./coreml/package-summary.ts";
import { streamedWeights } from "./streamed-weights.ts";

const metadata = { shortDescription: "tiny", author: "test", license: "", version: "1", userDefined: {} };
const shape = { context: 32, prefillLength: 8 };

async function hashes(path: string): Promise<string[]> {
  const files = ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"];
  const contents = await Promise.all(files.map((f) => readFile(join(path, f))));
  return contents.map((c) => createHash("sha256").update(c).digest("hex"));
}

test.each<[string, RowCompression]>([
  ["fp16", float16Rows],
  ["int8", affineRows(8)],
  ["palettes", paletteRows(4, 8)],
])("%s weights streamed from a checkpoint give the same bytes twice, those counted before", async (_name, rule) => {
  const folder = join(await temporaryFolder(), "model");
  await writeTinyCheckpoint(folder, "gemma3");
  const written: string[][] = [];
  for (const name of ["A", "B"]) {
    const checkpoint = await openCheckpoint(folder);
    const program = packageProgram(
      checkpoint.architecture,
      streamedWeights(checkpoint, () => rule),
      shape,
    );
    const predicted = await predictPackage(program, metadata);
    const path = join(folder, `${name}.mlpackage`);
    expect(await writePackage(path, program, metadata)).toEqual(predicted);
    written.push(await hashes(path));
    await checkpoint.close();
  }
  expect(written[0]).toEqual(written[1]);
});

test("what is streamed is what would have been held", async () => {
  const folder = join(await temporaryFolder(), "model");
  const weights = await writeTinyCheckpoint(folder, "llama");
  const checkpoint = await openCheckpoint(folder);
  const streamed = streamedWeights(checkpoint, () => paletteRows(3, 8));
  for (const { name, shape: dims } of weightList(weights.arch)) {
    const values = float32Data(weights.tensors.get(name) as Tensor);
    const pieces: CompressedWeight[] = [];
    for await (const piece of streamed.get(name)?.pieces() ?? []) pieces.push(piece);
    const held = dims.length > 1 ? palettize(values, dims, { bits: 3, rowsPerTable: 8 }) : null;
    expect([...pieces.flatMap((p) => [...decodeWeight(p)])]).toEqual(
      held ? [...decodeWeight(held)] : [...values.map(roundToFloat16)],
    );
  }
});

test("pieces that end inside a byte are joined", async () => {
  // 3 bits, 5 columns: rows do not end at bytes, and a piece of one row is forced by reading one row at a time.
  const values = Float32Array.from({ length: 35 }, (_, i) => Math.sin(i));
  const weight = deferredWeight([7, 5], async (from, to) => values.slice(from * 5, to * 5), paletteRows(3, 7));
  const whole = palettize(values, [7, 5], { bits: 3, rowsPerTable: 7 });
  const torn = {
    kind: "deferred" as const,
    form: weight.form,
    async *pieces() {
      for (let r = 0; r < 7; r++)
        yield {
          ...whole,
          shape: [1, 5],
          rowsPerTable: 1,
          indices: whole.indices.slice(r * 5, r * 5 + 5),
          tables: r === 0 ? whole.tables : new Float32Array(),
        };
    },
  };
  const part = weightTensors(torn).parts.get("indices");
  if (!(part instanceof DeferredTensor)) throw new Error("not deferred");
  const bytes: number[] = [];
  for await (const piece of storedPieces(part)) bytes.push(...piece);
  expect(bytes).toEqual([...storedBytes({ dtype: "uint3", shape: [7, 5], data: whole.indices })]);
});

test("a model whose tensors have different schemes is exported, read back, and says what its weights say", async () => {
  const weights = tinyModel("gemma3", 3);
  const rules: ((v: Float32Array, s: readonly number[]) => CompressedWeight)[] = [
    (v, s) => palettize(v, s, { bits: 4, rowsPerTable: 8 }),
    (v, s) => palettizeScaled(v, s, { bits: 6, rowsPerTable: 8 }),
    (v, s) => quantizeAffine(v, s, { bits: 8, groupSize: null, symmetric: true, clipSearch: true }),
    (v, s) => ({ kind: "dense", dtype: "fp16", shape: s, values: v.map(roundToFloat16) }),
    (v, s) => palettizeScaled(v, s, { bits: 8, rowsPerTable: null }),
    (v, s) => palettize(v, s, { bits: 3, rowsPerTable: null }),
  ];
  const folder = await temporaryFolder();
  const chosen = new Map<string, CompressedWeight>(
    weightList(weights.arch).map(({ name, shape: dims }, i) => {
      const v = float32Data(weights.tensors.get(name) as Tensor);
      if (dims.length === 1)
        return [name, { kind: "dense", dtype: "fp16", shape: dims, values: v.map(roundToFloat16) }];
      // The embedding, tied to the head, has row scales: looked up by one, projected by the other.
      const rule = name === "embedding" ? 1 : i % rules.length;
      return [name, rules[rule]?.(v, dims) as CompressedWeight];
    }),
  );
  await writeCheckpoint(join(folder, "mixed"), {
    architecture: weights.arch,
    config: tinyConfigs.gemma3,
    dtype: "f16",
    copyFrom: null,
    weight: async (name) => chosen.get(name) as CompressedWeight,
  });
  const checkpoint = await openCheckpoint(join(folder, "mixed"));
  const program = packageProgram(checkpoint.architecture, streamedWeights(checkpoint), shape);
  const path = join(folder, "Mixed.mlpackage");
  expect(await writePackage(path, program, metadata)).toEqual(await predictPackage(program, metadata));
  const read = await readPackage(path);
  expect(new Set(summarizePackage(read).weights.map((w) => w.scheme)).size).toBeGreaterThanOrEqual(5);

  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const decoded = new Map([...chosen].map(([n, w]) => [n, f32(w.shape, decodeWeight(w))]));
  const reference = await stepModel(engine, decoderWeights(weights.arch, decoded), { context: 32 });
  const model = await packageModel(engine, read, "widen");
  const [a, b] = [reference.open(), model.open()];
  for (const [i, id] of [3, 17, 40, 8, 21].entries()) {
    const left = await a.feed([id], i);
    const right = await b.feed([id], i);
    const largest = Math.max(...left.map(Math.abs));
    left.forEach((v, n) => {
      expect(Math.abs(v - (right[n] as number))).toBeLessThan(2e-3 * largest);
    });
  }
});

test("a scale for every row makes unequal rows fit one table", async () => {
  const rows = 64;
  const values = Float32Array.from(
    { length: rows * 128 },
    (_, i) => Math.sin(i * 12.9898) * 1.5 ** (Math.floor(i / 128) % 8),
  );
  const error = (w: CompressedWeight): number =>
    decodeWeight(w).reduce((n, v, i) => n + (v - (values[i] as number)) ** 2, 0);
  const options = { bits: 3 as const, rowsPerTable: 16 };
  const scaled = palettizeScaled(values, [rows, 128], options);
  expect(error(scaled)).toBeLessThan(0.7 * error(palettize(values, [rows, 128], options)));
  const meanSquare = scaled.rowScales.reduce((n, s) => n + s * s, 0) / rows;
  expect(meanSquare).toBeCloseTo(1, 2);
});
