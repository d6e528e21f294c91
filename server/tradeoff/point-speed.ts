/**
 * @file How fast a checkpoint decodes on a phone: as a phone reported of its package, else as the cost model expects.
 *
 * All points of a board are told of one chip, the one that most of them were measured on.
 */

import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { type ArchitectureChoice, modelledTokensPerSecond } from "../../lib/cost/architecture-workload.ts";
import { type Device as Chip, devices as chips, deviceById, deviceOfChip } from "../../lib/cost/devices.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { MeasuredFigures } from "../../lib/report/measured-figures.ts";
import type { Core } from "../core.ts";
import { type Model, modelFolder } from "../models/model-registry.ts";
import type { ChipFit } from "../reports/fits.ts";

export interface PointSpeed {
  readonly device: string;
  readonly context: number;
  readonly tokensPerSecond: number;
  readonly kind: "reported" | "modelled";
}

/** Where no phone reported. */
const CHIP = "a17-pro";
const CONTEXT = 256;

/** Figures that stand for modelled ones, of the units a package is for. */
const standing = (figures: readonly MeasuredFigures[]): MeasuredFigures[] =>
  figures.filter((f) => f.replacesModelled && f.computeUnits === "cpuAndNeuralEngine" && f.decode.length > 0);

/** The chip that most of the models were measured on; of equals the first of the cost model's table. */
export function chipOf(reported: readonly (readonly MeasuredFigures[])[]): Chip {
  const models = (chip: Chip): number =>
    reported.filter((r) => standing(r).some((f) => deviceOfChip(f.chip)?.id === chip.id)).length;
  const [most] = [...chips].filter((c) => models(c) > 0).sort((a, b) => models(b) - models(a));
  const chip = most ?? deviceById(CHIP);
  if (!chip) throw new EspalierError("internal/invariant", `internal: the cost model does not know ${CHIP}`);
  return chip;
}

/** What the chip was measured to do at the context nearest to the usual one; null where it was not. */
export function reportedSpeed(figures: readonly MeasuredFigures[], chip: Chip): PointSpeed | null {
  const [nearest] = standing(figures)
    .filter((f) => deviceOfChip(f.chip)?.id === chip.id)
    .flatMap((f) => f.decode)
    .sort((a, b) => Math.abs(a.context - CONTEXT) - Math.abs(b.context - CONTEXT));
  if (!nearest) return null;
  const { context, perToken } = nearest;
  return { device: chip.name, context, tokensPerSecond: 1000 / perToken.median, kind: "reported" };
}

/** By hash: a checkpoint never changes. */
const architectures = new Map<string, Promise<DecoderArchitecture>>();

function architectureOf(core: Core, model: Model): Promise<DecoderArchitecture> {
  const read = async (): Promise<DecoderArchitecture> => {
    const checkpoint = await openCheckpoint(await modelFolder(core, model.id));
    await checkpoint.close();
    return checkpoint.architecture;
  };
  const found = architectures.get(model.hash) ?? read();
  architectures.set(model.hash, found);
  found.catch(() => architectures.delete(model.hash));
  return found;
}

/** How the last quantization stored its weights, in the words of the cost model; null for blocks, which the engine does not take. */
export function storedAs(
  madeBy: readonly { readonly kind: string; readonly config: Readonly<Record<string, unknown>> }[],
): Pick<ArchitectureChoice, "scheme" | "channelsPerTable"> | null {
  const last = madeBy.findLast((s) => s.kind === "quantize");
  if (!last) return { scheme: "fp16" };
  if (last.config.groupSize !== undefined && last.config.scheme === "affine") return null;
  if (last.config.scheme === "affine") return { scheme: "int8" };
  const rows = last.config.rowsPerTable;
  return { scheme: "palette", channelsPerTable: typeof rows === "number" ? rows : null };
}

/** With the parameters fitted to reports of the chip, where there are any. Null for weights the engine does not take. */
export async function modelledSpeed(
  core: Core,
  model: Model,
  stored: ReturnType<typeof storedAs>,
  bitsPerWeight: number,
  chip: Chip,
  fit: ChipFit | undefined,
): Promise<PointSpeed | null> {
  if (!stored) return null;
  const arch = await architectureOf(core, model);
  const context = Math.min(CONTEXT, arch.maxPositions);
  const choice: ArchitectureChoice = { bitsPerWeight, context, ...stored };
  const tokensPerSecond = modelledTokensPerSecond(arch, choice, chip, fit?.parameters ?? publishedParameters);
  return { device: chip.name, context, tokensPerSecond, kind: "modelled" };
}
