/**
 * @file A package read back from disk as a step model that an engine runs, driven only by its
 * metadata.
 *
 * A package without Espalier's interface is treated as plain layout if it has a matching function
 * `decode`.
 */

import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { itemAt } from "../elements.ts";
import type { Engine } from "../engines/engine.ts";
import { pipelineEngine } from "../engines/function-pipeline.ts";
import { type StagedEngine, stagedEngine } from "../engines/staged.ts";
import { EspalierError } from "../errors.ts";
import { isFunctionSet, type ReadFunctionSet, readFunctionSet } from "../formats/coreml/function-set.ts";
import { isPipeline, readPipeline } from "../formats/coreml/package-pipeline.ts";
import { readPackage } from "../formats/coreml/package-reader.ts";
import type { MilFunction, Program } from "../mil/program.ts";
import { zeros } from "../mil/tensor.ts";
import type { StepModel } from "./generate.ts";
import { openNeuralEngineModel } from "./neural-engine/driver.ts";
import { type HostTables, openEmbedding } from "./neural-engine/embedding.ts";
import { INTERFACE_KEY, type PackageInterface, packageInterface, readInterface } from "./package-interface.ts";
import { plainStepModel } from "./plain-session.ts";
import type { RowTable } from "./weights.ts";

export interface LoadedPackage {
  readonly program: Program;
  readonly userDefined: Readonly<Record<string, string>>;
}

/** `round` computes fp16 op by op as the device would, `widen` in fp32. Throws `format/unsupported` for another interface. */
export async function packageModel(
  engine: Engine,
  { program, userDefined }: LoadedPackage,
  float16: "round" | "widen",
  tables: HostTables = {},
): Promise<StepModel> {
  const description = readInterface(userDefined);
  if (description?.layout === "neural-engine")
    return openNeuralEngineModel(engine, program, description, { float16, ...tables });
  const named = (role: "decode" | "prefill"): string =>
    description?.functions.find((f) => f.role === role)?.name ?? role;
  return plainPackage(engine, program, float16, { decode: named("decode"), prefill: named("prefill") });
}

/** A package with the engine that runs its functions; those of a pipeline run part by part. */
export interface OpenedPackage extends LoadedPackage {
  readonly engine: Engine;
}

/**
 * Reads the package at `path`, or the folder of a pipeline or of packages for single functions. Large weights stay in the files
 * until a function is compiled, so the package must stay where it is.
 */
export async function loadPackage(engine: Engine, path: string): Promise<OpenedPackage> {
  if (await isPipeline(path)) return pipelineEngine(engine, await readPipeline(path, { deferred: true }));
  if (await isFunctionSet(path)) return joinedFunctions(engine, await readFunctionSet(path));
  const { program, userDefined } = await readPackage(path, { deferred: true });
  return { engine, program, userDefined };
}

/** As `loadPackage`, for packages larger than memory: run stage by stage, `limitBytes` of weights at a time. */
export async function loadStaged(
  engine: Engine,
  path: string,
  limitBytes: number,
): Promise<LoadedPackage & { readonly engine: StagedEngine }> {
  if (await isPipeline(path)) {
    const parts = await readPipeline(path, { deferred: true });
    const { program, userDefined } = pipelineEngine(engine, parts);
    return { program, userDefined, engine: stagedEngine(engine, limitBytes, parts.programs) };
  }
  const { program, userDefined } = await readPackage(path, { deferred: true });
  return { program, userDefined, engine: stagedEngine(engine, limitBytes) };
}

/** Reads the package and the files next to it, as a step model. */
export async function openPackage(engine: Engine, path: string, float16: "round" | "widen"): Promise<PackageModel> {
  const loaded = await loadPackage(engine, path);
  const description = readInterface(loaded.userDefined);
  const model = await packageModel(loaded.engine, loaded, float16, await tablesOf(path, description));
  return Object.assign(model, { interface: description });
}

/** As `openPackage`, stage by stage; `execute` runs what was fed. */
export async function openStaged(
  engine: Engine,
  path: string,
  limitBytes: number,
  float16: "round" | "widen",
): Promise<StepModel & Pick<StagedEngine, "execute">> {
  const loaded = await loadStaged(engine, path, limitBytes);
  const tables = await tablesOf(path, readInterface(loaded.userDefined));
  const model = await packageModel(loaded.engine, loaded, float16, tables);
  return Object.assign(model, { execute: loaded.engine.execute });
}

