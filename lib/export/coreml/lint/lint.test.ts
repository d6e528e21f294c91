import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  conv,
  denseWeight,
  engineProgram,
  type Faults,
  paletteWeight,
  product,
} from "../../../../test/fixtures/neural-engine-program.ts";
import { type TinyFamily, temporaryFolder, tinyModel } from "../../../../test/fixtures/tiny-model.ts";
import { palettize } from "../../../compress/quantize/palettize.ts";
import { quantizeAffine } from "../../../compress/quantize/round-to-nearest.ts";
import { packageProgram } from "../../../decoder/plain-layout-program.ts";
import { weightList } from "../../../decoder/weights.ts";
import { EspalierError } from "../../../errors.ts";
import { float16FromFloat32, roundToFloat16 } from "../../../float16.ts";
import { BlobFile } from "../../../formats/coreml/blob-file.ts";
import * as features from "../../../formats/coreml/generated/feature-types_pb.ts";
import * as mil from "../../../formats/coreml/generated/mil_pb.ts";
import {
  type FeatureDescription,
  FeatureDescriptionSchema,
  type Model,
  ModelSchema,
} from "../../../formats/coreml/generated/model_pb.ts";
import { writePackage } from "../../../formats/coreml/package-writer.ts";
import { type Builder, typeOf } from "../../../mil/builder.ts";
import type { Program, Value } from "../../../mil/program.ts";
import { f32, float32Data, i32, type Tensor, tensor } from "../../../mil/tensor.ts";
import { fp16, fp32, int32, stateType } from "../../../mil/types.ts";
import type { CompressedWeight } from "../../../weights/weight.ts";
import { type LintOptions, type LintResult, lintPackage, lintProgram } from "./lint.ts";
import { lintPage } from "./lint-page.ts";
import type { Severity } from "./rule.ts";
import { rules } from "./rules/all-rules.ts";

const metadata = { shortDescription: "tiny", author: "test", license: "", version: "1", userDefined: { a: "1" } };

async function written(program: Program): Promise<string> {
  const path = join(await temporaryFolder(), "Tiny.mlpackage");
  try {
    await writePackage(path, program, metadata);
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code !== "export/unsupported") throw thrown;
    // Our writer refuses this for iOS 18, other tools do not: it is written for iOS 26 and called iOS 18.
    await writePackage(path, { ...program, opset: "CoreML9" }, metadata);
    const file = join(path, "Data/com.apple.CoreML/model.mlmodel");
    const message = fromBinary(ModelSchema, await readFile(file));
    message.specificationVersion = 9;
    setOpset(message, "CoreML8");
    await writeFile(file, toBinary(ModelSchema, message));
  }
  return path;
}

const told = (r: LintResult): string[] => r.findings.map((f) => `${f.severity} ${f.rule}`);
const lintFaults = async (faults: Faults, options?: LintOptions): Promise<LintResult> =>
  lintPackage(await written(engineProgram(faults)), options);

test("every rule has its own name, a reason, a way out and a source", () => {
  expect(rules.length).toBeGreaterThanOrEqual(80);
  expect(new Set(rules.map((r) => r.id)).size).toBe(rules.length);
  for (const r of rules) {
    expect(r.id).toMatch(/^[a-z]+\/[a-z0-9-]+$/);
    for (const text of [r.title, r.why, r.fix, r.source]) expect(text.length).toBeGreaterThan(8);
  }
});

test("the documentation lists the rules that run", async () => {
  await expect(lintPage()).toMatchFileSnapshot("../../../../docs/methods/lint.md");
});

const good = await written(engineProgram());

test("a program written as the Neural Engine wants it has nothing to be told", async () => {
  const result = await lintPackage(good);
  expect(told(result)).toEqual([]);
  expect(result.counts.passed + result.counts.notApplicable).toBe(rules.length);
  expect(result.counts.passed).toBeGreaterThan(55);
  expect(await lintPackage(good)).toEqual(result);
});

type Scheme = "dense" | "palette" | "rows" | "blocks" | "sparse";

function compress(scheme: Scheme, values: Float32Array, shape: readonly number[]): CompressedWeight {
  if (shape.length === 1 || scheme === "dense")
    return { kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) };
  if (scheme === "palette") return palettize(values, shape, { bits: 4, rowsPerTable: 8 });
  if (scheme !== "sparse")
    return quantizeAffine(values, shape, {
      bits: scheme === "rows" ? 8 : 4,
      groupSize: scheme === "rows" ? (shape[1] as number) : 8,
      symmetric: true,
      clipSearch: false,
    });
  const kept = values.map((v) => (Math.abs(v) > 0.1 ? roundToFloat16(v) : 0));
  return {
    kind: "sparse",
    shape,
    mask: Uint8Array.from(kept, (v) => (v === 0 ? 0 : 1)),
    nonzeros: kept.filter((v) => v !== 0),
  };
}

function plain(family: TinyFamily, scheme: Scheme): Program {
  const { arch, tensors } = tinyModel(family, 9);
  const shipped = new Map(
    weightList(arch).map(({ name, shape }) => [
      name,
      compress(scheme, float32Data(tensors.get(name) as Tensor), shape),
    ]),
  );
  return packageProgram(arch, shipped, { context: 64, prefillLength: 8 });
}

