/**
 * @file Reads an `.mlpackage` back into a program, checking everything on the way.
 *
 * Manifest and paths, the protobuf, the interface rules Apple's validator applies, every name, every operation through the op
 * table (arguments, inferred against declared types), every blob. Parameters that a package keeps as `const` operations
 * become parameters again. Of blobs the records are read and checked; their data is read when the program is run or a constant is
 * asked for it, so the package must stay where it is until then. Compressed constants of
 * iOS 16 and 17 are read into the form of iOS 18. Not included: model types other than ML programs, nested blocks.
 */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { named } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import type { MilFunction, Program } from "../../mil/program.ts";
import { sameShape, showType, type TensorType, tensorType } from "../../mil/types.ts";
import { BlobFile } from "./blob-file.ts";
import { bad, ConstantReader, dimension } from "./constant-reader.ts";
import { dtypeOfFeature } from "./element-types.ts";
import { FunctionReader } from "./function-reader.ts";
import type * as features from "./generated/feature-types_pb.ts";
import type * as mil from "./generated/mil_pb.ts";
import { type FeatureDescription, type Model, ModelSchema } from "./generated/model_pb.ts";
import { noPackage } from "./mistaken-package.ts";
import { opsetNamed, opsets, since } from "./targets.ts";
import { checkWire } from "./wire-limits.ts";

export interface ReadPackage {
  readonly path: string;
  readonly program: Program;
  readonly specificationVersion: number;
  readonly shortDescription: string;
  readonly userDefined: Readonly<Record<string, string>>;
  readonly modelBytes: number;
  readonly weightBytes: number;
  readonly blobs: number;
}

/** The specification on the wire may not be larger; weights live in their own file. */
const MAX_MODEL_BYTES = 256_000_000;
const MAX_MANIFEST_BYTES = 1_000_000;

/** What lies in a package's files, the protobuf decoded and nothing of it believed yet. */
export interface PackageFiles {
  readonly path: string;
  readonly message: Model;
  readonly milProgram: mil.Program;
  readonly weights: BlobFile | null;
  readonly modelBytes: number;
}

/** Manifest, protobuf and blob records. Throws `format/…` or `model/missing-file`. */
export async function openPackageFiles(path: string): Promise<PackageFiles> {
  const { modelPath, weightPath } = await readManifest(path);
  const { size, isFile } = await stat(modelPath).then((s) => ({ size: s.size, isFile: s.isFile() }));
  if (!isFile) throw bad(`${modelPath} is not a file`);
  if (size > MAX_MODEL_BYTES) throw bad(`${modelPath} has ${size} bytes, more than ${MAX_MODEL_BYTES}`);
  const bytes = await readFile(modelPath);
  checkWire(bytes, ModelSchema, modelPath);
  let message: Model;
  try {
    message = fromBinary(ModelSchema, bytes);
  } catch (cause) {
    throw bad(`${modelPath} is not a Core ML model`, cause);
  }
  if (message.type.case !== "mlProgram")
    throw new EspalierError("format/unsupported", `${modelPath} holds no ML program`, {
      hint: "Only ML programs (iOS 15 and later) are read.",
    });
  const { specificationVersion } = message;
  const read = opsets.map((o) => o.specificationVersion);
  if (!read.some((v) => v === specificationVersion))
    throw new EspalierError(
      "format/unsupported",
      `${modelPath} has specification ${specificationVersion}, ${read[0]} to ${read.at(-1)} are read`,
    );
  const weights = weightPath ? BlobFile.open(weightPath) : null;
  return { path, message, milProgram: message.type.value, weights, modelBytes: bytes.length };
}

/** Throws `format/…`, `program/…` or `model/missing-file`, naming file, function, operation, expected and found. */
export const readPackage = async (path: string, options: ReadOptions = {}): Promise<ReadPackage> =>
  readPackageFiles(await openPackageFiles(path), options);

