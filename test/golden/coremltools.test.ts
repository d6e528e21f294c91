/** Packages that coremltools wrote (test/oracles/make_packages.py): read here, decoded to the same weights, and no lint rule calls them wrong. */
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { lintPackage } from "../../lib/export/coreml/lint/lint.ts";
import { float16FromFloat32, float32FromFloat16 } from "../../lib/float16.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { asBytes } from "../../lib/formats/safetensors.ts";
import type { MilFunction } from "../../lib/mil/program.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const corpus = join(import.meta.dirname, "coremltools");
const { packages } = JSON.parse(await readFile(join(corpus, "corpus.json"), "utf8")) as {
  packages: Record<string, string | null>;
};
const folder = await temporaryFolder();

/** With a manifest as coremltools writes one; the committed files go without, for its identifiers are random. */
async function assembled(name: string): Promise<string> {
  const path = join(folder, `${name.replace("/", "_")}.mlpackage`);
  const data = join(path, "Data", "com.apple.CoreML");
  await mkdir(join(data, "weights"), { recursive: true });
  await copyFile(join(corpus, `${name}.mlmodel`), join(data, "model.mlmodel"));
  const weights = join(corpus, `${name}.bin`);
  if (await stat(weights).catch(() => null)) await copyFile(weights, join(data, "weights", "weight.bin"));
  const entry = (file: string, description: string) => ({
    author: "com.apple.CoreML",
    description,
    name: file,
    path: `com.apple.CoreML/${file}`,
  });
  await writeFile(
    join(path, "Manifest.json"),
    JSON.stringify({
      fileFormatVersion: "1.0.0",
      itemInfoEntries: {
        M: entry("model.mlmodel", "CoreML Model Specification"),
        W: entry("weights", "CoreML Model Weights"),
      },
      rootModelIdentifier: "M",
    }),
  );
  return path;
}

const engine = await createOnnxRuntimeEngine({ threads: 1 });

/** The weight of y = W x, column by column, in fp16. */
async function weightOf(path: string): Promise<Uint16Array> {
  const fn = (await readPackage(path)).program.functions[0] as MilFunction;
  const [rows, columns] = [fn.outputs[0], fn.inputs[0]].map((v) =>
    v?.type.kind === "tensor" ? (v.type.shape[1] ?? 0) : 0,
  );
  const exe = await engine.compile(fn, { float16: "widen" });
  const weight = new Float32Array((rows as number) * (columns as number));
  for (let c = 0; c < (columns as number); c++) {
    const x = new Float32Array(columns as number);
    x[c] = 1;
    const out = await exe.run({ x: { dtype: "fp16", shape: [1, x.length], data: float16FromFloat32(x) } });
    const y = out.y?.data as Float32Array | Uint16Array;
    const column = y instanceof Uint16Array ? float32FromFloat16(y) : y;
    for (let r = 0; r < column.length; r++) weight[r * x.length + c] = column[r] as number;
  }
  await exe.dispose();
  return float16FromFloat32(weight);
}

/**
 * Legal, and reported not to run on the Neural Engine: a scale per block; and the tables that coremltools makes per input channel
 * where it folds the scales of a palette into them, below iOS 26.
 */
function trapsOfTheEngine(name: string): string[] {
  if (/int[48]_block$/.test(name)) return ["weights/block-scales"];
  return /iOS18.*_scaled$/.test(name) ? ["weights/palette-axis"] : [];
}

test("the corpus has every target", () => {
  expect([...new Set(Object.keys(packages).map(dirname))]).toEqual(["iOS16", "iOS17", "iOS18", "iOS26"]);
  expect(Object.keys(packages).length).toBeGreaterThan(120);
});

test.each(Object.entries(packages))("%s", async (name, digest) => {
  const path = await assembled(name);
  for (const units of ["all", "cpuAndGPU", "cpuAndNeuralEngine"] as const) {
    const { findings } = await lintPackage(path, { units });
    const errors = findings.filter((f) => f.severity === "error").map((f) => f.rule);
    expect(errors).toEqual(units === "cpuAndNeuralEngine" ? trapsOfTheEngine(name) : []);
    expect(findings.map((f) => f.rule)).not.toContain("files/readable");
  }
  if (digest === null) return;
  expect(
    createHash("sha256")
      .update(asBytes(await weightOf(path)))
      .digest("hex"),
  ).toBe(digest);
});
