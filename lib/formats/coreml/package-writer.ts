/**
 * @file Writes a program as an `.mlpackage`: manifest, protobuf, one weight file that all functions share.
 *
 * Reference: Core ML's specifications 8 to 10; the program's opset says which. The same program gives the same bytes, and
 * `predictPackage` counts them beforehand without making any data. Not included: pipelines, flexible shapes.
 */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { EspalierError } from "../../errors.ts";
import { withOutputDirectory } from "../../files/atomic.ts";
import type { MilFunction, Program, Value } from "../../mil/program.ts";
import { BlobFileCounter, BlobFileWriter, type BlobSink } from "./blob-file.ts";
import { featureDataTypes, isFeatureDType } from "./element-types.ts";
import { FunctionWriter } from "./function-writer.ts";
import * as features from "./generated/feature-types_pb.ts";
import type * as mil from "./generated/mil_pb.ts";
import { ProgramSchema } from "./generated/mil_pb.ts";
import * as model from "./generated/model_pb.ts";
import { type ComputeTarget, checkTarget, type Target, targetOf } from "./targets.ts";

const identifier = /^[A-Za-z_][A-Za-z0-9_@]*$/;

export interface PackageMetadata {
  readonly shortDescription: string;
  readonly author: string;
  readonly license: string;
  readonly version: string;
  /** Kept by Core ML as the model's creator-defined metadata. */
  readonly userDefined: Readonly<Record<string, string>>;
}

export interface WrittenPackage {
  /** Of all files. */
  readonly sizeBytes: number;
  readonly weightBytes: number;
  readonly modelBytes: number;
}

export interface PackageOptions {
  /** Where it is meant to run; `gpu` allows every legal weight. */
  readonly compute?: ComputeTarget;
}

/** Writes `path` (which must end in `.mlpackage`), whole or not at all. Throws `export/unsupported`, `store/…`. */
export async function writePackage(
  path: string,
  program: Program,
  metadata: PackageMetadata,
  options: PackageOptions = {},
): Promise<WrittenPackage> {
  if (!path.endsWith(".mlpackage")) {
    throw new EspalierError("input/invalid", `a package must be named *.mlpackage, found ${path}`, {
      hint: "Xcode knows it by that ending.",
    });
  }
  const target = checkedTarget(program, options);
  return withOutputDirectory(path, (folder) => writeContents(folder, program, target, metadata));
}

/** The bytes `writePackage` will write: everything is laid out, nothing is written and no deferred data made. */
export async function predictPackage(
  program: Program,
  metadata: PackageMetadata,
  options: PackageOptions = {},
): Promise<WrittenPackage> {
  const target = checkedTarget(program, options);
  const counter = new BlobFileCounter();
  const bytes = await modelBytes(program, target, metadata, counter);
  return {
    sizeBytes: bytes.length + counter.sizeBytes + manifestText("").length,
    weightBytes: counter.sizeBytes,
    modelBytes: bytes.length,
  };
}

/** Throws `export/unsupported` or `program/structure` for what no package, or none of this target, can say. */
function checkedTarget(program: Program, { compute = "gpu" }: PackageOptions): Target {
  const names = program.functions.map((f) => f.name);
  const illegal = names.find((name) => !identifier.test(name));
  if (illegal !== undefined)
    throw new EspalierError("program/structure", `"${illegal}" is not a legal name for a function`);
  if (new Set(names).size !== names.length || !names.includes(program.defaultFunction)) {
    throw new EspalierError(
      "program/structure",
      `functions ${names.join(", ")} with the default ${program.defaultFunction}: names must be distinct and hold it`,
    );
  }
  for (const fn of program.functions) {
    for (const o of fn.outputs) {
      const source = o.producer?.type ?? "input";
      if (source !== "input" && source !== "const" && !source.startsWith("constexpr_")) continue;
      throw new EspalierError("export/unsupported", `${fn.name}: the output ${o.name} is itself a ${source}`, {
        hint: "Core ML wants an operation there; add an identity.",
      });
    }
  }
  const target = targetOf(program);
  checkTarget(program, target, compute);
  return target;
}

async function modelBytes(
  program: Program,
  target: Target,
  metadata: PackageMetadata,
  sink: BlobSink,
): Promise<Uint8Array> {
  const functions: Record<string, mil.Function> = {};
  for (const fn of [...program.functions].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    functions[fn.name] = await new FunctionWriter(fn, target, sink).write();
  }
  const message = create(model.ModelSchema, {
    specificationVersion: target.specificationVersion,
    description: describe(program, metadata),
    type: { case: "mlProgram", value: create(ProgramSchema, { version: 1n, functions }) },
  });
  return toBinary(model.ModelSchema, message);
}

