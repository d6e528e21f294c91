import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { palettize } from "../../compress/quantize/palettize.ts";
import { quantizeAffine } from "../../compress/quantize/round-to-nearest.ts";
import { palettizeScaled } from "../../compress/quantize/scaled-palette.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { float16FromFloat32, float32FromFloat16, roundToFloat16 } from "../../float16.ts";
import { Builder } from "../../mil/builder.ts";
import { scaleOutputs } from "../../mil/passes/scale-outputs.ts";
import type { MilFunction, Program, Value } from "../../mil/program.ts";
import { tensor } from "../../mil/tensor.ts";
import { fp16, int32, stateType, tensorType } from "../../mil/types.ts";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight, PaletteWeight } from "../../weights/weight.ts";
import { weightConstant } from "../../weights/weight-constants.ts";
import { ModelSchema } from "./generated/model_pb.ts";
import { readPackage } from "./package-reader.ts";
import { predictPackage, writePackage } from "./package-writer.ts";
import { type TargetName, targetNames, targets } from "./targets.ts";

const metadata = { shortDescription: "", author: "", license: "", version: "", userDefined: {} };
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const rows = 32;
const columns = 24;
const rng = createRng(4, "targets");
const values = Float32Array.from({ length: rows * columns }, (_, i) => rng.normal() * (1 + Math.floor(i / columns)));

const schemes: Record<string, () => CompressedWeight> = {
  dense: () => ({ kind: "dense", dtype: "fp16", shape: [rows, columns], values: values.map(roundToFloat16) }),
  int8: () => quantizeAffine(values, [rows, columns], { bits: 8, groupSize: null, symmetric: true, clipSearch: true }),
  int8_asymmetric: () =>
    quantizeAffine(values, [rows, columns], { bits: 8, groupSize: null, symmetric: false, clipSearch: false }),
  int4: () => quantizeAffine(values, [rows, columns], { bits: 4, groupSize: null, symmetric: true, clipSearch: true }),
  int4_blocks: () =>
    quantizeAffine(values, [rows, columns], { bits: 4, groupSize: 8, symmetric: true, clipSearch: true }),
  sparse: () => {
    const kept = values.map((v) => (Math.abs(v) > 5 ? roundToFloat16(v) : 0));
    return {
      kind: "sparse",
      shape: [rows, columns],
      mask: Uint8Array.from(kept, (v) => (v === 0 ? 0 : 1)),
      nonzeros: kept.filter((v) => v !== 0),
    };
  },
  ...Object.fromEntries(
    ([1, 2, 3, 4, 6, 8] as const).flatMap((bits: PaletteWeight["bits"]) => [
      [`palette${bits}`, () => palettize(values, [rows, columns], { bits, rowsPerTable: null })],
      [`palette${bits}_groups`, () => palettize(values, [rows, columns], { bits, rowsPerTable: 8 })],
    ]),
  ),
  palette4_scaled: () => palettizeScaled(values, [rows, columns], { bits: 4, rowsPerTable: null }),
  palette4_scaled_groups: () => palettizeScaled(values, [rows, columns], { bits: 4, rowsPerTable: 8 }),
};
const onlyFrom18 = new Set(["int4", "int4_blocks", "palette3", "palette4_scaled_groups"]);
const refusedBy17 = (scheme: string): boolean => onlyFrom18.has(scheme) || scheme.endsWith("_groups");

/** The weight as a table that is looked up, and as a projection. */
function program(target: TargetName, weight: CompressedWeight): Program {
  const b = new Builder("main");
  const x = b.input("x", fp16(1, columns));
  const ids = b.input("ids", int32(3));
  const w = weightConstant(b, "weight", weight, "fp16");
  const bias = b.constant(tensor("fp16", [rows], float16FromFloat32(new Float32Array(rows).fill(0.5))), "bias");
  const fn = b.build({ y: b.linear(x, w, bias), picked: b.gather(w, ids) });
  return { opset: targets[target].opset, functions: [scaleOutputs(fn)], defaultFunction: "main" };
}

