/**
 * @file The files of an export: one package, a pipeline of packages where the weights are too many for one, or a package for each
 * function where the system has no functions. Written, read back and compared constant by constant.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { INTERFACE_KEY, type PackageInterface } from "../../../lib/decoder/package-interface.ts";
import { parameterCount } from "../../../lib/decoder/weights.ts";
import { EspalierError, invariant } from "../../../lib/errors.ts";
import { peekData } from "../../../lib/formats/coreml/constant-reader.ts";
import {
  isFunctionSet,
  predictFunctionSet,
  readFunctionSet,
  writeFunctionSet,
} from "../../../lib/formats/coreml/function-set.ts";
import {
  isPipeline,
  PIPELINE_FILE,
  readPipeline,
  writePipeline,
} from "../../../lib/formats/coreml/package-pipeline.ts";
import { type ReadPackage, readPackage } from "../../../lib/formats/coreml/package-reader.ts";
import {
  type PackageMetadata,
  type PackageOptions,
  predictPackage,
  writePackage,
} from "../../../lib/formats/coreml/package-writer.ts";
import { targetOf } from "../../../lib/formats/coreml/targets.ts";
import { partition } from "../../../lib/mil/passes/partition.ts";
import type { MilFunction, Program } from "../../../lib/mil/program.ts";
import { DeferredTensor, type Tensor } from "../../../lib/mil/tensor.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import type { CoremlCard } from "./card.ts";
import type { Plan } from "./layout.ts";

export interface WrittenFiles {
  readonly kind: CoremlCard["kind"];
  /** Of what was written: `Model.mlpackage`, `Model.pipeline` or `Model.functions`. */
  readonly name: string;
  readonly path: string;
  readonly parts: CoremlCard["parts"];
  readonly predictedBytes: number;
  readonly writtenBytes: number;
  readonly weightBytes: number;
}

export interface FilesToWrite {
  readonly name: string;
  readonly program: Program;
  readonly interface: PackageInterface;
  readonly metadata: Omit<PackageMetadata, "userDefined"> & { readonly modelHash: string };
  readonly compute: PackageOptions["compute"];
  readonly limitBytes: number;
}

/** All but the program and its interface. */
export function filesToWrite({ config, sizes, source }: Plan): Omit<FilesToWrite, "program" | "interface"> {
  const { arch, model } = source;
  return {
    name: config.name,
    metadata: {
      shortDescription: `${config.name}: ${arch.layers.length} layers, ${parameterCount(arch)} parameters`,
      author: "Espalier",
      license: "",
      version: "1",
      modelHash: model.hash,
    },
    compute: sizes.layout === "neural-engine" ? "neural-engine" : "gpu",
    limitBytes: config.maxPackageBytes,
  };
}

/** The bytes `writeFiles` would write; null where the weights need several packages that follow each other. */
export async function predictFiles(wanted: FilesToWrite): Promise<number | null> {
  const { program, limitBytes } = wanted;
  const compute = wanted.compute ? { compute: wanted.compute } : {};
  if (isWrittenByFunction(program))
    return predictFunctionSet(program, (fn) => metadataOf(wanted, onlyFunction(wanted.interface, fn)), {
      ...compute,
      limitBytes,
    });
  const { sizeBytes, weightBytes } = await predictPackage(program, metadataOf(wanted, wanted.interface), compute);
  return weightBytes > limitBytes ? null : sizeBytes;
}

const isWrittenByFunction = (program: Program): boolean =>
  !targetOf(program).functions && !(program.functions.length === 1 && program.functions[0]?.name === "main");

/** Under a name that says it is not checked. Throws `export/parity` when a file has other than the predicted bytes. */
export async function writeFiles(folder: string, wanted: FilesToWrite): Promise<WrittenFiles> {
  const { name, program, limitBytes } = wanted;
  const compute = wanted.compute ? { compute: wanted.compute } : {};
  const at = (ending: string): { name: string; path: string } => ({
    name: `${name}.${ending}`,
    path: join(folder, `unchecked.${ending}`),
  });
  if (isWrittenByFunction(program)) {
    const place = at("functions");
    const { packages } = await writeFunctionSet(
      place.path,
      program,
      (fn) => metadataOf(wanted, onlyFunction(wanted.interface, fn)),
      { ...compute, limitBytes },
    );
    const parts = packages.map((p) => ({ ...p, holds: p.function })).map(({ function: _, ...p }) => p);
    return { kind: "functions", ...place, ...totals(parts) };
  }
  const metadata = metadataOf(wanted, wanted.interface);
  const predicted = await predictPackage(program, metadata, compute);
  if (predicted.weightBytes > limitBytes) {
    const place = at("pipeline");
    const { packages } = await writePipeline(place.path, program, metadata, { ...compute, limitBytes });
    const parts = packages.map(({ file, holds, sizeBytes = 0, weightBytes }) => ({
      file,
      holds,
      sizeBytes,
      weightBytes,
    }));
    const { size } = await stat(join(place.path, PIPELINE_FILE));
    const sum = totals(parts);
    return {
      kind: "pipeline",
      ...place,
      ...sum,
      writtenBytes: sum.writtenBytes + size,
      predictedBytes: sum.predictedBytes + size,
    };
  }
  const place = at("mlpackage");
  const written = await writePackage(place.path, program, metadata, compute);
  if (written.sizeBytes !== predicted.sizeBytes)
    throw new EspalierError(
      "export/parity",
      `the package has ${written.sizeBytes} bytes, ${predicted.sizeBytes} were predicted`,
      { hint: "This is a bug in Espalier's writer; nothing was kept." },
    );
  const { sizeBytes, weightBytes } = written;
  const part = { file: place.name, holds: "all", sizeBytes, weightBytes };
  return { kind: "package", ...place, ...totals([part]) };
}

