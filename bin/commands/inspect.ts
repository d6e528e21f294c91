/** @file `espalier inspect`: what is in a package, a checkpoint, a GGUF or a safetensors file. */

import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { readFiles } from "../../experiments/kinds/export/package-files.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { originOf } from "../../lib/checkpoint/origin.ts";
import { placeOf } from "../../lib/checkpoint/place.ts";
import { unusedInWords } from "../../lib/checkpoint/usable.ts";
import { estimateProgram } from "../../lib/cost/estimate.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";
import { lintPackage } from "../../lib/export/coreml/lint/lint.ts";
import { summarizePackage } from "../../lib/export/coreml/package-summary.ts";
import { openByteRanges } from "../../lib/files/byte-ranges.ts";
import { beginsLikeSafetensors } from "../../lib/files/mistaken-file.ts";
import { type PackageUnits, packageUnits } from "../../lib/formats/coreml/compute-units.ts";
import { coremlRelative } from "../../lib/formats/coreml/mistaken-package.ts";
import { isPipeline } from "../../lib/formats/coreml/package-pipeline.ts";
import type { ReadPackage } from "../../lib/formats/coreml/package-reader.ts";
import { openGguf } from "../../lib/formats/gguf/gguf.ts";
import type { GgufValue } from "../../lib/formats/gguf/metadata.ts";
import { openSafetensors } from "../../lib/formats/safetensors.ts";
import { printProgram } from "../../lib/mil/print.ts";
import { byteSize } from "../../lib/number-text.ts";
import { lintText, modelledLines } from "../device-text.ts";
import { isPackage, packageAt, type Readiness, readinessBeside } from "../named-package.ts";
import { count, fixed, table } from "../numbers.ts";
import { printResult } from "./experiment-command.ts";
import { readinessText } from "./export.ts";
import { originLines } from "./origin-lines.ts";

interface InspectOptions {
  readonly json?: boolean;
  readonly program?: boolean;
  readonly lint?: boolean;
  readonly modelled?: boolean;
  readonly units?: string;
}

function unitsOf(given: string | undefined): PackageUnits {
  const units = packageUnits.find((u) => u === (given ?? "cpuAndNeuralEngine"));
  if (units) return units;
  throw new EspalierError("input/invalid", `--units: ${given} is not known`, {
    hint: `One of ${packageUnits.join(", ")}.`,
  });
}

export function addInspect(program: Command): void {
  program
    .command("inspect")
    .argument(
      "<path>",
      "an .mlpackage, a folder of packages or of an export, a checkpoint folder, a .gguf or a .safetensors file",
    )
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--program", "Print the whole program of a package")
    .option("--lint", "Check a package for known problems on the Neural Engine")
    .option("--modelled", "Print modelled speed and memory of a package on each device")
    .option(
      "--units <name>",
      `Where the package is meant to run (${packageUnits.join(", ")}) [default: cpuAndNeuralEngine]`,
    )
    .description("Read a package, a checkpoint, a GGUF or a safetensors file, and show what is in it")
    .addHelpText("after", "\nExample:\n  espalier inspect package/Model.mlpackage --lint")
    .action(async (path: string, options: InspectOptions) => {
      const found = await stat(path).catch((cause: unknown) => {
        throw new EspalierError("model/missing-file", `nothing was found at ${path}`, { cause });
      });
      const packaged = await packageAt(path);
      const relative = await coremlRelative(packaged);
      if (relative) throw relative;
      if (await isPackage(packaged)) await inspectPackages(packaged, await readinessBeside(packaged), options);
      else if (!found.isFile()) await inspectCheckpoint(path, options);
      else if (/\.gguf$/i.test(path)) await inspectGguf(path, options);
      else if (await isSafetensors(path)) await inspectSafetensors(path, options);
      else await placeOf(path);
    });
}

