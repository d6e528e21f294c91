/** @file `espalier inspect`: what is in a package, a checkpoint or a safetensors file. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { readFiles } from "../../experiments/export/package-files.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { estimateProgram } from "../../lib/cost/estimate.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { summarizePackage } from "../../lib/export/coreml/inspect.ts";
import { lintPackage } from "../../lib/export/coreml/lint/lint.ts";
import { type ComputeUnits, computeUnits } from "../../lib/formats/coreml/compute-units.ts";
import type { ReadPackage } from "../../lib/formats/coreml/package-reader.ts";
import { isPipeline } from "../../lib/formats/coreml/pipeline.ts";
import { openSafetensors } from "../../lib/formats/safetensors.ts";
import { printProgram } from "../../lib/mil/print.ts";
import { lintText, modelledLines } from "../device-text.ts";
import { bytes, count, fixed, table } from "../numbers.ts";
import { isPackage, packageAt } from "../packages.ts";
import { exists } from "../session.ts";
import { printResult } from "./experiment-command.ts";

interface InspectOptions {
  readonly json?: boolean;
  readonly program?: boolean;
  readonly lint?: boolean;
  readonly modelled?: boolean;
  readonly units?: string;
}

function unitsOf(given: string | undefined): ComputeUnits {
  const units = computeUnits.find((u) => u === (given ?? "cpuAndNeuralEngine"));
  if (units) return units;
  throw new EspalierError("input/invalid", `--units: there is no ${given}`, {
    hint: `One of ${computeUnits.join(", ")}.`,
  });
}

export function addInspect(program: Command): void {
  program
    .command("inspect")
    .argument(
      "<path>",
      "an .mlpackage, a folder of packages or of an export, a checkpoint folder or a .safetensors file",
    )
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--program", "Print the whole program of a package")
    .option("--lint", "Check a package against the known traps of the Neural Engine")
    .option("--modelled", "Print modelled speed and memory of a package on each device")
    .option(
      "--units <name>",
      `Where the package is meant to run (${computeUnits.join(", ")}) [default: cpuAndNeuralEngine]`,
    )
    .description("Read a package, a checkpoint or a safetensors file, and say what is in it")
    .addHelpText("after", "\nExample:\n  espalier inspect package/Model.mlpackage --lint")
    .action(async (path: string, options: InspectOptions) => {
      const found = await stat(path).catch((cause: unknown) => {
        throw new EspalierError("model/missing-file", `there is nothing at ${path}`, { cause });
      });
      const packaged = await packageAt(path);
      if (await isPackage(packaged)) await inspectPackages(packaged, options);
      else if (found.isFile()) await inspectSafetensors(path, options);
      else if (await exists(join(path, "config.json"))) await inspectCheckpoint(path, options);
      else
        throw new EspalierError(
          "format/unsupported",
          `${path} is neither a package nor a checkpoint nor a safetensors file`,
        );
    });
}

/** A package, or each of several with the name of its file above it. */
async function inspectPackages(path: string, options: InspectOptions): Promise<void> {
  const units = unitsOf(options.units);
  const files = await readFiles(path);
  const texts: string[] = [];
  const objects: unknown[] = [];
  for (const { file, path: own, read } of files) {
    const { text, json } = await inspected(own, read, units, options);
    const heading = file === "" ? [] : [`== ${file}`];
    texts.push([...heading, text].join("\n"));
    objects.push(file === "" ? json : { file, ...json });
  }
  const kind = (await isPipeline(path)) ? "pipeline" : "functions";
  printResult(
    options,
    () => texts.join("\n\n"),
    () => (files.length === 1 && files[0]?.file === "" ? objects[0] : { kind, packages: objects }),
  );
}

async function inspected(
  path: string,
  read: ReadPackage,
  units: ComputeUnits,
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
      `weights ${bytes(s.weightBytes)}, program ${bytes(s.modelBytes)}, ${fixed(s.bitsPerWeight, 3)} bits per weight in the weight file`,
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

async function inspectCheckpoint(path: string, options: { json?: boolean }): Promise<void> {
  const checkpoint = await openCheckpoint(path);
  const { architecture: arch, sizeBytes } = checkpoint;
  const hash = await checkpoint.hash();
  await checkpoint.close();
  const rows = arch.layers.map((l, i) => [
    `L${i}`,
    String(l.queryHeads),
    String(l.kvGroups),
    String(l.neurons),
    l.window === null ? "all" : String(l.window),
  ]);
  printResult(
    options,
    () =>
      [
        `${arch.family}: ${arch.layers.length} layers, hidden ${arch.hidden}, vocabulary ${arch.vocab}, ${arch.tiedHead ? "tied" : "separate"} head`,
        `${count(parameterCount(arch))} parameters, ${bytes(sizeBytes)}, sha-256 ${hash.slice(0, 16)}`,
        "",
        table(["layer", "heads", "KV groups", "neurons", "window"], rows),
      ].join("\n"),
    () => ({ family: arch.family, parameters: parameterCount(arch), sizeBytes, hash, architecture: arch }),
  );
}