const families: TinyFamily[] = ["llama", "gemma3"];
const schemes: Scheme[] = ["dense", "palette", "rows", "blocks", "sparse"];

test.each(families.flatMap((f) => schemes.map((s) => [f, s] as const)))(
  "the plain layout of %s with %s weights has no error where anything may run it",
  async (family, scheme) => {
    const path = await written(plain(family, scheme));
    const everywhere = await lintPackage(path, { units: "all", architecture: tinyModel(family, 9).arch });
    expect(everywhere.counts.errors).toBe(0);
    const warned = new Set(everywhere.findings.filter((f) => f.severity === "warning").map((f) => f.rule));
    const expected = ["precision/integer-compute", "placement/gather", "shapes/projection-form"];
    for (const rule of expected) expect(warned).toContain(rule);
    expect(warned.has("attention/sliding-without-ring")).toBe(family === "gemma3");
    expect(warned.has("weights/block-scales")).toBe(scheme === "blocks");
    // headDim 8: no state for the Neural Engine.
    expect(warned.has("state/dimensions")).toBe(true);

    const engine = await lintPackage(path);
    const errors = engine.findings.filter((f) => f.severity === "error").map((f) => f.rule);
    expect(new Set(errors)).toEqual(
      new Set(["state/dimensions", ...(scheme === "blocks" ? ["weights/block-scales"] : [])]),
    );

    const gpu = await lintPackage(path, { units: "cpuAndGPU" });
    expect(gpu.counts.errors).toBe(0);
    expect(gpu.findings.every((f) => rules.find((r) => r.id === f.rule)?.units === "any")).toBe(true);
  },
);

// Faults in the program: each is built into the good one, and found by its rule alone.

const scalar = (b: Builder, v: number): Value => b.scalar(v, "fp16");
const halves = (b: Builder, shape: readonly number[], value: number, name: string): Value =>
  b.constant(tensor("fp16", shape, float16FromFloat32(new Float32Array(product(shape)).fill(value))), name);
const one = (b: Builder, n: number): Value => b.constant(i32([1], Int32Array.of(n)));
const masks = { begin: [false, true, false, true], end: [false, true, false, true] };

const affine = (b: Builder, name: string, shape: readonly number[], scaleShape: readonly number[]): Value =>
  b.op(
    "constexpr_blockwise_shift_scale",
    {
      data: b.constant(tensor("int8", shape, new Int8Array(product(shape)).fill(3)), `${name}_codes`),
      scale: halves(b, scaleShape, 0.01, `${name}_scale`),
    },
    {},
    name,
  )[0] as Value;

/** One weight replaced, the others as they are. */
const onWeight =
  (
    wanted: string,
    make: (b: Builder, name: string, shape: readonly number[]) => Value,
  ): NonNullable<Faults["weight"]> =>
  (b, name, shape) =>
    name === wanted ? make(b, name, shape) : paletteWeight(b, name, shape);

/** (1, 64, 1, S) as rank `rank` and back. */
const reshapedTo =
  (shape: (length: number) => number[]): NonNullable<Faults["stream"]> =>
  (b, x) => {
    const length = typeOf(x).shape[3] as number;
    return b.reshape(b.mul(b.reshape(x, shape(length)), 1), [1, 64, 1, length]);
  };

const unsafeNorm: Faults["norm"] = (b, x) => b.mul(x, b.rsqrt(b.mean(b.square(x), [1], true), 1e-4));

interface Seed {
  readonly rule: string;
  readonly severity?: Severity;
  readonly faults: Faults;
  readonly units?: LintOptions["units"];
  /** What the same fault also breaks. */
  readonly beside?: readonly string[];
}