/** By its name, or by how it begins, as in a cache whose files are named after their hashes. */
async function isSafetensors(path: string): Promise<boolean> {
  if (/\.safetensors$/i.test(path)) return true;
  const file = await openByteRanges(path);
  try {
    return beginsLikeSafetensors(await file.read(0, Math.min(9, file.sizeBytes)));
  } finally {
    await file.close();
  }
}

/** A package, or each of several with the name of its file above it. */
async function inspectPackages(path: string, readiness: Readiness | null, options: InspectOptions): Promise<void> {
  const units = unitsOf(options.units);
  const files = await readFiles(path);
  const texts: string[] = [];
  const objects: object[] = [];
  for (const { file, path: own, read } of files) {
    const { text, json } = await inspected(own, read, units, options);
    const heading = file === "" ? [] : [`== ${file}`];
    texts.push([...heading, text].join("\n"));
    objects.push(file === "" ? json : { file, ...json });
  }
  const kind = (await isPipeline(path)) ? "pipeline" : "functions";
  printResult(
    options,
    () => [...(readiness ? readinessText(readiness) : []), texts.join("\n\n")].join("\n"),
    () => ({
      ...(files.length === 1 && files[0]?.file === "" ? objects[0] : { kind, packages: objects }),
      ...(readiness ? { faithful: readiness.faithful, good: readiness.good } : {}),
    }),
  );
}

async function inspected(
  path: string,
  read: ReadPackage,
  units: PackageUnits,
  options: InspectOptions,
): Promise<{ text: string; json: object }> {
  if (options.lint) {
    const lint = await lintPackage(path, { units });
    return { text: lintText(lint), json: lint };
  }
  if (options.modelled) {
    const modelled = estimateProgram(read.program, { units, weightBytes: read.weightBytes });
    return { text: modelledLines(modelled).join("\n"), json: modelled };
  }
  const s = summarizePackage(read);
  const text = (): string => {
    const parts = [
      `Core ML specification ${s.specificationVersion}, opset ${s.opset}`,
      `weights ${byteSize(s.weightBytes)}, program ${byteSize(s.modelBytes)}, ${fixed(s.bitsPerWeight, 3)} bits per weight in the weight file`,
    ];
    for (const fn of s.functions) {
      parts.push(
        `\n${fn.name}`,
        ...fn.inputs.map((i) => `  in     ${i}`),
        ...fn.states.map((i) => `  state  ${i}`),
        ...fn.outputs.map((i) => `  out    ${i}`),
      );
      parts.push(
        `  ${Object.entries(fn.operations)
          .sort((a, b) => b[1] - a[1])
          .map(([type, n]) => `${type} ${n}`)
          .join(", ")}`,
      );
    }
    parts.push(
      "",
      table(
        ["weights", "tensors", "elements", "bytes"],
        s.weights.map((w) => [w.scheme, count(w.tensors), count(w.elements), count(w.sizeBytes)]),
      ),
    );
    if (options.program) parts.push("", printProgram(read.program));
    return parts.join("\n");
  };
  return { text: text(), json: s };
}

async function inspectSafetensors(path: string, options: { json?: boolean }): Promise<void> {
  const file = await openSafetensors(path);
  const tensors = [...file.tensors.values()];
  await file.close();
  printResult(
    options,
    () =>
      table(
        ["tensor", "type", "shape", "bytes"],
        tensors.map((t) => [t.name, t.dtype, t.shape.join(" × "), count(t.sizeBytes)]),
      ),
    () => ({ metadata: file.metadata, tensors }),
  );
}

