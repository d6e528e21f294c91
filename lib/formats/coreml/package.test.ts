import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { allValues } from "../../../test/fixtures/all-values.ts";
import { type TinyFamily, temporaryFolder, tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { palettize } from "../../compress/quantize/palettize.ts";
import { quantizeAffine } from "../../compress/quantize/round-to-nearest.ts";
import { packageModel } from "../../decoder/opened-package.ts";
import { packageProgram } from "../../decoder/plain-layout-program.ts";
import { stepModel } from "../../decoder/step-model.ts";
import { inMemoryWeights, weightList } from "../../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { EspalierError } from "../../errors.ts";
import { summarizePackage } from "../../export/coreml/package-summary.ts";
import { roundToFloat16 } from "../../float16.ts";
import { printProgram } from "../../mil/print.ts";
import { f32 } from "../../mil/tensor.ts";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { BlobFile } from "./blob-file.ts";
import { readPackage } from "./package-reader.ts";
import { writePackage } from "./package-writer.ts";

const metadata = {
  shortDescription: "tiny",
  author: "test",
  license: "",
  version: "1",
  userDefined: { b: "2", a: "1" },
};
const engine = await createOnnxRuntimeEngine({ threads: 1 });

type Scheme = "dense" | "palette" | "affine" | "sparse";

function compress(scheme: Scheme, values: Float32Array, shape: readonly number[]): CompressedWeight {
  if (shape.length === 1 || scheme === "dense")
    return { kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) };
  if (scheme === "palette") return palettize(values, shape, { bits: 4, rowsPerTable: 8 });
  if (scheme === "affine")
    return quantizeAffine(values, shape, { bits: 4, groupSize: 8, symmetric: false, clipSearch: true });
  const kept = values.map((v) => (Math.abs(v) > 0.1 ? roundToFloat16(v) : 0));
  return {
    kind: "sparse",
    shape,
    mask: Uint8Array.from(kept, (v) => (v === 0 ? 0 : 1)),
    nonzeros: kept.filter((v) => v !== 0),
  };
}

async function build(family: TinyFamily, scheme: Scheme) {
  const weights = tinyModel(family, 9);
  const shipped = new Map<string, CompressedWeight>();
  for (const { name, shape } of weightList(weights.arch))
    shipped.set(name, compress(scheme, await allValues(weights, name), shape));
  return { weights, shipped, program: packageProgram(weights.arch, shipped, { context: 32, prefillLength: 8 }) };
}

test.each([
  ["llama", "dense"],
  ["llama", "palette"],
  ["gemma3", "affine"],
  ["gemma3", "sparse"],
  ["gemma4", "dense"],
  ["gemma4", "palette"],
  ["gemma4_dense", "affine"],
] as const)(
  "%s with %s weights: the package read back is the program, and says what the model says",
  async (family, scheme) => {
    const { weights, shipped, program } = await build(family, scheme);
    const path = join(await temporaryFolder(), "Tiny.mlpackage");
    await writePackage(path, program, metadata);
    const read = await readPackage(path);
    expect(read.userDefined).toEqual({ a: "1", b: "2" });
    expect(read.program.functions.map((f) => f.name).sort()).toEqual(["decode", "prefill"]);
    expect(summarizePackage(read).weights.reduce((n, w) => n + w.tensors, 0)).toBeGreaterThanOrEqual(14);

    const reference = await stepModel(
      engine,
      inMemoryWeights(weights.arch, new Map([...shipped].map(([n, w]) => [n, f32(w.shape, decodeWeight(w))]))),
      { context: 32 },
    );
    const ids = [...tinyIds(12, 48)];
    for (const [float16, tolerance] of [
      ["widen", 2e-3],
      ["round", 5e-2],
    ] as const) {
      const model = await packageModel(engine, read, float16);
      const [a, b] = [reference.open(), model.open()];
      let worst = 0;
      let largest = 0;
      for (const [i, id] of ids.entries()) {
        const left = await a.feed([id], i);
        const right = await b.feed([id], i);
        for (let v = 0; v < left.length; v++) {
          worst = Math.max(worst, Math.abs((left[v] as number) - (right[v] as number)));
          largest = Math.max(largest, Math.abs(left[v] as number));
        }
      }
      // Widened, only the norm gains, 1 + w rounded to fp16, differ from the reference.
      expect(worst / largest).toBeLessThan(tolerance);
    }
  },
);