const seeds: Record<string, Seed> = {
  "three states": {
    rule: "state/count",
    faults: {
      inputs: (b) => {
        for (const name of ["second", "third"]) {
          const s = b.input(name, stateType(fp16(1, 1, 32, 32)));
          b.writeState(s, b.mul(b.readState(s), 1));
        }
      },
    },
  },
  "a cache of 48 positions": { rule: "state/dimensions", faults: { sizes: { context: 48 } } },
  "a state that differs between functions": {
    rule: "state/same-declaration",
    faults: { stateShape: ([rows = 0, ...rest], name) => [name === "decode" ? rows : rows + 2, ...rest] },
  },
  "caches of two lengths": {
    rule: "state/same-declaration",
    severity: "info",
    faults: {
      chunks: [1, 32],
      stateShape: ([rows = 0, ...rest], name) => [name.endsWith("long") ? rows + 2 : rows, ...rest],
      twice: true,
    },
  },
  "two layers that update one copy": {
    rule: "state/stale-write",
    faults: (() => {
      let first: Value | null = null;
      return {
        cache: (b, state, rows, { begin, end }, layer) => {
          if (layer === 0) first = b.readState(state);
          b.writeState(state, b.sliceUpdate(first as Value, rows, begin, end, masks));
          return b.readState(state);
        },
      } satisfies Faults;
    })(),
  },
  "attention on the updated copy": {
    rule: "state/order",
    faults: {
      cache: (b, state, rows, { begin, end }) => {
        const updated = b.sliceUpdate(b.readState(state), rows, begin, end, masks);
        b.writeState(state, updated);
        return updated;
      },
    },
  },
  "the written value as an output": {
    rule: "state/output-alias",
    faults: {
      outputs: (b, logits, state) => {
        const next = b.mul(b.readState(state), 0.5);
        b.writeState(state, next);
        return { logits, next };
      },
    },
  },
  "a linear projection reshaped and transposed into the state": {
    rule: "state/projection-path",
    units: "cpuAndGPU",
    faults: {
      cache: (b, state, rows, { begin, end }, layer) => {
        const [, , length] = typeOf(rows).shape as [number, number, number, number];
        const flat = b.reshape(b.slice(rows, [0, 0, 0, 0], [1, 1, length, 32]), [length, 32]);
        const w = denseWeight(b, `L${layer}_linear`, [128, 32]);
        const heads = b.transpose(b.reshape(b.linear(flat, w), [length, 2, 2, 32]), [1, 2, 0, 3]);
        b.writeState(state, b.sliceUpdate(b.readState(state), b.add(heads, rows), begin, end, masks));
        b.writeState(state, b.sliceUpdate(b.readState(state), heads, begin, end, masks));
        return b.readState(state);
      },
    },
  },
  "a state nobody writes": {
    rule: "state/unused",
    faults: {
      outputs: (b, logits) => {
        const s = b.input("idle", stateType(fp16(1, 1, 32, 32)));
        const seen = b.reshape(b.slice(b.readState(s), [0, 0, 0, 0], [1, 1, 1, 1]), [1, 1, 1, 1]);
        return { logits: b.add(logits, seen) };
      },
      chunks: [1],
    },
    beside: ["functions/prefill"],
  },
  "rows of the state at run-time bounds": {
    rule: "state/constant-rows",
    faults: {
      cache: (b, state, rows, { begin, end }) => {
        b.writeState(state, b.sliceUpdate(b.readState(state), rows, begin, end, masks));
        const all = b.readState(state);
        return b.op(
          "slice_by_size",
          { x: all, begin: b.concat([one(b, 0), one(b, 0), b.sub(begin0(b, begin), begin0(b, begin)), one(b, 0)], 0) },
          { size: [6, 2, 64, 32] },
        )[0] as Value;
      },
    },
  },
  "two states in a chunk": {
    rule: "state/two-with-prefill",
    severity: "info",
    faults: {
      inputs: (b) => {
        const s = b.input("second", stateType(fp16(1, 1, 32, 32)));
        b.writeState(s, b.mul(b.readState(s), 1));
      },
    },
  },
  "a mask of minus infinity": {
    rule: "range/non-finite",
    faults: { mask: (b, m) => b.add(m, halves(b, [1, 1, 1, 64], Number.NEGATIVE_INFINITY, "never")) },
  },
  "an fp32 constant fp16 cannot hold": {
    rule: "range/fp16-overflow",
    faults: { stream: (b, x) => b.add(x, b.cast(b.constant(f32([1, 1, 1, 1], [1e5]), "far"), "fp16")) },
    beside: ["precision/fp32"],
  },
  "scales whose largest code overflows": {
    rule: "range/fp16-overflow",
    faults: {
      weight: onWeight(
        "L1_down",
        (b, name, shape) =>
          b.op(
            "constexpr_blockwise_shift_scale",
            {
              data: b.constant(tensor("int8", shape, new Int8Array(product(shape))), `${name}_codes`),
              scale: halves(b, [shape[0] as number, 1, 1, 1], 600, `${name}_scale`),
            },
            {},
            name,
          )[0] as Value,
      ),
    },
  },
  "two masks that add up": {
    rule: "range/mask",
    faults: {
      probabilities: (b, scores) => {
        const far = halves(b, [1, 1, 1, 64], -40000, "far");
        return b.softmax(b.add(b.add(scores, far), halves(b, [1, 1, 1, 64], -30000, "window")));
      },
    },
  },
  "an epsilon that is no number in fp16": {
    rule: "range/epsilon",
    faults: { stream: (b, x) => b.mul(x, b.rsqrt(b.add(b.mul(x, 0), 1), 1e-12)) },
  },
  "an added epsilon below fp16's normals": {
    rule: "range/epsilon",
    faults: { stream: (b, x) => b.add(x, scalar(b, 1e-6)) },
  },
  "a norm that squares": { rule: "range/unsafe-norm", faults: { norm: unsafeNorm } },
  "a mean over 4096": {
    rule: "range/reduction-depth",
    severity: "info",
    faults: {
      chunks: [1, 64],
      stream: (b, x) => b.add(x, b.mean(x, [1, 3], true)),
    },
  },
  "an exponential written out": { rule: "range/bare-exp", faults: { stream: (b, x) => b.exp(x) } },
  "a soft cap on the logits": {
    rule: "range/soft-cap",
    severity: "info",
    faults: { outputs: (b, logits) => ({ logits: b.mul(b.tanh(b.mul(logits, 1 / 30)), 30) }) },
  },
  "a softmax over heads of one": {
    rule: "range/softmax-axis",
    faults: { stream: (b, x) => b.mul(x, b.softmax(x, 2)) },
  },
  "an fp32 island": {
    rule: "precision/fp32",
    faults: { stream: (b, x) => b.cast(b.mul(b.cast(x, "fp32"), b.scalar(0.5, "fp32")), "fp16") },
  },
  "a mask from comparisons": {
    rule: "precision/integer-compute",
    faults: {
      mask: (b, m) =>
        b.add(
          m,
          b.cast(
            b.less(
              b.constant(
                i32(
                  [1, 1, 1, 64],
                  Int32Array.from({ length: 64 }, (_, i) => i),
                ),
                "places",
              ),
              one(b, 99),
            ),
            "fp16",
          ),
        ),
    },
  },
  "an fp32 input": {
    rule: "precision/interface",
    severity: "info",
    faults: {
      chunks: [1, 32],
      outputs: (b, logits) => ({ logits: b.mul(logits, b.cast(b.input("temperature", fp32(1, 1, 1, 1)), "fp16")) }),
    },
  },
  "five axes": { rule: "shapes/rank", severity: "warning", faults: { stream: reshapedTo((s) => [1, 2, 32, 1, s]) } },
  "six axes": { rule: "shapes/rank", faults: { stream: reshapedTo((s) => [1, 2, 2, 16, 1, s]) }, severity: "error" },
  "a big tensor that ends in one": {
    rule: "shapes/last-axis-one",
    faults: {
      chunks: [1, 32],
      stream: (b, x) =>
        b.add(
          x,
          b.max(
            b.tile(b.reshape(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [1, 1, 64, 1]), [1, 512, 1, 1]),
            [1, 2],
            true,
          ),
        ),
    },
  },
  "a big tensor with rows of 33": {
    rule: "shapes/last-axis-alignment",
    faults: {
      stream: (b, x) => {
        const wide = b.tile(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [1, 300, 1, 33]);
        return b.add(x, b.max(wide, [1, 3], true));
      },
    },
  },
  "16 896 positions wide": {
    rule: "shapes/extent",
    severity: "warning",
    faults: {
      stream: (b, x) => b.add(x, b.max(b.tile(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [1, 1, 1, 16896]), [3], true)),
    },
  },
  "66 048 channels": {
    rule: "shapes/channels",
    faults: {
      stream: (b, x) => {
        const wide = b.tile(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [1, 1032, 1, 32]);
        return b.add(x, b.max(wide, [1, 3], true));
      },
    },
  },
  "a head of 16 400": { rule: "shapes/vocabulary-head", faults: { sizes: { vocab: 16400 }, chunks: [1, 2] } },
  "a product over 16 448": {
    rule: "shapes/contraction",
    faults: {
      stream: (b, x) => b.add(x, conv(b, b.tile(x, [1, 257, 1, 1]), paletteWeight(b, "deep", [64, 16448, 1, 1]))),
    },
  },
  "a scalar transposed": {
    rule: "shapes/scalar-moves",
    faults: { stream: (b, x) => b.mul(x, b.transpose(b.reshape(b.slice(x, [0, 0, 0, 0], [1, 1, 1, 1]), []), [])) },
  },
  "a product of vectors": {
    rule: "shapes/vector-products",
    units: "cpuAndGPU",
    faults: {
      stream: (b, x) => {
        const v = b.reshape(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [64]);
        return b.add(x, b.reshape(b.linear(v, denseWeight(b, "vector", [64, 64])), [1, 64, 1, 1]));
      },
    },
  },
  "a linear head": {
    rule: "shapes/projection-form",
    faults: {
      head: (b, x) => {
        const length = typeOf(x).shape[3] as number;
        const rows = b.transpose(b.reshape(x, [1, 64, length]), [0, 2, 1]);
        return b.linear(rows, denseWeight(b, "linear_head", [96, 64]));
      },
    },
  },
  "a dilated convolution": {
    rule: "shapes/convolution-form",
    faults: {
      chunks: [1, 32],
      stream: (b, x) =>
        b.op(
          "conv",
          { x, weight: paletteWeight(b, "dilated", [64, 64, 1, 1]) },
          { strides: [1, 1], pad_type: "valid", pad: [0, 0, 0, 0], dilations: [2, 2] },
        )[0] as Value,
    },
  },
  "a big transpose of the last axis": {
    rule: "shapes/last-axis-moves",
    severity: "info",
    faults: {
      stream: (b, x) => {
        const wide = b.transpose(b.tile(b.slice(x, [0, 0, 0, 0], [1, 64, 1, 1]), [1, 1, 32, 64]), [0, 1, 3, 2]);
        return b.add(x, b.max(wide, [2, 3], true));
      },
    },
  },
  "a scale per block": {
    rule: "weights/block-scales",
    faults: { weight: onWeight("L1_up", (b, name, shape) => affine(b, name, shape, [shape[0] as number, 2, 1, 1])) },
  },
  "tables along input channels": {
    rule: "weights/palette-axis",
    faults: {
      weight: onWeight("L1_up", (b, name, shape) => {
        const indices = b.constant(tensor("uint4", shape, new Uint8Array(product(shape))), `${name}_indices`);
        const lut = halves(b, [4, 2, 1, 1, 16, 1], 0.1, `${name}_table`);
        return b.op("constexpr_lut_to_dense", { indices, lut }, {}, name)[0] as Value;
      }),
    },
  },
  "a table per two channels": {
    rule: "weights/table-count",
    faults: { weight: onWeight("L0_gate", (b, name, shape) => paletteWeight(b, name, shape, 2)) },
  },
  "a palette of pairs": {
    rule: "weights/vector-palettes",
    faults: {
      weight: onWeight("L0_gate", (b, name, shape) => {
        const coded = [(shape[0] as number) / 2, ...shape.slice(1)];
        const indices = b.constant(tensor("uint4", coded, new Uint8Array(product(coded))), `${name}_indices`);
        const lut = halves(b, [1, 1, 1, 1, 16, 2], 0.1, `${name}_table`);
        return b.op("constexpr_lut_to_dense", { indices, lut }, { vector_axis: 0 }, name)[0] as Value;
      }),
    },
  },
  "tables of integers": {
    rule: "weights/integer-tables",
    faults: {
      weight: onWeight("L0_gate", (b, name, shape) => {
        const indices = b.constant(tensor("uint4", shape, new Uint8Array(product(shape))), `${name}_indices`);
        const codes = b.constant(tensor("int8", [1, 1, 1, 1, 16, 1], new Int8Array(16)), `${name}_table`);
        const lut = b.op("constexpr_blockwise_shift_scale", {
          data: codes,
          scale: halves(b, [1, 1, 1, 1, 1, 1], 0.01, `${name}_scale`),
        })[0] as Value;
        return b.op("constexpr_lut_to_dense", { indices, lut }, {}, name)[0] as Value;
      }),
    },
  },
  "a palette scaled afterwards": {
    rule: "weights/scaled-palettes",
    faults: {
      weight: onWeight("L0_gate", (b, name, shape) => {
        const data = paletteWeight(b, `${name}_codes`, shape);
        const scale = halves(b, [shape[0] as number, 1, 1, 1], 0.5, `${name}_scale`);
        return b.op("constexpr_blockwise_shift_scale", { data, scale }, {}, name)[0] as Value;
      }),
    },
  },
  "a sparse weight half full": {
    rule: "weights/sparse",
    severity: "info",
    faults: {
      weight: onWeight("L0_gate", (b, name, shape) => {
        const count = product(shape);
        const mask = Uint8Array.from({ length: count }, (_, i) => i % 2);
        return b.op("constexpr_sparse_to_dense", {
          nonzero_data: halves(b, [count / 2], 0.1, `${name}_values`),
          mask: b.constant(tensor("uint1", shape, mask), `${name}_mask`),
        })[0] as Value;
      }),
    },
  },
  "a big weight left as it was": {
    rule: "weights/uncompressed",
    severity: "info",
    faults: { sizes: { neurons: 1056 }, weight: onWeight("L1_down", denseWeight) },
  },
  "a megabyte a core": {
    rule: "weights/dma-notch",
    severity: "info",
    faults: {
      stream: (b, x) => {
        const shape = [4096, 2048, 1, 1];
        const indices = b.constant(tensor("uint4", shape, new Uint8Array(product(shape))), "wide_indices");
        const lut = halves(b, [1, 1, 1, 1, 16, 1], 0.1, "wide_table");
        const wide = conv(b, b.tile(x, [1, 32, 1, 1]), b.op("constexpr_lut_to_dense", { indices, lut })[0] as Value);
        return b.add(x, b.max(wide, [1], true));
      },
    },
  },
  "int8 activations": {
    rule: "weights/quantized-activations",
    faults: {
      stream: (b, x) => {
        const q = b.op("quantize", { input: x, scale: scalar(b, 0.1) }, { output_dtype: "int8" })[0] as Value;
        return b.op("dequantize", { input: q, scale: scalar(b, 0.1) })[0] as Value;
      },
    },
  },
  "fused attention at several sites": {
    rule: "attention/fused",
    severity: "error",
    faults: {
      stream: (b, x) => {
        const length = typeOf(x).shape[3] as number;
        const q = b.reshape(x, [1, 2, length, 32]);
        let y = q;
        for (let i = 0; i < 2; i++)
          y = b.op("scaled_dot_product_attention", { query: y, key: q, value: q })[0] as Value;
        return b.reshape(y, [1, 64, 1, length]);
      },
    },
  },
  "keys repeated per head": { rule: "attention/tiled-groups", faults: { keys: (b, k) => b.tile(k, [1, 2, 1, 1]) } },
  "sines in the graph": { rule: "attention/rope-in-graph", faults: { stream: (b, x) => b.mul(x, b.cos(x)) } },
  "4096 positions": { rule: "attention/context", faults: { sizes: { context: 4096 } } },
  "a lookup": {
    rule: "placement/gather",
    faults: {
      stream: (b, x) => {
        const ids = b.input("ids", int32(1));
        return b.add(x, b.reshape(b.gather(denseWeight(b, "table", [96, 64]), ids, 0), [1, 64, 1, 1]));
      },
    },
  },
  "top-k in the graph": {
    rule: "placement/cpu-operations",
    faults: {
      outputs: (b, logits) => ({
        logits: b.op("topk", { x: logits }, { k: 8, axis: 1, return_indices: false })[0] as Value,
      }),
    },
  },
  "argmax in the graph": {
    rule: "placement/argmax",
    faults: { outputs: (b, logits) => ({ logits, best: b.argmax(logits, 1) }) },
  },
  "one layer": { rule: "placement/small-graph", severity: "info", faults: { sizes: { layers: 1 } } },
  "no chunks": { rule: "functions/prefill", severity: "info", faults: { chunks: [1] } },
  "four widths": { rule: "functions/count", faults: { chunks: [1, 8, 16, 32, 64] } },
  "all the logits of a prompt": {
    rule: "functions/prefill-outputs",
    severity: "info",
    faults: { sizes: { vocab: 16384, context: 256 }, chunks: [1, 160] },
  },
  "operations nothing reads": {
    rule: "functions/dead-operations",
    faults: {
      stream: (b, x) => {
        b.mul(x, 0.25);
        return x;
      },
    },
  },
  "an input nothing reads": {
    rule: "functions/unused-inputs",
    faults: { inputs: (b) => void b.input("step", int32(1)) },
  },
};