/** The whole table of tensors and the metadata, whether or not it is a model that can be run here. */
async function inspectGguf(path: string, options: { json?: boolean }): Promise<void> {
  const file = await openGguf(path);
  await file.close();
  const tensors = [...file.tensors.values()];
  const types = new Map<string, { tensors: number; sizeBytes: number }>();
  for (const { type, sizeBytes } of tensors) {
    const sum = types.get(type) ?? { tensors: 0, sizeBytes: 0 };
    types.set(type, { tensors: sum.tensors + 1, sizeBytes: sum.sizeBytes + sizeBytes });
  }
  const model = await checkpointSummary(path).catch((thrown: unknown) => toEspalierError(thrown));
  const isModel = !(model instanceof EspalierError);
  printResult(
    options,
    () =>
      [
        `GGUF version ${file.version}, ${count(tensors.length)} tensors, ${byteSize(file.sizeBytes)}`,
        isModel ? model.text : `not a model that Espalier can run: ${model.message}`,
        "",
        ...[...file.metadata].map(([key, value]) => `${key} = ${shown(value)}`),
        "",
        table(
          ["type", "tensors", "bytes"],
          [...types].map(([type, sum]) => [type, String(sum.tensors), count(sum.sizeBytes)]),
        ),
        "",
        table(
          ["tensor", "type", "shape", "bytes"],
          tensors.map((t) => [t.name, t.type, t.shape.join(" × "), count(t.sizeBytes)]),
        ),
      ].join("\n"),
    () => ({
      version: file.version,
      metadata: Object.fromEntries([...file.metadata].map(([key, value]) => [key, jsonValue(value)])),
      tensors,
      model: isModel ? model.json : null,
      ...(isModel ? {} : { notAModel: model.message }),
    }),
  );
}

const SHOWN_ELEMENTS = 4;
const SHOWN_CHARACTERS = 100;

function shown(value: GgufValue): string {
  if (Array.isArray(value)) {
    const first = value.slice(0, SHOWN_ELEMENTS).map((v) => JSON.stringify(jsonValue(v)));
    return `[${first.join(", ")}${value.length > SHOWN_ELEMENTS ? ", …" : ""}] (${count(value.length)})`;
  }
  const text = String(value).replaceAll("\n", "\\n");
  return text.length > SHOWN_CHARACTERS
    ? `${text.slice(0, SHOWN_CHARACTERS)}… (${count(text.length)} characters)`
    : text;
}

/** JSON has no bigints; such numbers become texts. */
const jsonValue = (value: GgufValue): unknown =>
  Array.isArray(value) ? value.map(jsonValue) : typeof value === "bigint" ? String(value) : value;

async function inspectCheckpoint(path: string, options: { json?: boolean }): Promise<void> {
  const { text, layers, json } = await checkpointSummary(path);
  printResult(
    options,
    () => [text, "", layers].join("\n"),
    () => json,
  );
}

async function checkpointSummary(path: string): Promise<{ text: string; layers: string; json: object }> {
  const checkpoint = await openCheckpoint(path);
  const { architecture: arch, sizeBytes, unused } = checkpoint;
  const hash = await checkpoint.hash().finally(() => checkpoint.close());
  const origin = originOf(checkpoint.config);
  const rows = arch.layers.map((l, i) => [
    `L${i}`,
    String(l.queryHeads),
    String(l.kvGroups),
    String(l.neurons),
    l.window === null ? "all" : String(l.window),
  ]);
  const parameters = parameterCount(arch);
  const text = [
    `${arch.family}: ${arch.layers.length} layers, hidden ${arch.hidden}, vocabulary ${arch.vocab}, ${arch.tiedHead ? "tied" : "separate"} head`,
    `${count(parameters)} parameters, ${byteSize(sizeBytes)}, ${fixed((8 * sizeBytes) / parameters, 2)} bits per weight, sha-256 ${hash.slice(0, 16)}`,
    ...unusedInWords(unused),
    ...(origin ? [`made from       ${origin.name} (${origin.hash.slice(0, 12)})`, ...originLines(origin)] : []),
  ].join("\n");
  return {
    text,
    layers: table(["layer", "heads", "KV groups", "neurons", "window"], rows),
    json: { family: arch.family, parameters, sizeBytes, hash, unused, origin, architecture: arch },
  };
}
