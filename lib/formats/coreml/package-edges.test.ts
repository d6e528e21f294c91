import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { summarizePackage } from "../../export/coreml/package-summary.ts";
import { Builder } from "../../mil/builder.ts";
import type { Program, Value } from "../../mil/program.ts";
import { newData, tensor } from "../../mil/tensor.ts";
import { type DType, elementCount, fp16, fp32, stateType } from "../../mil/types.ts";
import type * as mil from "./generated/mil_pb.ts";
import { type Model, ModelSchema } from "./generated/model_pb.ts";
import { type ReadPackage, readPackage } from "./package-reader.ts";
import { writePackage } from "./package-writer.ts";

const metadata = { shortDescription: "", author: "", license: "", version: "", userDefined: {} };

function program(make: (b: Builder) => Record<string, Value>): Program {
  const b = new Builder("main");
  return { opset: "CoreML8", functions: [b.build(make(b))], defaultFunction: "main" };
}

async function write(p: Program): Promise<string> {
  const path = join(await temporaryFolder(), "Edge.mlpackage");
  await writePackage(path, p, metadata);
  return path;
}

const written = async (make: (b: Builder) => Record<string, Value>): Promise<ReadPackage> =>
  readPackage(await write(program(make)));

/** A package of one `exp`, its protobuf changed before it is read. */
async function damaged(change: (main: mil.Function, model: Model) => void): Promise<ReadPackage> {
  const path = await write(program((b) => ({ y: first(b, "exp", { x: b.input("x", fp16(4)) }) })));
  const file = join(path, "Data/com.apple.CoreML/model.mlmodel");
  const model = fromBinary(ModelSchema, await readFile(file));
  const main = model.type.case === "mlProgram" ? model.type.value.functions.main : undefined;
  if (!main) throw new Error("no main");
  change(main, model);
  await writeFile(file, toBinary(ModelSchema, model));
  return readPackage(path);
}

function first(b: Builder, type: string, inputs: Record<string, Value>, params = {}, name?: string): Value {
  const [value] = b.op(type, inputs, params, name);
  if (!value) throw new Error(`${type} has no output`);
  return value;
}

const ones = (b: Builder, dtype: DType, ...shape: number[]): Value =>
  b.constant(tensor(dtype, shape, newData(dtype, elementCount(shape)).fill(1)), `c_${dtype}`);

test("infinite parameters stay apart", async () => {
  const read = await written((b) => ({
    y: first(
      b,
      "clip",
      { x: b.input("x", fp32(4)) },
      { alpha: Number.NEGATIVE_INFINITY, beta: Number.POSITIVE_INFINITY },
    ),
  }));
  expect(read.program.functions[0]?.operations.at(-1)?.params).toEqual({
    alpha: Number.NEGATIVE_INFINITY,
    beta: Number.POSITIVE_INFINITY,
  });
});

test("a parameter beyond fp16 is refused", async () => {
  const p = program((b) => ({ y: first(b, "clip", { x: b.input("x", fp16(4)) }, { alpha: 0, beta: 1e9 }) }));
  await expect(write(p)).rejects.toThrow(/1000000000 is beyond fp16/);
});

test("names inside become legal, names at the boundary must be", async () => {
  const read = await written((b) => {
    const x = b.input("x", fp16(4));
    const inner = first(b, "sqrt", { x }, {}, "model.layers.0/sqrt");
    return { y: b.add(first(b, "exp", { x: inner }, {}, "0"), first(b, "tanh", { x: inner }, {}, "fp16")) };
  });
  const names = read.program.functions[0]?.operations.map((op) => op.name);
  expect(names).toEqual(["model_layers_0_sqrt", "_0", "fp16_", "y"]);
  await expect(write(program((b) => ({ y: b.exp(b.input("tensor", fp16(4))) })))).rejects.toThrow(/"tensor"/);
});

test("every operation comes back under its own names, equal ones apart", async () => {
  const read = await written((b) => {
    const x = b.input("x", fp16(4));
    const [p, q] = b.op("split", { x }, { num_splits: 2, axis: 0 }, "halves") as [Value, Value];
    return { halves_1_0: b.add(p, q), z: first(b, "identity", { x }) };
  });
  expect(read.program.functions[0]?.outputs.map((o) => o.name)).toEqual(["halves_1_0", "z"]);
  const renamed = await damaged((main) => {
    const block = main.blockSpecializations.CoreML8;
    const op = block?.operations[0];
    if (!block || !op) throw new Error("no operation");
    block.operations.push({ ...op, outputs: op.outputs.map((o) => ({ ...o, name: "twin" })) });
  });
  expect(renamed.program.functions[0]?.operations.map((op) => [op.type, op.outputs[0]?.name])).toEqual([
    ["exp", "y"],
    ["exp", "twin"],
  ]);
});