const begin0 = (b: Builder, begin: Value): Value => b.slice(begin, [2], [3]);

test.each(Object.entries(seeds))("%s", async (_name, { rule, severity, faults, units, beside = [] }) => {
  const result = await lintFaults(faults, units ? { units } : {});
  expect([...new Set(result.findings.map((f) => f.rule))].sort()).toEqual([rule, ...beside].sort());
  const expected = severity ?? rules.find((r) => r.id === rule)?.severity;
  const own = result.findings.filter((f) => f.rule === rule);
  expect(new Set(own.map((f) => f.severity))).toEqual(new Set([expected]));
  for (const f of result.findings) {
    expect(f.fix.length).toBeGreaterThan(8);
    expect(f.message).not.toMatch(/NaN|undefined|Infinity/);
  }
});

// Faults in the files: the good package's protobuf with one thing broken.

type Break = (m: Model, fn: mil.Function, operations: mil.Operation[]) => void;

async function broken(change: Break): Promise<string> {
  const path = join(await temporaryFolder(), "Broken.mlpackage");
  await cp(good, path, { recursive: true });
  const file = join(path, "Data/com.apple.CoreML/model.mlmodel");
  const message = fromBinary(ModelSchema, await readFile(file));
  if (message.type.case !== "mlProgram") throw new Error("no program");
  const fn = message.type.value.functions.decode as mil.Function;
  change(message, fn, (fn.blockSpecializations.CoreML8 as mil.Block).operations);
  await writeFile(file, toBinary(ModelSchema, message));
  return path;
}