async function writeContents(
  folder: string,
  program: Program,
  target: Target,
  metadata: PackageMetadata,
): Promise<WrittenPackage> {
  const root = join(folder, "Data", "com.apple.CoreML");
  await mkdir(join(root, "weights"), { recursive: true });
  const blobs = await BlobFileWriter.create(join(root, "weights", "weight.bin"));
  try {
    const bytes = await modelBytes(program, target, metadata, blobs);
    const weights = await blobs.finish();
    await writeFile(join(root, "model.mlmodel"), bytes);
    const identity = createHash("sha256").update(bytes).update(weights.contentHash).digest("hex");
    const manifest = manifestText(identity);
    await writeFile(join(folder, "Manifest.json"), manifest);
    return {
      sizeBytes: bytes.length + weights.sizeBytes + manifest.length,
      weightBytes: weights.sizeBytes,
      modelBytes: bytes.length,
    };
  } catch (thrown) {
    await blobs.abandon();
    throw thrown;
  }
}

/** A UUID (version 5 in form) from the content, so that equal packages have equal identifiers. */
function uuidOf(text: string): string {
  const h = createHash("sha256").update(text).digest("hex");
  const variant = ((Number.parseInt(h.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-5${h.slice(13, 16)}-${variant}${h.slice(18, 20)}-${h.slice(20, 32)}`;
}

function manifestText(identity: string): string {
  const author = "com.apple.CoreML";
  const [spec, weights] = [uuidOf(`model ${identity}`), uuidOf(`weights ${identity}`)];
  const manifest = {
    fileFormatVersion: "1.0.0",
    itemInfoEntries: {
      [spec]: {
        author,
        description: "CoreML Model Specification",
        name: "model.mlmodel",
        path: `${author}/model.mlmodel`,
      },
      [weights]: { author, description: "CoreML Model Weights", name: "weights", path: `${author}/weights` },
    },
    rootModelIdentifier: spec,
  };
  return `${JSON.stringify(manifest, null, 4)}\n`;
}

function describe(program: Program, metadata: PackageMetadata): model.ModelDescription {
  const feature = (v: Value): model.FeatureDescription =>
    create(model.FeatureDescriptionSchema, { name: v.name, type: featureType(v) });
  const parts = (fn: MilFunction) => ({
    input: fn.inputs.filter((i) => i.type.kind === "tensor").map(feature),
    output: fn.outputs.map(feature),
    state: fn.inputs.filter((i) => i.type.kind === "state").map(feature),
  });
  const userDefined = Object.fromEntries(Object.entries(metadata.userDefined).sort(([a], [b]) => (a < b ? -1 : 1)));
  const common = {
    metadata: create(model.MetadataSchema, {
      shortDescription: metadata.shortDescription,
      author: metadata.author,
      license: metadata.license,
      versionString: metadata.version,
      userDefined,
    }),
  };
  const [only, ...more] = program.functions;
  if (only && more.length === 0 && only.name === "main")
    return create(model.ModelDescriptionSchema, { ...parts(only), ...common });
  return create(model.ModelDescriptionSchema, {
    ...common,
    functions: program.functions.map((fn) => create(model.FunctionDescriptionSchema, { name: fn.name, ...parts(fn) })),
    defaultFunctionName: program.defaultFunction,
  });
}

function featureType(v: Value): features.FeatureType {
  const inner = v.type.kind === "state" ? v.type.wrapped : v.type;
  if (!isFeatureDType(inner.dtype)) {
    throw new EspalierError("export/unsupported", `${v.name} is ${inner.dtype}, which no input or output can be`);
  }
  const array = create(features.ArrayFeatureTypeSchema, {
    // A scalar crosses the boundary as one element.
    shape: (inner.shape.length === 0 ? [1] : inner.shape).map(BigInt),
    dataType: featureDataTypes[inner.dtype],
  });
  return create(features.FeatureTypeSchema, {
    type:
      v.type.kind === "state"
        ? {
            case: "stateType",
            value: create(features.StateFeatureTypeSchema, { type: { case: "arrayType", value: array } }),
          }
        : { case: "multiArrayType", value: array },
  });
}
