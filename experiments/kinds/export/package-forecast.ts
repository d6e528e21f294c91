/**
 * @file What an export would write, counted before anything is written: bytes of the weights, bytes of the package, and the work of
 * every function, from which speed is modelled.
 *
 * The program is built as the exporter builds it, with weights that nobody reads. The one thing that is not known beforehand is
 * whether a value comes near fp16's largest; then the exporter adds factors, and the package has some hundred bytes more.
 */
import type { TimedFunction } from "../../../lib/cost/estimate.ts";
import { profileProgram } from "../../../lib/cost/program-profile.ts";
import { embeddingFileBytes } from "../../../lib/decoder/neural-engine/embedding.ts";
import { parameterCount } from "../../../lib/decoder/weights.ts";
import type { PackageUnits } from "../../../lib/formats/coreml/compute-units.ts";
import { targets as coremlTargets } from "../../../lib/formats/coreml/targets.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { formOf, formSizeBytes } from "../../../lib/weights/form.ts";
import type { ModelFiles } from "../../model-session.ts";
import { type ExportConfig, type ExportSizes, exportSizes } from "./config.ts";
import { plannedProgram } from "./layout.ts";
import { filesToWrite, predictFiles } from "./package-files.ts";
import { weightOf, weightsFor } from "./source.ts";

/** Raised when a forecast means something else, or counts otherwise. */
export const FORECAST_VERSION = 1;

export interface PackageForecast {
  readonly target: ExportConfig["target"];
  readonly layout: ExportSizes["layout"];
  readonly contexts: readonly number[];
  /** Codes, scales, tables and fp16 values of the weights, as this target stores them. */
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
  readonly parameters: number;
  /** All files: the weights, the program of every function, tables beside it. Null for a model written as several packages. */
  readonly packageBytes: number | null;
  readonly units: PackageUnits;
  readonly functions: readonly TimedFunction[];
}

/** Of a Core ML package. Throws `export/unsupported` for what cannot be exported so. */
export async function packageForecast(config: ExportConfig, model: ModelFiles): Promise<PackageForecast> {
  const arch = model.checkpoint.architecture;
  const sizes = exportSizes(config, arch);
  const { weights } = await weightsFor(config, sizes, model);
  const plan = { config, sizes, source: { model, arch, weights } };
  const planned = plannedProgram(plan);
  const program = { ...planned.program, opset: coremlTargets[config.target].opset };
  const inside = await predictFiles({ ...filesToWrite(plan), program, interface: planned.interface });
  const beside = [
    ...(sizes.embedding === "host" ? ["embedding"] : []),
    ...(arch.perLayer && sizes.layout === "neural-engine" ? ["perLayerEmbedding"] : []),
  ].reduce((n, name) => {
    const w = weightOf({ weights }, name);
    return n + (w.kind === "deferred" ? embeddingFileBytes(w) : 0);
  }, 0);
  const forms = [...weights.values()].map(formOf);
  const weightBytes = forms.reduce((n, f) => n + formSizeBytes(f), 0);
  const elements = forms.reduce((n, f) => n + elementCount(f.shape), 0);
  const units = sizes.layout === "neural-engine" ? "cpuAndNeuralEngine" : "all";
  return {
    target: config.target,
    layout: sizes.layout,
    contexts: sizes.contexts,
    weightBytes,
    bitsPerWeight: (8 * weightBytes) / elements,
    parameters: parameterCount(arch),
    packageBytes: inside === null ? null : inside + beside,
    units,
    functions: profileProgram(program, units).functions.map(({ function: name, context, workload }) => ({
      function: name,
      context,
      workload,
    })),
  };
}