export interface ReadOptions {
  /** Large weights become deferred constants, for packages that do not fit into memory. */
  readonly deferred?: boolean;
}

export function readPackageFiles(
  { path, message, milProgram, weights, modelBytes }: PackageFiles,
  { deferred = false }: ReadOptions = {},
): ReadPackage {
  return {
    path,
    program: readProgram(message, milProgram, new ConstantReader(weights, deferred)),
    specificationVersion: message.specificationVersion,
    shortDescription: message.description?.metadata?.shortDescription ?? "",
    userDefined: { ...message.description?.metadata?.userDefined },
    modelBytes,
    weightBytes: weights?.sizeBytes ?? 0,
    blobs: weights?.records.size ?? 0,
  };
}

const item = z.object({ path: z.string(), name: z.string(), author: z.string(), description: z.string() });
const manifestSchema = z.object({
  fileFormatVersion: z.string(),
  itemInfoEntries: z.record(z.string(), item),
  rootModelIdentifier: z.string(),
});

/** Nothing at that path, or a file where it has a folder. */
const isMissing = (thrown: unknown): boolean =>
  thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR");

async function readManifest(path: string): Promise<{ modelPath: string; weightPath: string | null }> {
  const manifestPath = join(path, "Manifest.json");
  const text = await readFile(manifestPath, "utf8").catch(async (cause: unknown) => {
    throw isMissing(cause) ? await noPackage(path) : cause;
  });
  if (text.length > MAX_MANIFEST_BYTES) throw bad(`${manifestPath} has ${text.length} characters`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw bad(`${manifestPath} is not JSON`, cause);
  }
  const manifest = manifestSchema.safeParse(json);
  if (!manifest.success)
    throw bad(`${manifestPath}: ${manifest.error.issues[0]?.path.join(".")} ${manifest.error.issues[0]?.message}`);
  if (manifest.data.fileFormatVersion !== "1.0.0")
    throw bad(`${manifestPath}: fileFormatVersion ${manifest.data.fileFormatVersion}, 1.0.0 is read`);
  const entries = manifest.data.itemInfoEntries;
  for (const entry of Object.values(entries)) {
    const parts = entry.path.split("/");
    if (entry.path.startsWith("/") || parts.some((p) => p === ".." || p === "." || p === ""))
      throw bad(`${manifestPath}: the path "${entry.path}" leaves the package`);
    await stat(join(path, "Data", ...parts)).catch((cause: unknown) => {
      throw new EspalierError("model/missing-file", `${path}: Data/${entry.path} is missing`, {
        hint: "Copy the package again.",
        cause,
      });
    });
  }
  const root = new Map(Object.entries(entries)).get(manifest.data.rootModelIdentifier);
  if (!root) throw bad(`${manifestPath}: no item is the root model`);
  const weights = Object.values(entries).find((e) => e.name === "weights");
  const weightPath = weights ? join(path, "Data", ...weights.path.split("/"), "weight.bin") : null;
  const present = weightPath ? await stat(weightPath).catch(() => null) : null;
  return { modelPath: join(path, "Data", ...root.path.split("/")), weightPath: present ? weightPath : null };
}

