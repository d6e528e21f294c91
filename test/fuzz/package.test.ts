/**
 * Damaged packages: cut short everywhere, bytes changed, offsets outside the file, nesting without end, claims of vast sizes.
 * Each is refused with an error of ours, in bounded time, or read as what it was.
 */
import { cp, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { palettize } from "../../lib/compress/quantize/palettize.ts";
import { EspalierError } from "../../lib/errors.ts";
import * as mil from "../../lib/formats/coreml/generated/mil_pb.ts";
import { type Model, ModelSchema } from "../../lib/formats/coreml/generated/model_pb.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { type TargetName, targetNames, targets } from "../../lib/formats/coreml/targets.ts";
import { checkWire } from "../../lib/formats/coreml/wire-limits.ts";
import { Builder } from "../../lib/mil/builder.ts";
import { printProgram } from "../../lib/mil/print.ts";
import { fp16 } from "../../lib/mil/types.ts";
import { createRng } from "../../lib/random.ts";
import { weightConstant } from "../../lib/weights/weight-constants.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const files = [
  "Manifest.json",
  "Data/com.apple.CoreML/model.mlmodel",
  "Data/com.apple.CoreML/weights/weight.bin",
] as const;
const [, modelFile, weightFile] = files;
const metadata = { shortDescription: "", author: "", license: "", version: "", userDefined: {} };
const originals = new Map<TargetName, { path: string; printed: string; contents: Buffer[] }>();

beforeAll(async () => {
  const folder = await temporaryFolder();
  const rng = createRng(1, "fuzz package");
  for (const target of targetNames) {
    const b = new Builder("main");
    const values = Float32Array.from({ length: 8 * 6 }, () => rng.normal());
    const w = weightConstant(b, "weight", palettize(values, [8, 6], { bits: 2, rowsPerTable: null }), "fp16");
    const y = b.softmax(b.linear(b.input("x", fp16(2, 6)), w));
    const path = join(folder, `${target}.mlpackage`);
    const program = { opset: targets[target].opset, functions: [b.build({ y })], defaultFunction: "main" };
    await writePackage(path, program, metadata);
    const contents = await Promise.all(files.map((f) => readFile(join(path, f))));
    originals.set(target, { path, printed: printProgram((await readPackage(path)).program), contents });
  }
});

const original = (target: TargetName) => {
  const found = originals.get(target);
  if (!found) throw new Error(`no package for ${target}`);
  return found;
};

/** Reads; true when refused as it should be. Everything lazily read is read too. */
async function refused(path: string, printed: string | null): Promise<boolean> {
  try {
    const read = await readPackage(path);
    for (const fn of read.program.functions) for (const op of fn.operations) op.constant?.data;
    if (printed !== null) expect(printProgram(read.program).length).toBeGreaterThan(0);
    return false;
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code === "internal/invariant") throw thrown;
    expect(thrown.message.length).toBeGreaterThan(5);
    return true;
  }
}

let damaged = "";
async function fresh(target: TargetName): Promise<string> {
  damaged ||= join(await temporaryFolder(), "Damaged.mlpackage");
  await cp(original(target).path, damaged, { recursive: true });
  return damaged;
}

test.each(targetNames)("%s: a file cut short at any length is refused", async (target) => {
  const { contents } = original(target);
  for (const [f, name] of files.entries()) {
    const whole = contents[f] as Buffer;
    const path = await fresh(target);
    // Every length of one target; the others differ in a few messages.
    for (let length = whole.length - 1; length >= 0; length -= target === "iOS17" ? 1 : 7) {
      await truncate(join(path, name), length);
      // The manifest ends with a line break that means nothing.
      if (name === "Manifest.json" && length === whole.length - 1) continue;
      expect([name, length, await refused(path, null)]).toEqual([name, length, true]);
    }
    await writeFile(join(path, name), whole);
  }
});

test("changed, moved and inserted bytes are refused or harmless", async () => {
  const path = await fresh("iOS18");
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...targetNames),
      fc.constantFrom(0, 1, 2),
      fc.array(
        fc.record({
          at: fc.double({ min: 0, max: 0.999, noNaN: true }),
          bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
          insert: fc.boolean(),
        }),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
      async (target, f, edits) => {
        const { contents } = original(target);
        let bytes = Buffer.from(contents[f] as Buffer);
        for (const { at, bytes: put, insert } of edits) {
          const position = Math.floor(at * bytes.length);
          const rest = bytes.subarray(insert ? position : Math.min(bytes.length, position + put.length));
          bytes = Buffer.concat([bytes.subarray(0, position), put, rest]);
        }
        for (const [i, name] of files.entries())
          await writeFile(join(path, name), i === f ? bytes : (contents[i] as Buffer));
        await refused(path, null);
      },
    ),
    { numRuns: 300, seed: 11 },
  );
});

async function edited(target: TargetName, change: (main: mil.Block, model: Model) => void): Promise<string> {
  const path = await fresh(target);
  const { contents } = original(target);
  const model = fromBinary(ModelSchema, contents[1] as Buffer);
  const fn = model.type.case === "mlProgram" ? model.type.value.functions.main : undefined;
  const block = fn?.blockSpecializations[fn.opset];
  if (!block) throw new Error("no block");
  change(block, model);
  for (const [i, name] of files.entries()) await writeFile(join(path, name), contents[i] as Buffer);
  await writeFile(join(path, modelFile), toBinary(ModelSchema, model));
  return path;
}