test("the same program gives the same bytes", async () => {
  const folder = await temporaryFolder();
  for (const name of ["A", "B"])
    await writePackage(join(folder, `${name}.mlpackage`), (await build("llama", "palette")).program, metadata);
  for (const file of [
    "Manifest.json",
    "Data/com.apple.CoreML/model.mlmodel",
    "Data/com.apple.CoreML/weights/weight.bin",
  ]) {
    expect(await readFile(join(folder, "A.mlpackage", file))).toEqual(
      await readFile(join(folder, "B.mlpackage", file)),
    );
  }
});

test("decode and prefill share every weight", async () => {
  const { weights, shipped, program } = await build("llama", "dense");
  const folder = await temporaryFolder();
  const both = await writePackage(join(folder, "Both.mlpackage"), program, metadata);
  const one = await writePackage(
    join(folder, "One.mlpackage"),
    packageProgram(weights.arch, shipped, { context: 32, prefillLength: null }),
    metadata,
  );
  expect(both.weightBytes - one.weightBytes).toBeLessThan(2048);
});

test("a damaged package gives an EspalierError or the same program, never anything else", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "Tiny.mlpackage");
  await writePackage(path, (await build("llama", "affine")).program, metadata);
  const original = printProgram((await readPackage(path)).program);
  const rng = createRng(3, "fuzz");
  const files = ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"];
  const contents = await Promise.all(files.map((f) => readFile(join(path, f))));
  let refused = 0;
  for (let round = 0; round < 150; round++) {
    const which = round % 3;
    const bytes = Buffer.from(contents[which] as Buffer);
    const reach = which === 2 ? Math.min(bytes.length, 4096) : bytes.length;
    for (let k = rng.integer(3); k >= 0; k--) bytes[rng.integer(reach)] = rng.integer(256);
    const damaged = join(folder, "Damaged.mlpackage");
    await cp(path, damaged, { recursive: true, force: true });
    await writeFile(
      join(damaged, files[which] as string),
      rng.uniform() < 0.25 ? bytes.subarray(0, rng.integer(bytes.length)) : bytes,
    );
    try {
      const read = await readPackage(damaged);
      expect(printProgram(read.program).length).toBeGreaterThan(original.length / 2);
    } catch (thrown) {
      if (!(thrown instanceof EspalierError)) throw thrown;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(60);
});

test.each([
  ["a path that leaves the package", (m: string) => m.replace("com.apple.CoreML/weights", "../../weights")],
  ["another format version", (m: string) => m.replace("1.0.0", "2.0.0")],
  ["no root model", (m: string) => m.replace(/"rootModelIdentifier": "[^"]+"/, '"rootModelIdentifier": "x"')],
])("a manifest with %s is refused", async (_what, change) => {
  const path = join(await temporaryFolder(), "Tiny.mlpackage");
  await writePackage(path, (await build("llama", "dense")).program, metadata);
  const manifest = join(path, "Manifest.json");
  await writeFile(manifest, change(await readFile(manifest, "utf8")));
  await expect(readPackage(path)).rejects.toMatchObject({ code: "format/malformed" });
});

test("a summary reads the records of weights, not the weights", async () => {
  for (const scheme of ["dense", "palette", "affine", "sparse"] as const) {
    const path = join(await temporaryFolder(), "summary.mlpackage");
    const written = await writePackage(path, (await build("llama", scheme)).program, metadata);
    const reading = vi.spyOn(BlobFile.prototype, "read");
    const read = await readPackage(path);
    expect(summarizePackage(read).weightBytes).toBe(written.weightBytes);
    const bytesRead = reading.mock.calls.reduce((n, [record]) => n + record.sizeBytes, 0);
    reading.mockRestore();
    // The ones of a sparse weight's mask are counted.
    if (scheme === "sparse") expect(bytesRead).toBeLessThan(0.1 * written.weightBytes);
    else expect(bytesRead).toBe(0);
  }
});
