/**
 * @file A package for each function, for systems whose packages hold one function (iOS 17).
 *
 * Every package has its function as `main` and a copy of the weights; `functions.json` beside them says which file is which
 * function. Above the size limit a function is itself a pipeline of packages. Not included: sharing one weight file, which Core ML
 * has no way to say before iOS 18.
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import { withOutputDirectory } from "../../files/atomic.ts";
import type { MilFunction, Program } from "../../mil/program.ts";
import {
  PACKAGE_LIMIT_BYTES,
  PIPELINE_FILE,
  type ReadPipeline,
  readPipeline,
  writePipeline,
} from "./package-pipeline.ts";
import { type ReadPackage, readPackage } from "./package-reader.ts";
import { type PackageMetadata, type PackageOptions, predictPackage, writePackage } from "./package-writer.ts";

export const FUNCTIONS_FILE = "functions.json";
const MAX_DESCRIPTION_BYTES = 1_000_000;

const functionSetSchema = z.object({
  format: z.literal("espalier-functions"),
  version: z.literal(1),
  defaultFunction: z.string(),
  packages: z
    .array(
      z.object({
        function: z.string(),
        file: z.string().regex(/^[\w-]+\.(mlpackage|pipeline)$/),
        sizeBytes: z.number().int().nonnegative(),
        weightBytes: z.number().int().nonnegative(),
      }),
    )
    .min(1)
    .max(1000),
});
export type FunctionSetDescription = z.infer<typeof functionSetSchema>;

export interface ReadFunctionSet {
  readonly path: string;
  readonly description: FunctionSetDescription;
  /** In the order of the description. */
  readonly entries: readonly (ReadPackage | ReadPipeline)[];
}

const onlyMain = (program: Program, fn: MilFunction): Program => ({
  opset: program.opset,
  functions: [{ ...fn, name: "main" }],
  defaultFunction: "main",
});

/** Writes a package for each function and `functions.json` into `path`, whole or not at all. `metadataOf` is asked by function. */
export async function writeFunctionSet(
  path: string,
  program: Program,
  metadataOf: (fn: string) => PackageMetadata,
  options: PackageOptions & { limitBytes?: number } = {},
): Promise<FunctionSetDescription> {
  const { limitBytes = PACKAGE_LIMIT_BYTES, ...packageOptions } = options;
  return withOutputDirectory(path, async (folder) => {
    const packages: FunctionSetDescription["packages"] = [];
    for (const fn of program.functions) {
      const own = onlyMain(program, fn);
      const metadata = metadataOf(fn.name);
      const predicted = await predictPackage(own, metadata, packageOptions);
      const entry = { function: fn.name, weightBytes: predicted.weightBytes };
      if (predicted.weightBytes > limitBytes) {
        const file = `${fn.name}.pipeline`;
        const parts = await writePipeline(join(folder, file), own, metadata, { ...packageOptions, limitBytes });
        const { size } = await stat(join(folder, file, PIPELINE_FILE));
        packages.push({
          ...entry,
          file,
          sizeBytes: parts.packages.reduce((n, p) => n + (p.sizeBytes ?? 0), size),
          weightBytes: parts.packages.reduce((n, p) => n + p.weightBytes, 0),
        });
        continue;
      }
      const file = `${fn.name}.mlpackage`;
      const { sizeBytes } = await writePackage(join(folder, file), own, metadata, packageOptions);
      if (sizeBytes !== predicted.sizeBytes)
        throw new EspalierError(
          "export/parity",
          `${file} has ${sizeBytes} bytes, ${predicted.sizeBytes} were predicted`,
        );
      packages.push({ ...entry, file, sizeBytes });
    }
    const description: FunctionSetDescription = {
      format: "espalier-functions",
      version: 1,
      defaultFunction: program.defaultFunction,
      packages,
    };
    await writeFile(join(folder, FUNCTIONS_FILE), `${JSON.stringify(description, null, 2)}\n`);
    return description;
  });
}

/** The bytes of the packages `writeFunctionSet` will write, without their description; null where a function needs several. */
export async function predictFunctionSet(
  program: Program,
  metadataOf: (fn: string) => PackageMetadata,
  options: PackageOptions & { limitBytes?: number } = {},
): Promise<number | null> {
  const { limitBytes = PACKAGE_LIMIT_BYTES, ...packageOptions } = options;
  let total = 0;
  for (const fn of program.functions) {
    const own = await predictPackage(onlyMain(program, fn), metadataOf(fn.name), packageOptions);
    if (own.weightBytes > limitBytes) return null;
    total += own.sizeBytes;
  }
  return total;
}

/** Whether `path` is a folder that `writeFunctionSet` wrote. */
export const isFunctionSet = async (path: string): Promise<boolean> =>
  (await stat(join(path, FUNCTIONS_FILE)).catch(() => null)) !== null;

const bad = (what: string, cause?: unknown): EspalierError =>
  new EspalierError("format/malformed", what, {
    hint: "The folder is incomplete or was edited; export it again.",
    ...(cause === undefined ? {} : { cause }),
  });

/** Reads every package. Throws `format/…` or `model/missing-file`. */
export async function readFunctionSet(path: string): Promise<ReadFunctionSet> {
  const file = join(path, FUNCTIONS_FILE);
  const { size } = await stat(file).catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `${path} has no ${FUNCTIONS_FILE}`, { cause });
  });
  if (size > MAX_DESCRIPTION_BYTES) throw bad(`${file} has ${size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw bad(`${file} is not JSON`, cause);
  }
  const parsed = functionSetSchema.safeParse(json);
  if (!parsed.success)
    throw bad(`${file}: ${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`);
  const names = parsed.data.packages.map((p) => p.function);
  if (new Set(names).size !== names.length) throw bad(`${file}: a function is named twice`);
  const entries: (ReadPackage | ReadPipeline)[] = [];
  for (const p of parsed.data.packages) {
    const own = join(path, p.file);
    const entry = p.file.endsWith(".pipeline") ? await readPipeline(own) : await readPackage(own);
    const functions = "programs" in entry ? Object.keys(entry.outputs) : entry.program.functions.map((f) => f.name);
    if (functions.join() !== "main")
      throw bad(`${own} has the functions ${functions.join(", ")}, one main is expected`);
    entries.push(entry);
  }
  return { path, description: parsed.data, entries };
}