const ofType = (operations: mil.Operation[], type: string): mil.Operation =>
  operations.find((op) => op.type === type) as mil.Operation;
const described = (m: Model, name = "decode") => m.description?.functions.find((f) => f.name === name);
const arrayOf = (d: FeatureDescription | undefined): features.ArrayFeatureType => {
  const t = d?.type?.type;
  if (t?.case === "multiArrayType") return t.value;
  if (t?.case === "stateType" && t.value.type.case === "arrayType") return t.value.type.value;
  throw new Error("no array");
};
function setName(op: mil.Operation, name: string): void {
  const [out] = op.outputs;
  if (out) out.name = name;
}

function setOpset(m: Model, opset: string): void {
  if (m.type.case !== "mlProgram") return;
  for (const fn of Object.values(m.type.value.functions)) {
    fn.blockSpecializations = { [opset]: fn.blockSpecializations[fn.opset] as mil.Block };
    fn.opset = opset;
  }
}
const text = (value: string): mil.Value =>
  create(mil.ValueSchema, {
    type: create(mil.ValueTypeSchema, {
      type: { case: "tensorType", value: create(mil.TensorTypeSchema, { dataType: mil.DataType.STRING }) },
    }),
    docString: value,
  });

const fileSeeds: Record<string, { rule: string; severity?: Severity; change: Break }> = {
  "an opset newer than the specification": { rule: "files/opset", change: (m) => setOpset(m, "CoreML9") },
  "an operation newer than the opset": {
    rule: "files/operation-availability",
    change: (m) => setOpset(m, "CoreML7"),
  },
  "a dimension left open": {
    rule: "files/fixed-shapes",
    change: (_m, _fn, ops) => {
      const t = ofType(ops, "silu").outputs[0]?.type?.type;
      if (t?.case === "tensorType")
        t.value.dimensions[3] = create(mil.DimensionSchema, {
          dimension: { case: "unknown", value: create(mil.Dimension_UnknownSchema, {}) },
        });
    },
  },
  "a condition": {
    rule: "files/control-flow",
    change: (_m, _fn, ops) => void ofType(ops, "silu").blocks.push(create(mil.BlockSchema, {})),
  },
  "a default left out": {
    rule: "files/arguments-present",
    change: (_m, _fn, ops) => void delete ofType(ops, "matmul").inputs.transpose_x,
  },
  "an fp32 constant beside fp16": {
    rule: "files/operand-types",
    change: (_m, _fn, ops) => {
      const mul = ofType(ops, "mul");
      mul.inputs.y = create(mil.ArgumentSchema, {
        arguments: [
          create(mil.Argument_BindingSchema, {
            binding: {
              case: "value",
              value: create(mil.ValueSchema, {
                type: create(mil.ValueTypeSchema, {
                  type: { case: "tensorType", value: create(mil.TensorTypeSchema, { dataType: mil.DataType.FLOAT32 }) },
                }),
                value: {
                  case: "immediateValue",
                  value: create(mil.Value_ImmediateValueSchema, {
                    value: {
                      case: "tensor",
                      value: create(mil.TensorValueSchema, { value: { case: "floats", value: { values: [-1] } } }),
                    },
                  }),
                },
              }),
            },
          }),
        ],
      });
    },
  },
  "a name with a dot": {
    rule: "files/names-legal",
    change: (_m, _fn, ops) => setName(ofType(ops, "silu"), "mlp.silu"),
  },
  "a value called tensor": {
    rule: "files/names-reserved",
    change: (_m, _fn, ops) => rename(ops, ofType(ops, "silu").outputs[0]?.name ?? "", "tensor"),
  },
  "a name made twice": {
    rule: "files/names-unique",
    change: (_m, _fn, ops) => {
      const [a, b] = ops.filter((op) => op.type === "silu");
      (b?.outputs[0] as mil.NamedValueType).name = a?.outputs[0]?.name ?? "";
    },
  },
  "documentation in a value": {
    rule: "files/stray-fields",
    change: (_m, _fn, ops) => {
      ofType(ops, "silu").attributes.note = text("gate");
    },
  },
  "a version 2 program": {
    rule: "files/stray-fields",
    change: (m) => {
      if (m.type.case === "mlProgram") m.type.value.version = 2n;
    },
  },
  "no word of where it comes from": {
    rule: "files/provenance",
    change: (m) => {
      if (m.description) delete m.description.metadata;
    },
  },
  "inputs above the functions": {
    rule: "interface/top-level-empty",
    change: (m) => void m.description?.input.push(...(described(m)?.input ?? [])),
  },
  "a default that does not exist": {
    rule: "interface/function-table",
    change: (m) => {
      if (m.description) m.description.defaultFunctionName = "main";
    },
  },
  "a function nobody described": {
    rule: "interface/function-table",
    change: (m) => void m.description?.functions.pop(),
  },
  "an input without a name": {
    rule: "interface/features",
    change: (m) => void described(m)?.input.push(create(FeatureDescriptionSchema, {})),
  },
  "an input of doubles": {
    rule: "interface/features",
    change: (m) => {
      arrayOf(described(m)?.input[0]).dataType = features.ArrayFeatureType_ArrayDataType.DOUBLE;
    },
  },
  "a flexible input": {
    rule: "interface/fixed-shapes",
    // In a model with states.
    severity: "error",
    change: (m) => {
      arrayOf(described(m)?.input[0]).shapeFlexibility = {
        case: "shapeRange",
        value: create(features.ArrayFeatureType_ShapeRangeSchema, {}),
      };
    },
  },
  "an optional input": {
    rule: "interface/optional-inputs",
    change: (m) => {
      const type = described(m)?.input[0]?.type;
      if (type) type.isOptional = true;
    },
  },
  "an fp32 state": {
    rule: "interface/states",
    change: (m) => {
      arrayOf(described(m)?.state[0]).dataType = features.ArrayFeatureType_ArrayDataType.FLOAT32;
    },
  },
  "a state among the inputs": {
    rule: "interface/states",
    change: (m) => {
      const f = described(m);
      const state = f?.state.pop();
      if (state) f?.input.push(state);
    },
  },
  "a shape that is not the program's": {
    rule: "interface/matches-program",
    change: (m) => {
      arrayOf(described(m)?.output[0]).shape[1] = 97n;
    },
  },
  "an output that is not described": {
    rule: "interface/matches-program",
    change: (m) => void (described(m) as { output: unknown[] }).output.pop(),
  },
  "a constant as an output": {
    rule: "weights/constant-outputs",
    change: (m, fn, ops) => {
      const weight = ofType(ops, "constexpr_lut_to_dense").outputs[0] as mil.NamedValueType;
      const t = weight.type?.type;
      const shape =
        t?.case === "tensorType"
          ? t.value.dimensions.map((d) => (d.dimension.case === "constant" ? d.dimension.value.size : 0n))
          : [];
      (fn.blockSpecializations.CoreML8 as mil.Block).outputs.push(weight.name);
      const array = create(features.ArrayFeatureTypeSchema, {
        shape,
        dataType: features.ArrayFeatureType_ArrayDataType.FLOAT16,
      });
      described(m)?.output.push(
        create(FeatureDescriptionSchema, {
          name: weight.name,
          type: create(features.FeatureTypeSchema, { type: { case: "multiArrayType", value: array } }),
        }),
      );
    },
  },
  "a reference outside the weight file": {
    rule: "files/readable",
    change: (_m, _fn, ops) => {
      const inputs = ofType(ops, "constexpr_lut_to_dense").inputs.indices?.arguments[0]?.binding;
      if (inputs?.case === "value" && inputs.value.value.case === "blobFileValue")
        inputs.value.value.value.offset = 1n << 40n;
    },
  },
  "a shape that inference denies": {
    rule: "files/readable",
    change: (_m, _fn, ops) => {
      const t = ofType(ops, "silu").outputs[0]?.type?.type;
      if (t?.case === "tensorType") t.value.dimensions.pop();
    },
  },
};