/** Includes the package's interface; null where it declares none. */
export interface PackageModel extends StepModel {
  readonly interface: PackageInterface | null;
}

/** The tables stored outside a package: in its folder of packages, or next to it. */
async function tablesOf(path: string, description: PackageInterface | null): Promise<HostTables> {
  if (description?.layout !== "neural-engine") return {};
  const { embedding, perLayer } = description;
  const open = async (file: string): Promise<RowTable> => {
    const places = [path, join(path, ".."), join(path, "..", "..")].map((folder) => join(folder, basename(file)));
    for (const place of places) if (await stat(place).catch(() => null)) return openEmbedding(place);
    return openEmbedding(itemAt(places, 1));
  };
  return {
    embedding: embedding.location === "host" ? await open(embedding.file) : null,
    perLayer: perLayer ? await open(perLayer.file) : null,
  };
}

/** Joins packages that each hold one function as `main` into one program with the functions' own
 * names. */
function joinedFunctions(engine: Engine, { description, entries }: ReadFunctionSet): OpenedPackage {
  const opened = entries.map((entry, i) => {
    const own = "programs" in entry ? pipelineEngine(engine, entry) : { ...entry, engine };
    const main = itemAt(own.program.functions, 0);
    return { own, main, named: { ...main, name: description.packages[i]?.function ?? "" } };
  });
  const interfaces = opened.map(({ own, named }) => {
    const found = readInterface(own.userDefined);
    return found && renamed(found, named.name);
  });
  const [first] = interfaces;
  const joined = first && { ...first, functions: interfaces.flatMap((d) => d?.functions ?? []) };
  return {
    program: {
      opset: opened[0]?.own.program.opset ?? "",
      functions: opened.map((o) => o.named),
      defaultFunction: description.defaultFunction,
    },
    userDefined: { ...opened[0]?.own.userDefined, ...(joined ? { [INTERFACE_KEY]: JSON.stringify(joined) } : {}) },
    engine: {
      ...engine,
      compile(fn, options) {
        const found = opened.find((o) => o.named === fn);
        return found ? found.own.engine.compile(found.main, options) : engine.compile(fn, options);
      },
    },
  };
}

const renamed = (description: PackageInterface, name: string): PackageInterface =>
  packageInterface.parse({ ...description, functions: description.functions.map((f) => ({ ...f, name })) });

async function plainPackage(
  engine: Engine,
  program: Program,
  float16: "round" | "widen",
  names: { decode: string; prefill: string },
): Promise<StepModel> {
  const find = (name: string): MilFunction | undefined => program.functions.find((f) => f.name === name);
  const decode = find(names.decode);
  if (!decode) {
    throw new EspalierError(
      "format/unsupported",
      `the package has the functions ${program.functions.map((f) => f.name).join(", ")}, none is decode`,
      {
        hint: "Only packages with Espalier's interface can generate text here.",
      },
    );
  }
  const caches = decode.inputs.filter((i) => i.name.startsWith("kv_cache"));
  const given = caches.flatMap((c) => (c.type.kind === "tensor" ? [[c.name, zeros(c.type)] as const] : []));
  const prefill = find(names.prefill);
  return plainStepModel({
    vocab: extent(decode, "logits", -1),
    context: extent(decode, caches[0]?.name ?? "kv_cache", 2),
    decode: await engine.compile(decode, { float16 }),
    prefill: prefill
      ? { executable: await engine.compile(prefill, { float16 }), length: extent(prefill, "ids", 1) }
      : undefined,
    inputs: {},
    ...(given.length > 0 ? { caches: Object.fromEntries(given) } : {}),
  });
}

function extent(fn: MilFunction, name: string, axis: number): number {
  const type = [...fn.inputs, ...fn.outputs].find((i) => i.name === name)?.type;
  if (!type) throw new EspalierError("format/unsupported", `${fn.name} has no ${name}`);
  return (type.kind === "state" ? type.wrapped : type).shape.at(axis) ?? 0;
}