describe.each(targetNames)("%s", (target) => {
  test.each(Object.keys(schemes))("%s is written, counted, read back and computed, or refused", async (scheme) => {
    const weight = schemes[scheme]?.() as CompressedWeight;
    const path = join(await temporaryFolder(), "W.mlpackage");
    const made = program(target, weight);
    if (target === "iOS17" && refusedBy17(scheme)) {
      const refused = expect(writePackage(path, made, metadata)).rejects;
      await refused.toMatchObject({ code: "export/unsupported", hint: expect.stringContaining("iOS 18") });
      await expect(writePackage(path, made, metadata)).rejects.toThrow(/main: constexpr_\w+ weight: .*iOS 17/);
      return;
    }
    const predicted = await predictPackage(made, metadata);
    const written = await writePackage(path, made, metadata);
    expect(written).toEqual(predicted);
    const model = await readFile(join(path, "Data/com.apple.CoreML/model.mlmodel"));
    expect((await readFile(join(path, "Data/com.apple.CoreML/weights/weight.bin"))).length).toBe(predicted.weightBytes);
    expect(fromBinary(ModelSchema, model).specificationVersion).toBe(targets[target].specificationVersion);

    const read = await readPackage(path);
    expect(read.program.opset).toBe(targets[target].opset);
    const [fn] = read.program.functions;
    if (!fn) throw new Error("no function");
    const executable = await engine.compile(fn, { float16: "widen" });
    const x = Float32Array.from({ length: columns }, () => roundToFloat16(rng.normal()));
    const out = await executable.run({
      x: tensor("fp16", [1, columns], float16FromFloat32(x)),
      ids: tensor("int32", [3], Int32Array.of(0, 31, 7)),
    });
    const decoded = decodeWeight(weight);
    const y = float32FromFloat16(out.y?.data as Uint16Array);
    for (let r = 0; r < rows; r++) {
      let expected = 0.5;
      for (let c = 0; c < columns; c++) expected += (decoded[r * columns + c] as number) * (x[c] as number);
      expect(Math.abs((y[r] as number) - expected)).toBeLessThan(2e-3 * Math.max(10, Math.abs(expected)));
    }
    const picked = float32FromFloat16(out.picked?.data as Uint16Array);
    [0, 31, 7].forEach((row, i) => {
      for (let c = 0; c < columns; c++)
        expect(picked[i * columns + c]).toBe(roundToFloat16(decoded[row * columns + c] as number));
    });
    await executable.dispose();
  });

  test("blocks of integers are refused for the Neural Engine, with the reason", async () => {
    const path = join(await temporaryFolder(), "W.mlpackage");
    if (target === "iOS17") return expect(targets.iOS17.attributeConstants).toBe(true);
    const made = program(target, schemes.int4_blocks?.() as CompressedWeight);
    await expect(writePackage(path, made, metadata, { compute: "neural-engine" })).rejects.toThrow(
      /constexpr_blockwise_shift_scale weight: a scale for every block.*Neural Engine.*coremltools#2510/,
    );
    await writePackage(path, made, metadata, { compute: "gpu" });
  });
});

const one = (target: TargetName, name: string, make: (b: Builder) => Record<string, Value>): Program => {
  const b = new Builder(name);
  return { opset: targets[target].opset, functions: [b.build(make(b))], defaultFunction: name };
};

test("what a target lacks is refused by name", async () => {
  const path = join(await temporaryFolder(), "W.mlpackage");
  const state = (b: Builder) => ({ y: b.exp(b.readState(b.input("cache", stateType(fp16(4))))) });
  await expect(writePackage(path, one("iOS17", "main", state), metadata)).rejects.toThrow(
    /main: cache: a state.*iOS 17/,
  );
  const plain = (b: Builder) => ({ y: b.exp(b.input("x", fp16(4))) });
  await expect(writePackage(path, one("iOS17", "decode", plain), metadata)).rejects.toThrow(/one function, main/);
  const bytes = (b: Builder) => ({ y: b.op("identity", { x: b.input("x", tensorType("int8", [4])) })[0] as Value });
  await expect(writePackage(path, one("iOS18", "main", bytes), metadata)).rejects.toThrow(/x: is int8.*iOS 18/);
  await writePackage(path, one("iOS26", "main", bytes), metadata);
  expect((await readPackage(path)).program.functions[0]?.inputs[0]?.type).toEqual(tensorType("int8", [4]));
  const attention = (b: Builder) => {
    const x = b.input("x", fp16(1, 2, 4));
    return { y: b.op("scaled_dot_product_attention", { query: x, key: x, value: x })[0] as Value };
  };
  await expect(writePackage(path, one("iOS17", "main", attention), metadata)).rejects.toThrow(
    /scaled_dot_product_attention.*no such operation.*iOS 17/,
  );
});