function rename(ops: mil.Operation[], from: string, to: string): void {
  for (const op of ops) {
    for (const o of op.outputs) if (o.name === from) o.name = to;
    for (const a of Object.values(op.inputs))
      for (const b of a.arguments) if (b.binding.case === "name" && b.binding.value === from) b.binding.value = to;
  }
}

test.each(Object.entries(fileSeeds))("%s", async (_name, { rule, severity, change }) => {
  const result = await lintPackage(await broken(change));
  expect([...new Set(result.findings.map((f) => f.rule))].sort()).toEqual([rule]);
  expect(result.findings[0]?.severity).toBe(severity ?? rules.find((r) => r.id === rule)?.severity);
});

test("a blob stored twice", async () => {
  const { records } = BlobFile.open(join(good, "Data/com.apple.CoreML/weights/weight.bin"));
  const big = [...records.values()].filter((r) => r.dtype === "uint4" && r.sizeBytes >= 4096);
  const copy = join(await temporaryFolder(), "Twice.mlpackage");
  await cp(good, copy, { recursive: true });
  const file = join(copy, "Data/com.apple.CoreML/weights/weight.bin");
  const bytes = await readFile(file);
  const [a, b] = big.filter((r) => r.sizeBytes === big[0]?.sizeBytes);
  if (!a || !b) throw new Error("no two blobs of one size");
  bytes.copy(bytes, b.dataOffset, a.dataOffset, a.dataOffset + a.sizeBytes);
  await writeFile(file, bytes);
  expect(told(await lintPackage(copy))).toEqual(["warning files/duplicate-blobs"]);
});

