/** Writes packages of every weight scheme, for every target and as whole decoders, and, beside each, the hash of every decoded weight. Usage: write-packages.ts FOLDER */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { palettize } from "../../lib/compress/quantize/palettize.ts";
import { quantizeAffine } from "../../lib/compress/quantize/round-to-nearest.ts";
import { palettizeScaled } from "../../lib/compress/quantize/scaled-palette.ts";
import { neuralEngineProgram } from "../../lib/decoder/neural-engine/neural-engine-program.ts";
import { type NeuralEngineOptions, neuralEnginePlan } from "../../lib/decoder/neural-engine/plan.ts";
import { INTERFACE_KEY } from "../../lib/decoder/package-interface.ts";
import { packageProgram } from "../../lib/decoder/plain-layout-program.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { float16FromFloat32, roundToFloat16 } from "../../lib/float16.ts";
import { writeFunctionSet } from "../../lib/formats/coreml/function-set.ts";
import { writePipeline } from "../../lib/formats/coreml/package-pipeline.ts";
import { writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { targetNames, targets } from "../../lib/formats/coreml/targets.ts";
import { asBytes } from "../../lib/formats/safetensors.ts";
import { Builder } from "../../lib/mil/builder.ts";
import { scaleOutputs } from "../../lib/mil/passes/scale-outputs.ts";
import { fp16 } from "../../lib/mil/types.ts";
import { createRng } from "../../lib/random.ts";
import { decodeWeight } from "../../lib/weights/decode.ts";
import type { CompressedWeight, PaletteWeight } from "../../lib/weights/weight.ts";
import { weightConstant } from "../../lib/weights/weight-constants.ts";
import { allValues } from "../fixtures/all-values.ts";
import { tinyFamilies, tinyModel } from "../fixtures/tiny-model.ts";

const folder = process.argv[2] ?? ".";

const palette = (bits: PaletteWeight["bits"]) => (v: Float32Array, s: readonly number[]) =>
  palettize(v, s, { bits, rowsPerTable: 8 });
const affine = (bits: 4 | 8, symmetric: boolean, groupSize: number | null) => (v: Float32Array, s: readonly number[]) =>
  quantizeAffine(v, s, { bits, groupSize, symmetric, clipSearch: true });
const sparse = (v: Float32Array, shape: readonly number[]): CompressedWeight => {
  const kept = v.map((w) => (Math.abs(w) > 0.1 ? roundToFloat16(w) : 0));
  return {
    kind: "sparse",
    shape,
    mask: Uint8Array.from(kept, (w) => (w === 0 ? 0 : 1)),
    nonzeros: kept.filter((w) => w !== 0),
  };
};
const dense = (v: Float32Array, shape: readonly number[]): CompressedWeight => ({
  kind: "dense",
  dtype: "fp16",
  shape,
  values: v.map(roundToFloat16),
});

const metadata = { shortDescription: "scheme", author: "Espalier", license: "", version: "1", userDefined: {} };

/** One table a tensor, which iOS 17 takes, and scales on the output. */
const whole: Record<string, (v: Float32Array, shape: readonly number[]) => CompressedWeight> = {
  ...Object.fromEntries(
    ([1, 2, 3, 4, 6, 8] as const).map((bits) => [
      `palette${bits}_whole`,
      (v: Float32Array, s: readonly number[]) => palettize(v, s, { bits, rowsPerTable: null }),
    ]),
  ),
  palette4_scaled: (v, s) => palettizeScaled(v, s, { bits: 4, rowsPerTable: null }),
  palette4_scaled_groups: (v, s) => palettizeScaled(v, s, { bits: 4, rowsPerTable: 8 }),
};

const schemes: Record<string, (v: Float32Array, shape: readonly number[]) => CompressedWeight> = {
  dense,
  sparse,
  ...Object.fromEntries(([1, 2, 3, 4, 6, 8] as const).map((b) => [`palette${b}`, palette(b)])),
  int8: affine(8, true, null),
  int8_asymmetric: affine(8, false, null),
  int4: affine(4, true, null),
  int4_groups: affine(4, false, 8),
};

const neuralEngine: NeuralEngineOptions = {
  contexts: [64, 96],
  prefill: [16],
  embedding: "inside",
  cacheForm: "state",
  prefillLogits: "last",
  beginToken: 1,
  stopTokens: [2],
};

/** Every scheme for every target that takes it, as a projection of `weight`. */
for (const target of targetNames) {
  for (const [scheme, compress] of Object.entries({ ...schemes, ...whole })) {
    const shape = [32, 24];
    const rng = createRng(6, scheme);
    const weight = compress(
      Float32Array.from({ length: 768 }, () => rng.normal()),
      shape,
    );
    const b = new Builder("main");
    const x = b.input("x", fp16(1, 24));
    const fn = scaleOutputs(b.build({ y: b.linear(x, weightConstant(b, "weight", weight, "fp16")) }));
    const program = { opset: targets[target].opset, functions: [fn], defaultFunction: "main" };
    const file = join(folder, `${target}_${scheme}`);
    try {
      await writePackage(`${file}.mlpackage`, program, metadata);
    } catch (thrown) {
      if (!(thrown instanceof EspalierError) || thrown.code !== "export/unsupported") throw thrown;
      console.log(`${target} does not take ${scheme}`);
      continue;
    }
    const stored = weight.kind === "scaled" ? weight.inner : weight;
    const hash = createHash("sha256")
      .update(asBytes(float16FromFloat32(decodeWeight(stored))))
      .digest("hex");
    writeFileSync(`${file}.json`, JSON.stringify(stored.kind === "dense" ? {} : { weight: hash }));
  }
}

for (const family of tinyFamilies) {
  for (const [name, compress] of Object.entries(schemes)) {
    const weights = tinyModel(family, 2);
    const shipped = new Map<string, CompressedWeight>();
    for (const { name: weight, shape } of weightList(weights.arch)) {
      const values = await allValues(weights, weight);
      shipped.set(weight, shape.length === 1 ? dense(values, shape) : compress(values, shape));
    }
    const file = join(folder, `${family}_${name}`);
    await writePackage(`${file}.mlpackage`, packageProgram(weights.arch, shipped, { context: 32, prefillLength: 8 }), {
      shortDescription: file,
      author: "Espalier",
      license: "",
      version: "1",
      userDefined: {},
    });
    const hashes: Record<string, string> = {};
    for (const [weight, w] of shipped) {
      if (w.kind === "dense") continue;
      const half = float16FromFloat32(decodeWeight(w));
      hashes[weight] = createHash("sha256").update(asBytes(half)).digest("hex");
    }
    writeFileSync(`${file}.json`, JSON.stringify(hashes));

    const forms: Record<string, Partial<NeuralEngineOptions>> = name === "dense"
      ? { ne: {}, ne_arguments: { cacheForm: "arguments" }, ne_host: { embedding: "host", largestHeadPart: 20 } }
      : { ne: {} };
    for (const [form, change] of Object.entries(forms)) {
      const plan = neuralEnginePlan({ ...weights.arch, maxPositions: 96 }, { ...neuralEngine, ...change });
      await writePackage(`${file}_${form}.mlpackage`, neuralEngineProgram(weights.arch, shipped, plan), {
        shortDescription: `${file}, Neural Engine layout`,
        author: "Espalier",
        license: "",
        version: "1",
        userDefined: { [INTERFACE_KEY]: JSON.stringify(plan.interface) },
      });
      // The head is the embedding again, or a constant named otherwise; the per-layer table stays with the host.
      const { head: _, perLayerEmbedding: __, ...named } = hashes;
      writeFileSync(`${file}_${form}.json`, JSON.stringify(named));
    }
  }
}

/** A decoder in several packages, each a package of its own to any parser. */
const model = tinyModel("gemma3", 2);
const small = new Map<string, CompressedWeight>();
for (const { name, shape } of weightList(model.arch)) {
  const values = await allValues(model, name);
  small.set(name, shape.length === 1 ? dense(values, shape) : palette(4)(values, shape));
}
const whole16 = packageProgram(model.arch, small, { context: 16, prefillLength: 4 });
await writePipeline(join(folder, "pipeline"), whole16, metadata, { limitBytes: 4000 });

/** Whole decoders for the other systems, in both layouts; on iOS 17 a package for each function, in a folder of its own. */
for (const family of tinyFamilies) {
  const tiny = tinyModel(family, 2);
  const arch = { ...tiny.arch, maxPositions: 96 };
  for (const target of ["iOS17", "iOS26"] as const) {
    // One table a tensor, and int8 with a scale a row, are what all three systems take.
    const shipped = new Map<string, CompressedWeight>();
    for (const { name, shape } of weightList(arch)) {
      const values = await allValues(tiny, name);
      const scheme = name.endsWith("down") ? schemes.int8 : whole.palette4_whole;
      shipped.set(name, shape.length === 1 ? dense(values, shape) : (scheme ?? dense)(values, shape));
    }
    const { opset, states, functions } = targets[target];
    const cacheForm = states ? "state" : "arguments";
    const programs = [packageProgram(arch, shipped, { context: 32, prefillLength: 8, opset, cacheForm })];
    programs.push({
      ...neuralEngineProgram(arch, shipped, neuralEnginePlan(arch, { ...neuralEngine, cacheForm })),
      opset,
    });
    for (const [i, program] of programs.entries()) {
      const name = `${target}_${family}_${i === 0 ? "plain" : "ne"}`;
      if (functions) await writePackage(join(folder, "targets", `${name}.mlpackage`), program, metadata);
      else await writeFunctionSet(join(folder, "targets", `${name}.functions`), program, () => metadata);
    }
  }
}