const blobsOf = (block: mil.Block): mil.Value_BlobFileValue[] =>
  block.operations.flatMap((op) =>
    [
      ...Object.values(op.attributes),
      ...Object.values(op.inputs).flatMap((a) => a.arguments.map((b) => b.binding.value)),
    ].flatMap((v) => (typeof v === "object" && v.value.case === "blobFileValue" ? [v.value.value] : [])),
  );

test.each(targetNames)("%s: offsets and names outside the weight file are refused", async (target) => {
  for (const offset of [0n, 1n, 65n, 1n << 40n, (1n << 64n) - 1n]) {
    const path = await edited(target, (block) => {
      const [first] = blobsOf(block);
      if (!first) throw new Error("no blob");
      first.offset = offset;
    });
    await expect(readPackage(path)).rejects.toThrow(/no blob begins at byte/);
  }
  const path = await edited(target, (block) => {
    const [first] = blobsOf(block);
    if (first) first.fileName = "@model_path/../../secret";
  });
  await expect(readPackage(path)).rejects.toMatchObject({ code: "format/malformed" });
});

test("operations in a circle and values made twice are refused", async () => {
  const circle = await edited("iOS18", (block) => {
    const [first, second] = block.operations.filter((op) => op.type === "linear" || op.type === "softmax");
    const binding = first?.inputs.x?.arguments[0];
    if (binding && second?.outputs[0]) binding.binding = { case: "name", value: second.outputs[0].name };
  });
  await expect(readPackage(circle)).rejects.toThrow(/not made before it/);
  const twice = await edited("iOS18", (block) => {
    const op = block.operations.find((o) => o.type === "softmax");
    if (op) block.operations.push(op);
  });
  await expect(readPackage(twice)).rejects.toThrow(/made twice/);
});

test("a weight's shape, type or claimed size that disagrees with its blob is refused", async () => {
  for (const change of [
    (t: mil.TensorType) => {
      t.dataType = mil.DataType.UINT8;
    },
    (t: mil.TensorType) => {
      t.dimensions = [];
    },
    (t: mil.TensorType) => {
      for (const d of t.dimensions) if (d.dimension.case === "constant") d.dimension.value.size = 1n << 39n;
    },
  ]) {
    const path = await edited("iOS18", (block) => {
      const op = block.operations.find((o) => o.type === "constexpr_lut_to_dense");
      const value = op?.inputs.indices?.arguments[0]?.binding;
      const type = value?.case === "value" ? value.value.type?.type : undefined;
      if (type?.case !== "tensorType") throw new Error("no indices");
      change(type.value);
    });
    await expect(readPackage(path)).rejects.toBeInstanceOf(EspalierError);
  }
});

/** A length-delimited field. */
const field = (number: number, content: Uint8Array): Uint8Array => {
  const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))]);
  return Uint8Array.from([...varint(number * 8 + 2), ...varint(content.length), ...content]);
};

test("nesting a thousand deep is refused before anything recurses", () => {
  const empty = toBinary(mil.ValueTypeSchema, create(mil.ValueTypeSchema));
  // A state of a state of a state, and blocks of operations of blocks.
  let type: Uint8Array = empty;
  for (let i = 0; i < 1000; i++) type = field(5, field(1, type));
  expect(() => checkWire(type, mil.ValueTypeSchema, "deep")).toThrow(/nested more than/);
  let block: Uint8Array = empty;
  for (let i = 0; i < 1000; i++) block = field(3, field(4, block));
  expect(() => checkWire(block, mil.BlockSchema, "deep")).toThrow(/nested more than/);
});

test("millions of empty messages, unknown fields and numbers are refused", () => {
  const operations = new Uint8Array(2 * 6_500_000);
  for (let i = 0; i < operations.length; i += 2) operations[i] = 3 * 8 + 2;
  expect(() => checkWire(operations, mil.BlockSchema, "wide")).toThrow(/more than 6000000 messages/);
  expect(() => checkWire(new Uint8Array(13_000_000).fill(0x78), mil.BlockSchema, "unknown")).toThrow(/nobody knows/);
  const numbers = field(1, new Uint8Array(1));
  expect(() => checkWire(numbers, mil.TensorValue_RepeatedIntsSchema, "small")).not.toThrow();
});

test.each(targetNames)("%s: what the writer writes is within the bounds", (target) => {
  expect(() => checkWire(original(target).contents[1] as Buffer, ModelSchema, "own")).not.toThrow();
});

test("weight records that lie about size, order or type are refused", async () => {
  const { contents } = original("iOS18");
  const whole = contents[2] as Buffer;
  for (const [offset, value] of [
    [0, 0xffffffffn],
    [64 + 8, 0xffffffffffffffffn],
    [64 + 16, 0n],
    [64 + 24, 9n],
  ] as const) {
    const path = await fresh("iOS18");
    const bytes = Buffer.from(whole);
    if (offset === 0) bytes.writeUInt32LE(Number(value), 0);
    else bytes.writeBigUInt64LE(value, offset);
    await writeFile(join(path, weightFile), bytes);
    await expect(readPackage(path)).rejects.toBeInstanceOf(EspalierError);
  }
});