function readProgram(message: Model, program: mil.Program, stored: ConstantReader): Program {
  if (program.version !== 1n) throw bad(`the program has version ${program.version}, 1 is read`);
  for (const name of Object.keys(program.attributes))
    if (name !== "buildInfo") throw bad(`the program has an unknown attribute ${name}`);
  const names = Object.keys(program.functions);
  if (names.length === 0) throw bad("the program has no functions");
  let opset = "";
  const functions = names.map((name) => {
    const fn = named(program.functions, name);
    opset ||= fn.opset;
    const needed = opsetNamed(fn.opset)?.specificationVersion;
    if (needed === undefined)
      throw new EspalierError("format/unsupported", `function ${name} has the opset "${fn.opset}"`, {
        hint: `Known are ${opsets.map((o) => o.name).join(", ")}.`,
      });
    if (needed > message.specificationVersion)
      throw bad(`opset ${fn.opset} needs specification ${needed}, the model has ${message.specificationVersion}`);
    if (fn.opset !== opset) throw bad(`function ${name} has opset ${fn.opset}, another has ${opset}`);
    return new FunctionReader(name, fn, stored, needed < since.constantInputs).read();
  });
  const description = message.description;
  if (!description) throw bad("the model has no description");
  const multi = description.functions.length > 0 || description.defaultFunctionName !== "";
  if (multi) {
    if (message.specificationVersion < since.functions)
      throw bad(
        `several functions need specification ${since.functions}, the model has ${message.specificationVersion}`,
      );
    if (description.input.length + description.output.length + description.state.length > 0)
      throw bad("a model with functions must not have inputs or outputs of its own");
    for (const d of description.functions) {
      const fn = functions.find((f) => f.name === d.name);
      if (!fn) throw bad(`the description names a function ${d.name} that the program lacks`);
      checkInterface(fn, d.input, d.output, d.state, message.specificationVersion);
    }
    if (!functions.some((f) => f.name === description.defaultFunctionName))
      throw bad(`the default function ${description.defaultFunctionName} does not exist`);
    return { opset, functions, defaultFunction: description.defaultFunctionName };
  }
  const main = functions.find((f) => f.name === "main");
  if (!main) throw bad(`the program has no function main, but ${names.join(", ")}`);
  checkInterface(main, description.input, description.output, description.state, message.specificationVersion);
  return { opset, functions, defaultFunction: "main" };
}

/** The description must say what the function is. */
function checkInterface(
  fn: MilFunction,
  inputs: FeatureDescription[],
  outputs: FeatureDescription[],
  states: FeatureDescription[],
  specification: number,
): void {
  const tensors = fn.inputs.filter((i) => i.type.kind === "tensor");
  const kept = fn.inputs.filter((i) => i.type.kind === "state");
  for (const [what, declared, actual] of [
    ["input", inputs, tensors],
    ["output", outputs, fn.outputs],
    ["state", states, kept],
  ] as const) {
    if (declared.length !== actual.length)
      throw bad(`function ${fn.name} has ${actual.length} ${what}s, its description ${declared.length}`);
    for (const d of declared) {
      const v = actual.find((a) => a.name === d.name);
      if (!v) throw bad(`function ${fn.name} has no ${what} ${d.name}`);
      const inner = v.type.kind === "state" ? v.type.wrapped : v.type;
      const said = featureTensor(d, what === "state");
      const shape = inner.shape.length === 0 ? [1] : inner.shape;
      if (said.dtype === "int8" && specification < since.int8Features)
        throw bad(`${what} ${d.name} of ${fn.name} is int8, which needs specification ${since.int8Features}`);
      if (said.dtype !== inner.dtype || !sameShape(said.shape, shape)) {
        throw bad(
          `${what} ${d.name} of ${fn.name} is described as ${showType(said)}, the program has ${showType(inner)}`,
        );
      }
      if (what === "state" && inner.dtype !== "fp16") throw bad(`state ${d.name} is ${inner.dtype}; states are fp16`);
    }
  }
}

function featureTensor(d: FeatureDescription, state: boolean): TensorType {
  const type = d.type?.type;
  let array: features.ArrayFeatureType | undefined;
  if (state && type?.case === "stateType" && type.value.type.case === "arrayType") array = type.value.type.value;
  if (!state && type?.case === "multiArrayType") array = type.value;
  if (!array) throw bad(`${d.name} is described with a type that is not read here`);
  const dtype = dtypeOfFeature.get(array.dataType);
  if (!dtype) throw bad(`${d.name} has the element type ${array.dataType}`);
  if (array.shapeFlexibility.case !== undefined)
    throw new EspalierError("format/unsupported", `${d.name} has a flexible shape`);
  return tensorType(
    dtype,
    array.shape.map((n) => dimension(n, d.name)),
  );
}
