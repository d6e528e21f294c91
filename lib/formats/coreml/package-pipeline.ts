/**
 * @file A model in several packages: each within a size limit, with a description of how they follow each other.
 *
 * A phone loads a package as a whole, and large ones fall off the Neural Engine or are not loaded at all (reports put the limit
 * at 0.95 to 1.4 GB of weights). `pipeline.json` beside the packages names them in order, with the inputs, outputs and states of
 * each function; a tensor has one name throughout, and states belong to their package.
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import { withOutputDirectory } from "../../files/atomic.ts";
import { partition } from "../../mil/passes/partition.ts";
import type { MilFunction, Program } from "../../mil/program.ts";
import { sameType, showType } from "../../mil/types.ts";
import { type ReadOptions, type ReadPackage, readPackage } from "./package-reader.ts";
import { type PackageMetadata, type PackageOptions, predictPackage, writePackage } from "./package-writer.ts";

/** Weights a package may hold: what has been seen to load on iPhones. */
export const PACKAGE_LIMIT_BYTES = 950_000_000;
export const PIPELINE_FILE = "pipeline.json";
const MAX_DESCRIPTION_BYTES = 10_000_000;

const tensors = z.record(z.string(), z.string());
const pipelineSchema = z.object({
  format: z.literal("espalier-pipeline"),
  version: z.literal(1),
  defaultFunction: z.string(),
  /** In the order they run. */
  packages: z
    .array(
      z.object({
        file: z.string().regex(/^[\w-]+\.mlpackage$/),
        holds: z.string(),
        /** Of all files of the package; predicted and written agree. */
        sizeBytes: z.number().int().nonnegative().optional(),
        weightBytes: z.number().int().nonnegative(),
        functions: z.record(z.string(), z.object({ inputs: tensors, outputs: tensors, states: tensors })),
      }),
    )
    .min(1)
    .max(1000),
  /** Of the whole, by function. */
  functions: z.record(z.string(), z.object({ inputs: tensors, outputs: tensors })),
});
export type PipelineDescription = z.infer<typeof pipelineSchema>;

export interface ReadPipeline {
  readonly path: string;
  /** The outputs of the whole, by function. */
  readonly outputs: Readonly<Record<string, readonly string[]>>;
  readonly programs: readonly Program[];
  readonly userDefined: Readonly<Record<string, string>>;
  readonly description: PipelineDescription;
  readonly packages: readonly ReadPackage[];
}

const shown = (values: MilFunction["inputs"], kind: "tensor" | "state"): Record<string, string> =>
  Object.fromEntries(values.filter((v) => v.type.kind === kind).map((v) => [v.name, showType(v.type)]));

/** What a part holds: `embed`, `blocks-3-5`, `head`, joined. */
function contentOf(program: Program): string {
  const fn = program.functions[0];
  const blocks = (fn?.operations ?? []).flatMap((op) =>
    op.type !== "linear" && op.type !== "conv" ? [] : (/^L(\d+)_/.exec(op.name)?.[1] ?? []),
  );
  const numbers = blocks.map(Number);
  const embeds = fn?.operations.some(
    (op) => op.type === "gather" && /^embedding/.test([op.inputs.x].flat()[0]?.name ?? ""),
  );
  const ends = fn?.outputs.some((o) => o.name === "logits");
  const range = numbers.length > 0 ? [`blocks-${Math.min(...numbers)}-${Math.max(...numbers)}`] : [];
  return [...(embeds ? ["embed"] : []), ...range, ...(ends ? ["head"] : [])].join("-") || "part";
}