/** Parts are written only with the bytes that were predicted for them. */
function totals(
  parts: CoremlCard["parts"],
): Pick<WrittenFiles, "parts" | "predictedBytes" | "writtenBytes" | "weightBytes"> {
  const writtenBytes = parts.reduce((n, p) => n + p.sizeBytes, 0);
  return {
    parts,
    writtenBytes,
    predictedBytes: writtenBytes,
    weightBytes: parts.reduce((n, p) => n + p.weightBytes, 0),
  };
}

function metadataOf({ metadata }: FilesToWrite, drive: PackageInterface): PackageMetadata {
  const { modelHash, ...rest } = metadata;
  return { ...rest, userDefined: { "espalier.model": modelHash, [INTERFACE_KEY]: JSON.stringify(drive) } };
}

/** The interface of a package that has one function, `main`. */
function onlyFunction(drive: PackageInterface, name: string): PackageInterface {
  if (drive.layout === "plain")
    return { ...drive, functions: drive.functions.filter((f) => f.name === name).map((f) => ({ ...f, name: "main" })) };
  return { ...drive, functions: drive.functions.filter((f) => f.name === name).map((f) => ({ ...f, name: "main" })) };
}

export interface ReadFile {
  /** Relative to the folder that holds the packages; empty for a single one. */
  readonly file: string;
  readonly path: string;
  readonly read: ReadPackage;
  /** What its `main` is called elsewhere, for a package of one function. */
  readonly main?: string;
}

/** The program several packages are together, function by function: for counting what it does, not for running it. */
export function countedProgram(files: readonly ReadFile[]): Program {
  const functions = new Map<string, MilFunction>();
  for (const { read, main } of files) {
    for (const fn of read.program.functions) {
      const name = fn.name === "main" ? (main ?? fn.name) : fn.name;
      const before = functions.get(name);
      const inputs = [...(before?.inputs ?? []), ...fn.inputs];
      const operations = [...(before?.operations ?? []), ...fn.operations];
      functions.set(name, { name, inputs, operations, outputs: fn.outputs });
    }
  }
  const [first] = files;
  invariant(first, "a program of no packages");
  const names = [...functions.keys()];
  const { opset, defaultFunction } = first.read.program;
  return {
    opset,
    functions: [...functions.values()],
    defaultFunction: names.includes(defaultFunction) ? defaultFunction : (names[0] ?? ""),
  };
}

/** Every package of an export, read without keeping its weights. */
export async function readFiles(path: string): Promise<ReadFile[]> {
  if (await isPipeline(path)) {
    const { packages, description } = await readPipeline(path, { deferred: true });
    return packages.map((read, i) => ({ file: description.packages[i]?.file ?? "", path: read.path, read }));
  }
  if (await isFunctionSet(path)) {
    const { description } = await readFunctionSet(path);
    const files: ReadFile[] = [];
    for (const { file, function: main } of description.packages)
      for (const inside of await readFiles(join(path, file)))
        files.push({ ...inside, file: join(file, inside.file), main });
    return files;
  }
  return [{ file: "", path, read: await readPackage(path, { deferred: true }) }];
}

/** Constants below this are parameters, which the reader takes back into operations. */
const COMPARED_ELEMENTS = 64;

/**
 * Every constant that was to be written must be found, bit for bit, in what was read: of a pipeline those of its parts, whose
 * tables may be split by rows. Throws `export/parity`; gives how many were compared.
 */
export async function compareConstants(
  program: Program,
  { kind, parts }: WrittenFiles,
  files: readonly ReadFile[],
  limitBytes: number,
): Promise<number> {
  const written =
    kind === "package"
      ? [program]
      : kind === "pipeline"
        ? partition(program, limitBytes)
        : program.functions.flatMap((fn) => {
            const own = { ...program, functions: [fn], defaultFunction: fn.name };
            const isPart = parts.find((p) => p.holds === fn.name)?.file.endsWith(".pipeline");
            return isPart ? partition(own, limitBytes) : [own];
          });
  const digests = new Set<string>();
  for (const t of constantsIn(files.map(({ read }) => read.program))) digests.add(await digestOf(t));
  const wanted = constantsIn(written);
  for (const t of wanted) {
    if (digests.has(await digestOf(t))) continue;
    throw new EspalierError(
      "export/parity",
      `the constant ${t.dtype}[${t.shape.join(", ")}] was written, but reading it back gives other values`,
      { hint: "This is a bug in Espalier's writer or a fault of the disk; nothing was kept." },
    );
  }
  return wanted.length;
}

function constantsIn(programs: readonly Program[]): Tensor[] {
  const all = new Map<unknown, Tensor>();
  for (const fn of programs.flatMap((p) => p.functions))
    for (const { constant } of fn.operations)
      if (constant && elementCount(constant.shape) >= COMPARED_ELEMENTS)
        all.set(constant instanceof DeferredTensor ? constant.pieces : constant, constant);
  return [...all.values()];
}

async function digestOf(t: Tensor): Promise<string> {
  const hash = createHash("sha256").update(`${t.dtype} ${elementCount(t.shape)}\n`);
  const pieces = t instanceof DeferredTensor ? t.pieces() : [peekData(t)];
  for await (const d of pieces) hash.update(new Uint8Array(d.buffer, d.byteOffset, d.byteLength));
  return hash.digest("hex");
}
