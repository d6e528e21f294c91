/**
 * @file A package that was read back, as a step model that an engine runs, driven through its metadata alone.
 *
 * A package without Espalier's interface is taken for one in the plain layout when it has a function `decode` of that kind.
 */
import { basename, join } from "node:path";
import type { Engine } from "../engines/engine.ts";
import { pipelineEngine } from "../engines/pipeline.ts";
import { EspalierError } from "../errors.ts";
import { readPackage } from "../formats/coreml/package-reader.ts";
import { isPipeline, readPipeline } from "../formats/coreml/pipeline.ts";
import type { MilFunction, Program } from "../mil/program.ts";
import type { StepModel } from "./generate.ts";
import { openNeuralEngineModel } from "./neural-engine/driver.ts";
import { type HostTables, openEmbedding } from "./neural-engine/embedding.ts";
import { type PackageInterface, readInterface } from "./package-interface.ts";
import { plainStepModel } from "./plain-session.ts";

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
  return plainPackage(engine, program, float16);
}

/** Reads the package at `path`, or the folder of a pipeline of packages, and what travels beside it. */
export async function openPackage(engine: Engine, path: string, float16: "round" | "widen"): Promise<StepModel> {
  const parts = (await isPipeline(path)) ? await readPipeline(path) : null;
  if (parts) {
    const joined = pipelineEngine(engine, parts);
    return packageModel(joined.engine, joined, float16, await tablesIn(path, readInterface(joined.userDefined)));
  }
  const read = await readPackage(path);
  return packageModel(engine, read, float16, await tablesIn(join(path, ".."), readInterface(read.userDefined)));
}

/** The tables that lie in `folder`, as far as the package has any outside. */
async function tablesIn(folder: string, description: PackageInterface | null): Promise<HostTables> {
  if (description?.layout !== "neural-engine") return {};
  const { embedding, perLayer } = description;
  const open = (file: string): ReturnType<typeof openEmbedding> => openEmbedding(join(folder, basename(file)));
  return {
    embedding: embedding.location === "host" ? await open(embedding.file) : null,
    perLayer: perLayer ? await open(perLayer.file) : null,
  };
}

async function plainPackage(engine: Engine, program: Program, float16: "round" | "widen"): Promise<StepModel> {
  const find = (name: string): MilFunction | undefined => program.functions.find((f) => f.name === name);
  const decode = find("decode");
  if (!decode) {
    throw new EspalierError(
      "format/unsupported",
      `the package has the functions ${program.functions.map((f) => f.name).join(", ")}, none is decode`,
      {
        hint: "Only packages with Espalier's interface can generate text here.",
      },
    );
  }
  const cache = decode.inputs.find((i) => i.type.kind === "state" && i.name.startsWith("kv_cache"));
  const prefill = find("prefill");
  return plainStepModel({
    vocab: extent(decode, "logits", -1),
    context: extent(decode, cache?.name ?? "kv_cache", 2),
    decode: await engine.compile(decode, { float16 }),
    prefill: prefill
      ? { executable: await engine.compile(prefill, { float16 }), length: extent(prefill, "ids", 1) }
      : undefined,
    inputs: {},
  });
}

function extent(fn: MilFunction, name: string, axis: number): number {
  const type = [...fn.inputs, ...fn.outputs].find((i) => i.name === name)?.type;
  if (!type) throw new EspalierError("format/unsupported", `${fn.name} has no ${name}`);
  return (type.kind === "state" ? type.wrapped : type).shape.at(axis) ?? 0;
}