/** Writes packages of at most `limitBytes` of weights each and `pipeline.json` into `path`, whole or not at all. */
export async function writePipeline(
  path: string,
  program: Program,
  metadata: PackageMetadata,
  options: PackageOptions & { limitBytes?: number } = {},
): Promise<PipelineDescription> {
  const limitBytes = options.limitBytes ?? PACKAGE_LIMIT_BYTES;
  const parts = partition(program, limitBytes);
  return withOutputDirectory(path, async (folder) => {
    const packages: PipelineDescription["packages"] = [];
    for (const [i, part] of parts.entries()) {
      const holds = contentOf(part);
      const file = `${String(i + 1).padStart(2, "0")}-${holds}.mlpackage`;
      const idle = part.functions.find((fn) => fn.outputs.length === 0 && fn.operations.length === 0);
      if (idle)
        throw new EspalierError(
          "export/unsupported",
          `part ${i + 1} (${holds}) leaves ${idle.name} with nothing to do`,
          { hint: "Choose another limit: --max-package-bytes." },
        );
      const predicted = await predictPackage(part, metadata, options);
      const { weightBytes } = predicted;
      // Constants that several operations share may lie in more parts than one.
      if (weightBytes > limitBytes * 1.05)
        throw new EspalierError(
          "export/unsupported",
          `part ${i + 1} (${holds}) would hold ${weightBytes} bytes of weights, ${limitBytes} are allowed`,
          { hint: "Raise the limit." },
        );
      const written = await writePackage(join(folder, file), part, metadata, options);
      const functions = Object.fromEntries(
        part.functions.map((fn) => [
          fn.name,
          {
            inputs: shown(fn.inputs, "tensor"),
            outputs: shown(fn.outputs, "tensor"),
            states: shown(fn.inputs, "state"),
          },
        ]),
      );
      if (written.sizeBytes !== predicted.sizeBytes)
        throw new EspalierError(
          "export/parity",
          `part ${i + 1} (${holds}) has ${written.sizeBytes} bytes, ${predicted.sizeBytes} were predicted`,
        );
      packages.push({ file, holds, sizeBytes: written.sizeBytes, weightBytes, functions });
    }
    const description: PipelineDescription = {
      format: "espalier-pipeline",
      version: 1,
      defaultFunction: program.defaultFunction,
      packages,
      functions: Object.fromEntries(
        program.functions.map((fn) => [
          fn.name,
          { inputs: shown(fn.inputs, "tensor"), outputs: shown(fn.outputs, "tensor") },
        ]),
      ),
    };
    await writeFile(join(folder, PIPELINE_FILE), `${JSON.stringify(description, null, 2)}\n`);
    return description;
  });
}

const bad = (what: string, cause?: unknown): EspalierError =>
  new EspalierError("format/malformed", what, {
    hint: "The pipeline is incomplete or was edited; export it again.",
    ...(cause === undefined ? {} : { cause }),
  });

/** Whether `path` is a folder that `writePipeline` wrote. */
export const isPipeline = async (path: string): Promise<boolean> =>
  (await stat(join(path, PIPELINE_FILE)).catch(() => null)) !== null;

/** Reads every package, and checks that each input is one of the whole or given by an earlier package, with the same type. */
export async function readPipeline(path: string, options: ReadOptions = {}): Promise<ReadPipeline> {
  const file = join(path, PIPELINE_FILE);
  const { size } = await stat(file).catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `${path} has no ${PIPELINE_FILE}`, {
      hint: "Give the folder that holds the packages.",
      cause,
    });
  });
  if (size > MAX_DESCRIPTION_BYTES) throw bad(`${file} has ${size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw bad(`${file} is not JSON`, cause);
  }
  const parsed = pipelineSchema.safeParse(json);
  if (!parsed.success)
    throw bad(`${file}: ${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`);
  const description = parsed.data;
  const packages: ReadPackage[] = [];
  for (const part of description.packages) packages.push(await readPackage(join(path, part.file), options));
  for (const name of Object.keys(description.functions)) checkFlow(file, name, description, packages);
  return {
    path,
    outputs: Object.fromEntries(Object.entries(description.functions).map(([n, f]) => [n, Object.keys(f.outputs)])),
    programs: packages.map((p) => p.program),
    userDefined: packages[0]?.userDefined ?? {},
    description,
    packages,
  };
}

function checkFlow(
  file: string,
  name: string,
  description: PipelineDescription,
  packages: readonly ReadPackage[],
): void {
  const whole = new Map(Object.entries(description.functions)).get(name);
  const given = new Map<string, MilFunction["inputs"][number]>();
  for (const [i, read] of packages.entries()) {
    const fn = read.program.functions.find((f) => f.name === name);
    if (!fn) throw bad(`${file}: ${description.packages[i]?.file} has no function ${name}`);
    for (const input of fn.inputs) {
      if (input.type.kind === "state") continue;
      const from = given.get(input.name);
      if (from ? !sameType(from.type, input.type) : whole?.inputs[input.name] !== showType(input.type))
        throw bad(
          `${file}: ${description.packages[i]?.file} takes ${input.name} ${showType(input.type)}, ${
            from ? `an earlier package gives ${showType(from.type)}` : "which no earlier package gives"
          }`,
        );
    }
    for (const output of fn.outputs) given.set(output.name, output);
  }
  for (const [output, type] of Object.entries(whole?.outputs ?? {})) {
    const found = given.get(output);
    if (!found || showType(found.type) !== type) throw bad(`${file}: no package gives ${output} ${type}`);
  }
}