test("blobs that nothing reads", async () => {
  const decodeOnly = await broken((m) => {
    if (m.type.case !== "mlProgram" || !m.description) return;
    // Another head: the palette of the old one stays in the file.
    for (const fn of Object.values(m.type.value.functions)) {
      const ops = (fn.blockSpecializations.CoreML8 as mil.Block).operations;
      const [up, gate] = ["L0_up", "L0_gate"].map((n) =>
        ops.find((op) => op.type === "constexpr_lut_to_dense" && op.outputs[0]?.name.endsWith(n)),
      );
      if (up && gate) up.inputs = gate.inputs;
    }
  });
  expect(told(await lintPackage(decodeOnly))).toEqual(["warning files/unused-blobs"]);
});

test("a long constant in the protobuf", async () => {
  const path = await broken((_m, fn, ops) => {
    const values = new Array<number>(70_000).fill(1);
    const type = create(mil.ValueTypeSchema, {
      type: {
        case: "tensorType",
        value: create(mil.TensorTypeSchema, {
          dataType: mil.DataType.INT32,
          rank: 1n,
          dimensions: [
            create(mil.DimensionSchema, {
              dimension: { case: "constant", value: create(mil.Dimension_ConstantSchema, { size: 70_000n }) },
            }),
          ],
        }),
      },
    });
    void fn;
    ops.unshift(
      create(mil.OperationSchema, {
        type: "const",
        outputs: [create(mil.NamedValueTypeSchema, { name: "long", type })],
        attributes: {
          val: create(mil.ValueSchema, {
            type,
            value: {
              case: "immediateValue",
              value: create(mil.Value_ImmediateValueSchema, {
                value: {
                  case: "tensor",
                  value: create(mil.TensorValueSchema, { value: { case: "ints", value: { values } } }),
                },
              }),
            },
          }),
        },
      }),
    );
  });
  expect(told(await lintPackage(path))).toEqual(["warning files/large-inline"]);
});

