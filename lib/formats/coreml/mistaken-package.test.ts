import { mkdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { refuseMistakenFile } from "../../files/mistaken-file.ts";
import { Builder } from "../../mil/builder.ts";
import { f32 } from "../../mil/tensor.ts";
import { fp32 } from "../../mil/types.ts";
import { coremlRelative } from "./mistaken-package.ts";
import { readPackage } from "./package-reader.ts";
import { writePackage } from "./package-writer.ts";

const folder = await temporaryFolder();
const at = (name: string): string => join(folder, name);
const metadata = { shortDescription: "", author: "", license: "", version: "1", userDefined: {} };

async function written(name: string): Promise<string> {
  const b = new Builder("main");
  const weight = b.constant(f32([4, 16], new Float32Array(64).fill(1)), "weight");
  const fn = b.build({ y: b.linear(b.input("x", fp32(1, 16)), weight) });
  await writePackage(at(name), { opset: "CoreML8", functions: [fn], defaultFunction: "main" }, metadata);
  return at(name);
}

test("what is no package is named for what it is, with what to do", async () => {
  const whole = await written("whole.mlpackage");
  const model = join(whole, "Data", "com.apple.CoreML", "model.mlmodel");
  await writeFile(at("text.txt"), "text");
  await writeFile(at("model.gguf"), "GGUF");
  await writeFile(at("file.mlpackage"), "text");
  await writeFile(at("packed.mlpackage"), Buffer.from("PK\u0003\u0004 and so on", "latin1"));
  for (const name of [
    "empty",
    "empty.mlpackage",
    "compiled.mlmodelc",
    "checkpoint",
    "exported",
    "exported/M.mlpackage",
  ])
    await mkdir(at(name));
  await writeFile(at("compiled.mlmodelc/model.mil"), "program(1.3)");
  await writeFile(at("checkpoint/config.json"), "{}");
  const cases: [string, string, string][] = [
    [at("nothing"), "there is nothing at", "Check the path"],
    [at("text.txt"), "is a file", "A package is a folder"],
    [at("model.gguf"), "is a GGUF file", "`espalier generate"],
    [at("file.mlpackage"), "is a file", "A package is a folder"],
    [at("packed.mlpackage"), "is a file", "unpack it"],
    [at("empty"), "has no Manifest.json", "A package is a folder"],
    [at("empty.mlpackage"), "has no Manifest.json", "A package is a folder"],
    [at("compiled.mlmodelc"), "is a compiled model", "it was compiled from"],
    [at("checkpoint"), "has no Manifest.json", "`espalier export`"],
    [at("exported"), "has no Manifest.json", `Give ${at("exported/M.mlpackage")}`],
    [model, "is the model file of a package", "Give the .mlpackage folder"],
    [join(whole, "Data"), "is the inside of a package", `Give ${whole}.`],
  ];
  for (const [path, message, hint] of cases)
    await expect(readPackage(path), path).rejects.toMatchObject({
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  expect(await coremlRelative(whole)).toBeNull();
  expect(await coremlRelative(at("checkpoint"))).toBeNull();
});

test("a weight file that is missing or cut short is said to be", async () => {
  const weights = join("Data", "com.apple.CoreML", "weights", "weight.bin");
  const without = await written("without.mlpackage");
  await rm(join(without, weights));
  await expect(readPackage(without)).rejects.toMatchObject({
    code: "model/missing-file",
    message: expect.stringContaining("no weight file"),
  });
  const short = await written("short.mlpackage");
  await truncate(join(short, weights), 200);
  await expect(readPackage(short)).rejects.toMatchObject({ code: "format/truncated" });
});

test("a zip archive is a pickle only where torch.save wrote it", () => {
  /** A local file header of an archive with the name of its first file. */
  const archive = (name: string): Uint8Array => {
    const bytes = Buffer.alloc(64);
    bytes.write("PK\u0003\u0004", "latin1");
    bytes.writeUInt16LE(name.length, 26);
    bytes.write(name, 30, "latin1");
    return bytes;
  };
  expect(() => refuseMistakenFile("a.bin", archive("archive/data.pkl"), "safetensors")).toThrow("PyTorch pickle");
  expect(() => refuseMistakenFile("a.zip", archive("Model.mlpackage/"), "safetensors")).toThrow("is a zip archive");
});
