/**
 * @file What a package is modelled to do, with the parameters in use now: those fitted to reports where there are any, else the
 * published ones. And where its operations run: modelled beside one report.
 */
import { isFileCard } from "../../experiments/kinds/export/file-card.ts";
import { devices as chips } from "../../lib/cost/devices.ts";
import { type ModelledDevice, modelDevices } from "../../lib/cost/estimate.ts";
import { callTime } from "../../lib/cost/model.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { publishedFigures } from "../../lib/cost/published.ts";
import { typicalFactor } from "../../lib/cost/refit.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { ComputeUnits, PackageUnits } from "../../lib/formats/coreml/compute-units.ts";
import type { MeasuredFigures } from "../../lib/report/measured-figures.ts";
import { comparePlacement, type PlacementRow } from "../../lib/report/placement-comparison.ts";
import type { Core } from "../core.ts";
import { type ChipFit, chipFits } from "../reports/fits.ts";
import { figuresOfPackage, getReport, packageHashOf } from "../reports/reports.ts";
import { type KeptCard, profileOf } from "./package-profile.ts";
import { listPackages, type Package } from "./packages.ts";

/** Of a chip: what its modelled figures rest on. */
export interface ModelBasis {
  readonly kind: "published" | "refitted";
  /** Half of what was measured lies within this factor of the model: held-out published figures, or the reports it is fitted to. */
  readonly factor: number;
  /** Calls it is fitted to; null for the published figures. */
  readonly calls: number | null;
  readonly fittedAt: Date | null;
}

export interface ModelledPackage {
  readonly units: PackageUnits;
  readonly devices: readonly (ModelledDevice & { readonly basis: ModelBasis })[];
}

const heldOut = typicalFactor(
  publishedFigures.flatMap(({ use, device, workload, measuredMs }) => {
    const chip = chips.find((c) => c.id === device);
    return use === "check" && chip ? [callTime(workload, chip, publishedParameters).totalMs / measuredMs] : [];
  }),
);

const basisOf = (fit: ChipFit | undefined): ModelBasis =>
  fit
    ? { kind: "refitted", factor: fit.factor, calls: fit.points.length, fittedAt: fit.fittedAt }
    : { kind: "published", factor: heldOut, calls: null, fittedAt: null };

/** No devices for a package of a target whose speed is not modelled. */
export async function modelledPackage(core: Core, row: Package): Promise<ModelledPackage> {
  const card = row.card as KeptCard;
  if (isFileCard(card)) return { units: "all", devices: [] };
  const [profile, fits] = [await profileOf(core, row, card), await chipFits(core)];
  const found = modelDevices(profile.functions, (chip) => fits.get(chip.id)?.parameters ?? publishedParameters);
  return { units: profile.units, devices: found.map((d) => ({ ...d, basis: basisOf(fits.get(d.device)) })) };
}

export interface PlacedFunction {
  readonly function: string;
  readonly context: number;
  readonly positions: number;
  readonly rows: readonly PlacementRow[];
  /** Cells that were reported, and those that differ. */
  readonly reported: number;
  readonly differing: number;
}

/** Of every function; modelled alone without a report. Throws `input/invalid` for a report of another package. */
export async function placementOf(
  core: Core,
  row: Package,
  given: { readonly report?: string | undefined; readonly units?: ComputeUnits | undefined },
): Promise<PlacedFunction[]> {
  const card = row.card as KeptCard;
  if (isFileCard(card)) return [];
  const profile = await profileOf(core, row, card);
  const report = given.report === undefined ? null : await getReport(core, given.report);
  if (report && report.packageSha256 !== (await packageHashOf(core, row)))
    throw new EspalierError("input/invalid", `report ${report.id} is about another package than ${row.name}`);
  const run = report?.body.runs.find((r) => r.computeUnits === (given.units ?? r.computeUnits));
  return profile.functions.map(({ function: name, context, workload, operations }) => {
    const plan = run?.placement.find((p) => p.function === name)?.operations ?? null;
    const found = comparePlacement(operations, plan);
    const cells = found.flatMap((r) => r.cells);
    return {
      function: name,
      context,
      positions: workload.positions,
      rows: found,
      reported: cells.filter((c) => c.reported !== null).length,
      differing: cells.filter((c) => c.differing.length > 0).length,
    };
  });
}

/** Speeds of a package for a point of the trade-off: measured where a phone reported, modelled everywhere. */
export interface PackageSpeeds {
  readonly packageId: string;
  readonly name: string;
  readonly modelId: string;
  readonly ready: boolean;
  readonly modelled: readonly {
    readonly chip: string;
    readonly name: string;
    readonly basis: ModelBasis["kind"];
    readonly decode: readonly { readonly context: number; readonly tokensPerSecond: number }[];
  }[];
  /** `replacesModelled` tells those that stand for the modelled figure from simulated and failed ones. */
  readonly measured: readonly MeasuredFigures[];
}

/** Newest package first. */
export async function packageSpeeds(core: Core): Promise<PackageSpeeds[]> {
  const fits = await chipFits(core);
  const found: PackageSpeeds[] = [];
  for (const row of await listPackages(core)) {
    // What the card says holds until a fit moves it; then the package's profile is needed.
    const card = row.card as KeptCard;
    const kept = isFileCard(card) ? [] : card.modelled?.devices;
    const devices = kept && fits.size === 0 ? kept : (await modelledPackage(core, row)).devices;
    found.push({
      packageId: row.id,
      name: row.name,
      modelId: row.modelId,
      ready: row.ready,
      modelled: devices.map(({ device, name, decode }) => ({
        chip: device,
        name,
        basis: basisOf(fits.get(device)).kind,
        decode: decode.map(({ context, tokensPerSecond }) => ({ context, tokensPerSecond })),
      })),
      measured: await figuresOfPackage(core, row),
    });
  }
  return found;
}