test("weight files of a size that phones refuse", () => {
  const rule = rules.find((r) => r.id === "weights/file-size");
  if (rule?.looksAt !== "program") throw new Error("no rule");
  const at = (weightBytes: number) =>
    rule
      .check({ program: engineProgram(), functions: [], weightBytes, architecture: null })
      ?.map((f) => f.severity ?? "warning");
  expect(at(900e6)).toEqual([]);
  expect(at(1.2e9)).toEqual(["warning"]);
  expect(at(2.5e9)).toEqual(["error"]);
});

test("truncated and missing files are one finding, not a crash", async () => {
  for (const cut of [
    "Data/com.apple.CoreML/weights/weight.bin",
    "Data/com.apple.CoreML/model.mlmodel",
    "Manifest.json",
  ]) {
    const path = join(await temporaryFolder(), "Cut.mlpackage");
    await cp(good, path, { recursive: true });
    const bytes = await readFile(join(path, cut));
    await writeFile(join(path, cut), bytes.subarray(0, Math.floor(bytes.length / 2)));
    expect(told(await lintPackage(path))).toEqual(["error files/readable"]);
  }
});

test("a program is linted before it is written, by the same rules", () => {
  expect(told(lintProgram(engineProgram()))).toEqual([]);
  expect(told(lintProgram(engineProgram({ norm: unsafeNorm })))).toContain("warning range/unsafe-norm");
  // The writer refuses this one.
  const clipped = engineProgram({ stream: (b, x) => b.op("clip", { x }, { alpha: -1e5, beta: 1e5 })[0] as Value });
  expect(told(lintProgram(clipped))).toEqual(["error range/fp16-overflow", "error range/fp16-overflow"]);
});

test("a seeded fault for every rule that a small package can break", () => {
  const seeded = new Set([...Object.values(seeds), ...Object.values(fileSeeds)].map((s) => s.rule));
  const elsewhere = [
    "files/large-inline",
    "files/unused-blobs",
    "files/duplicate-blobs",
    "weights/file-size",
    "attention/sliding-without-ring",
    // Needs 700 MB of weights.
    "functions/layers-per-package",
  ];
  const missing = rules.map((r) => r.id).filter((id) => !seeded.has(id) && !elsewhere.includes(id));
  expect(missing).toEqual([]);
});