test.each<[string, RegExp, (main: mil.Function, model: Model) => void]>([
  [
    "an opset nobody knows",
    /opset "Nonsense"/,
    (main) => {
      main.opset = "Nonsense";
    },
  ],
  [
    "an opset that is a property of objects",
    /opset "__proto__"/,
    (main) => {
      main.opset = "__proto__";
    },
  ],
  [
    "a specification older than its opset",
    /needs specification 9, the model has 8/,
    (_, model) => {
      model.specificationVersion = 8;
    },
  ],
  [
    "an impossible specification",
    /specification 3/,
    (_, model) => {
      model.specificationVersion = 3;
    },
  ],
  [
    "an argument the operation lacks",
    /has no argument constructor/,
    (main) => {
      const inputs = main.blockSpecializations.CoreML8?.operations[0]?.inputs;
      if (inputs?.x) Object.assign(inputs, { constructor: inputs.x });
    },
  ],
  [
    "dimensions whose product overflows",
    /elements/,
    (main) => {
      const type = main.inputs[0]?.type?.type;
      const d = type?.case === "tensorType" ? type.value.dimensions[0] : undefined;
      if (type?.case !== "tensorType" || d?.dimension.case !== "constant") throw new Error("no dimension");
      const { value } = d.dimension;
      const sized = (size: bigint) => ({ ...d, dimension: { case: "constant" as const, value: { ...value, size } } });
      type.value.dimensions = [...Array.from({ length: 40 }, () => sized(1n << 40n)), sized(0n)];
      type.value.rank = 41n;
    },
  ],
  [
    "a doc string in a name",
    /attribute note/,
    (main) => {
      const attributes = main.blockSpecializations.CoreML8?.operations[0]?.attributes;
      if (attributes?.name) attributes.note = attributes.name;
    },
  ],
])("%s is refused", async (_what, message, change) => {
  await expect(damaged(change)).rejects.toThrow(message);
});

test.each([
  ["__proto__", () => "__proto__"],
  [
    "the folder of weights",
    (m: { itemInfoEntries: Record<string, { name: string }> }) =>
      Object.entries(m.itemInfoEntries).find(([, e]) => e.name === "weights")?.[0] ?? "",
  ],
])("a root model that is %s is refused", async (_what, root) => {
  const path = await write(program((b) => ({ y: b.exp(b.input("x", fp16(4))) })));
  const file = join(path, "Manifest.json");
  const manifest = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...manifest, rootModelIdentifier: root(manifest) }));
  await expect(readPackage(path)).rejects.toMatchObject({ code: "format/malformed" });
});

test("a mask must have as many ones as there are values", async () => {
  const path = await write(
    program((b) => ({
      y: b.exp(
        first(b, "constexpr_sparse_to_dense", { nonzero_data: ones(b, "fp16", 10), mask: ones(b, "uint1", 64) }),
      ),
    })),
  );
  await expect(readPackage(path)).rejects.toThrow(/64 ones for 10 values/);
});

test("what Core ML cannot say is refused before anything is written", async () => {
  const state = program((b) => ({ y: b.exp(b.readState(b.input("s", stateType(fp32(4))))) }));
  await expect(write(state)).rejects.toThrow(/states in fp16/);
  const constant = program((b) => ({
    y: first(b, "constexpr_sparse_to_dense", { nonzero_data: ones(b, "fp16", 4), mask: ones(b, "uint1", 4) }),
  }));
  await expect(write(constant)).rejects.toThrow(/is itself a constexpr_sparse_to_dense/);
  const fine = program((b) => ({ y: b.exp(b.input("x", fp16(4))) }));
  await expect(write({ ...fine, opset: "CoreML6" })).rejects.toThrow(/opset CoreML6, which is not written/);
  await expect(write({ ...fine, defaultFunction: "other" })).rejects.toThrow(/other/);
});

test("a palette whose table is compressed counts once, table and scale included", async () => {
  const read = await written((b) => {
    const table = first(b, "constexpr_blockwise_shift_scale", {
      data: ones(b, "int8", 1, 1, 16, 1),
      scale: ones(b, "fp16", 1, 1, 1, 1),
    });
    const weight = first(b, "constexpr_lut_to_dense", { indices: ones(b, "uint4", 64, 4), lut: table });
    const bias = ones(b, "fp16", 64);
    return { y: b.linear(b.input("x", fp16(2, 4)), weight, bias) };
  });
  expect(summarizePackage(read).weights).toContainEqual({
    scheme: "palette 4 bit",
    tensors: 1,
    elements: 256,
    sizeBytes: 128 + 16 + 2,
  });
});