test("a scale on top of a palette waits for iOS 26", async () => {
  const make = (b: Builder) => {
    const codes = b.constant(tensor("uint4", [16, 4], new Uint8Array(64)), "codes");
    const lut = b.constant(tensor("fp16", [1, 1, 16, 1], new Uint16Array(16).fill(0x3c00)), "lut");
    const palette = b.op("constexpr_lut_to_dense", { indices: codes, lut })[0] as Value;
    const scale = b.constant(tensor("fp16", [16, 1], new Uint16Array(16).fill(0x4000)), "scale");
    const w = b.op("constexpr_blockwise_shift_scale", { data: palette, scale })[0] as Value;
    return { y: b.linear(b.input("x", fp16(1, 4)), w) };
  };
  const path = join(await temporaryFolder(), "W.mlpackage");
  await expect(writePackage(path, one("iOS18", "main", make), metadata)).rejects.toThrow(/a scale on top of a palette/);
  await writePackage(path, one("iOS26", "main", make), metadata);
  await readPackage(path);
});

/** Larger than what a deferred reader keeps, and of codes that end inside a piece. */
const large: Record<string, () => CompressedWeight> = {
  ...Object.fromEntries(
    ([1, 2, 4, 6, 8] as const).map((bits) => [
      `palette${bits}`,
      (): CompressedWeight => {
        const shape = [1201, 1401];
        const indices = Uint8Array.from({ length: 1201 * 1401 }, () => rng.integer(2 ** bits));
        const tables = Float32Array.from({ length: 2 ** bits }, () => roundToFloat16(rng.normal()));
        return { kind: "palette", bits, shape, indices, tables, rowsPerTable: 1201 };
      },
    ]),
  ),
  "int8 with offsets in 70 000 rows": () => {
    const v = Float32Array.from({ length: 280_000 }, () => rng.normal());
    return quantizeAffine(v, [70_000, 4], { bits: 8, groupSize: null, symmetric: false, clipSearch: false });
  },
  sparse: () => {
    const mask = Uint8Array.from({ length: 1201 * 1401 }, () => rng.integer(2));
    const ones = mask.reduce((n, m) => n + m, 0);
    const nonzeros = Float32Array.from({ length: ones }, () => roundToFloat16(rng.normal()));
    return { kind: "sparse", shape: [1201, 1401], mask, nonzeros };
  },
};

test.each(Object.keys(large))(
  "iOS 17, %s: a reader that leaves large weights in the file gives the same values",
  async (scheme) => {
    const w = (large[scheme] as () => CompressedWeight)();
    const path = join(await temporaryFolder(), "Large.mlpackage");
    const b = new Builder("main");
    const fn = b.build({ picked: b.gather(weightConstant(b, "weight", w, "fp16"), b.input("ids", int32(3))) });
    await writePackage(path, { opset: targets.iOS17.opset, functions: [fn], defaultFunction: "main" }, metadata);
    const { program: read } = await readPackage(path, { deferred: true });
    const exe = await engine.compile(read.functions[0] as MilFunction, { float16: "widen" });
    const [rowCount, width] = w.shape as [number, number];
    const ids = [0, 700, rowCount - 1];
    const out = await exe.run({ ids: { dtype: "int32", shape: [3], data: Int32Array.from(ids) } });
    await exe.dispose();
    const found = out.picked?.data;
    const decoded = decodeWeight(w);
    const expected = ids.flatMap((r) => [...decoded.subarray(r * width, (r + 1) * width)]);
    expect([...(found instanceof Uint16Array ? float32FromFloat16(found) : (found ?? []))]).toEqual(expected);
  },
  60_000,
);
