/**
 * @file The figures of a model as it would ship: bytes of its weights, bytes of its package, and how fast it decodes on a phone.
 *
 * One place, so that a model has one size and one speed on every page. A figure is written where a package of these options lies
 * here, reported where a phone measured that package, and else predicted (bytes) or modelled (speed). Options are the defaults of an
 * export unless others are given; predictions are kept under the hash of the model.
 */

import { eq } from "drizzle-orm";
import { type ExportConfig, exportConfig } from "../../experiments/kinds/export/config.ts";
import { isFileCard } from "../../experiments/kinds/export/file-card.ts";
import {
  FORECAST_VERSION,
  type PackageForecast,
  packageForecast,
} from "../../experiments/kinds/export/package-forecast.ts";
import { type UnitName, unitHash } from "../../experiments/unit-name.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { type Device as Chip, devices as chips, deviceById, deviceOfChip } from "../../lib/cost/devices.ts";
import { modelDevices } from "../../lib/cost/estimate.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { MeasuredFigures } from "../../lib/report/measured-figures.ts";
import { loadTokenizer } from "../../lib/tokenizer/tokenizer.ts";
import type { Core } from "../core.ts";
import { packages, units } from "../db/schema.ts";
import { firstAncestor, getModel, type Model, modelFolder } from "../models/model-registry.ts";
import { type ChipFit, chipFits } from "../reports/fits.ts";
import { figuresOfPackage } from "../reports/reports.ts";
import type { KeptCard, KeptCoremlCard } from "./package-profile.ts";
import type { Package } from "./packages.ts";

export interface DecodeSpeed {
  /** Of the cost model's table, and its name. */
  readonly chip: string;
  readonly device: string;
  readonly context: number;
  readonly tokensPerSecond: number;
  readonly kind: "reported" | "modelled";
}

/** What "times smaller" is counted from: the weights of the model that another was first made from, in fp16. */
export interface OriginalSize {
  readonly id: string;
  readonly fp16Bytes: number;
}

export interface ModelFigures {
  readonly model: string;
  /** Codes, scales, tables and fp16 values of the weights, in this target. */
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
  readonly parameters: number;
  /** Every file of the package: weights, programs, tables beside it. Null for a model that is written as several packages. */
  readonly packageBytes: number | null;
  /** Predicted before it is written, to the byte; written where it lies here. */
  readonly packageIs: "predicted" | "written";
  /** The package that was written. */
  readonly packageId: string | null;
  readonly target: ExportConfig["target"];
  readonly contexts: readonly number[];
  readonly original: OriginalSize;
  /** Of decoding, at each context, on each chip of the cost model. */
  readonly modelled: readonly DecodeSpeed[];
  /** What devices measured of packages of this model. */
  readonly reported: readonly MeasuredFigures[];
  /** The one that stands for the model where there is room for one. */
  readonly usualSpeed: DecodeSpeed | null;
}

/** Where no phone reported. */
export const USUAL_CHIP = "a17-pro";

/** What an export of this model is called unless it is told otherwise: the name is part of its bytes. */
export const packageNameOf = (model: string): string => model.replaceAll(/[^\w-]/g, "-");

type FiguresOptions = { readonly [K in "target" | "contexts" | "layout" | "name"]?: ExportConfig[K] | undefined };

/** Throws `export/unsupported` for what cannot be exported so. */
export async function modelFigures(core: Core, id: string, options: FiguresOptions = {}): Promise<ModelFigures> {
  const model = await getModel(core, id);
  const config = exportConfig.parse({ ...options, name: options.name ?? packageNameOf(id), model: id, out: "package" });
  const forecast = await forecastOf(core, model, config);
  const written = await packageOf(core, model, forecast);
  const card = written?.card as KeptCoremlCard | undefined;
  const fits = await chipFits(core);
  const reported: MeasuredFigures[] = [];
  for (const row of await core.db.select().from(packages).where(eq(packages.modelId, id)))
    reported.push(...(await figuresOfPackage(core, row)));
  const modelled = modelledSpeeds(forecast, fits);
  const { contexts } = forecast;
  return {
    model: id,
    weightBytes: forecast.weightBytes,
    bitsPerWeight: forecast.bitsPerWeight,
    parameters: forecast.parameters,
    packageBytes: card?.sizeBytes ?? forecast.packageBytes,
    packageIs: written ? "written" : "predicted",
    packageId: written?.id ?? null,
    target: forecast.target,
    contexts,
    original: await originalSize(core, id),
    modelled,
    reported,
    usualSpeed: speedOn({ modelled, reported, contexts }, chipOf([reported])),
  };
}

export async function originalSize(core: Core, id: string): Promise<OriginalSize> {
  const original = await firstAncestor(core, id);
  return { id: original.id, fp16Bytes: 2 * original.facts.parameters };
}

function modelledSpeeds(forecast: PackageForecast, fits: ReadonlyMap<string, ChipFit>): DecodeSpeed[] {
  const devices = modelDevices(forecast.functions, (chip) => fits.get(chip.id)?.parameters ?? publishedParameters);
  return devices.flatMap(({ device: chip, name: device, decode }) =>
    decode.map(
      ({ context, tokensPerSecond }): DecodeSpeed => ({ chip, device, context, tokensPerSecond, kind: "modelled" }),
    ),
  );
}

/** Figures that stand for modelled ones, of the units a package is for. */
const standing = (figures: readonly MeasuredFigures[]): MeasuredFigures[] =>
  figures.filter((f) => f.replacesModelled && f.computeUnits === "cpuAndNeuralEngine" && f.decode.length > 0);

/** What the chip was measured to do at the context nearest to this one; null where it was not. */
export function reportedSpeed(figures: readonly MeasuredFigures[], chip: Chip, context: number): DecodeSpeed | null {
  const [nearest] = standing(figures)
    .filter((f) => deviceOfChip(f.chip)?.id === chip.id)
    .flatMap((f) => f.decode)
    .sort((a, b) => Math.abs(a.context - context) - Math.abs(b.context - context));
  if (!nearest) return null;
  const tokensPerSecond = 1000 / nearest.perToken.median;
  return { chip: chip.id, device: chip.name, context: nearest.context, tokensPerSecond, kind: "reported" };
}

/** The chip that most of the models were measured on; of equals the first of the cost model's table. */
export function chipOf(reported: readonly (readonly MeasuredFigures[])[]): Chip {
  const models = (chip: Chip): number =>
    reported.filter((r) => standing(r).some((f) => deviceOfChip(f.chip)?.id === chip.id)).length;
  const [most] = [...chips].filter((c) => models(c) > 0).sort((a, b) => models(b) - models(a));
  const chip = most ?? deviceById(USUAL_CHIP);
  if (!chip) throw new EspalierError("internal/invariant", `internal: the cost model does not know ${USUAL_CHIP}`);
  return chip;
}

/** The one speed that stands for a model on a chip: reported by a phone, else modelled at the largest context. */
export function speedOn(
  { modelled, reported, contexts }: Pick<ModelFigures, "modelled" | "reported" | "contexts">,
  chip: Chip,
): DecodeSpeed | null {
  const context = Math.max(...contexts);
  return (
    reportedSpeed(reported, chip, context) ?? modelled.find((s) => s.chip === chip.id && s.context === context) ?? null
  );
}

const due: string[] = [];
let isCounting = false;

/**
 * As `modelFigures`, where they are known already; null where they are still to be counted, which begins now, one model after the
 * other, and is told under `models` when it is done.
 */
export async function knownFigures(core: Core, id: string): Promise<ModelFigures | null> {
  const model = await getModel(core, id);
  const config = exportConfig.parse({ name: packageNameOf(id), model: id, out: "package" });
  if (await keptForecast(core, model, config)) return modelFigures(core, id);
  if (!refused.has(model.hash) && !due.includes(id)) due.push(id);
  if (!isCounting) void countDue(core);
  return null;
}

/** Models that cannot be exported by default: asked once. */
const refused = new Set<string>();

async function countDue(core: Core): Promise<void> {
  isCounting = true;
  try {
    for (let id = due[0]; id !== undefined; id = due[0]) {
      // Requests that wait are answered in between.
      await new Promise((go) => setTimeout(go, 20));
      await modelFigures(core, id).catch(async () => refused.add((await getModel(core, id ?? "")).hash));
      due.shift();
      if (due.length === 0 || due.length % 4 === 0) await core.events.publish("models", { id });
    }
  } catch {
    // The workbench was closed meanwhile.
    due.length = 0;
  } finally {
    isCounting = false;
  }
}

/** The newest package of this model that these options would write again. */
async function packageOf(core: Core, model: Model, forecast: PackageForecast): Promise<Package | null> {
  const rows = await core.db.select().from(packages).where(eq(packages.modelId, model.id));
  const same = (row: Package): boolean => {
    const card = row.card as KeptCard;
    return (
      !isFileCard(card) &&
      card.target === forecast.target &&
      card.layout === forecast.layout &&
      card.provenance.modelHash === model.hash &&
      card.contexts?.join() === forecast.contexts.join() &&
      card.functions.join() === forecast.functions.map((f) => f.function).join()
    );
  };
  return rows.filter(same).sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())[0] ?? null;
}

const atWork = new Map<string, Promise<PackageForecast>>();

/** By hash of the model and options: a checkpoint never changes. */
function forecastName(model: Model, config: ExportConfig): UnitName {
  const { model: _, out: __, replace: ___, ...decides } = config;
  const subject = `package forecast@${FORECAST_VERSION} ${JSON.stringify(decides)}`;
  return { engine: "", model: model.hash, subject, shard: "" };
}

async function keptForecast(core: Core, model: Model, config: ExportConfig): Promise<PackageForecast | null> {
  const hash = unitHash(forecastName(model, config));
  const [kept] = await core.db.select({ value: units.value }).from(units).where(eq(units.hash, hash));
  return (kept?.value as PackageForecast | undefined) ?? null;
}

async function forecastOf(core: Core, model: Model, config: ExportConfig): Promise<PackageForecast> {
  const kept = await keptForecast(core, model, config);
  if (kept) return kept;
  const name = forecastName(model, config);
  const hash = unitHash(name);
  const making = atWork.get(hash) ?? made(core, model, config);
  atWork.set(hash, making);
  try {
    const forecast = await making;
    await core.db
      .insert(units)
      .values({ hash, ...name, runId: "", value: forecast })
      .onConflictDoNothing();
    return forecast;
  } finally {
    atWork.delete(hash);
  }
}

async function made(core: Core, model: Model, config: ExportConfig): Promise<PackageForecast> {
  const checkpoint = await openCheckpoint(await modelFolder(core, model.id));
  try {
    const tokenizer = await loadTokenizer(checkpoint);
    return await packageForecast(config, { reference: model.id, checkpoint, hash: model.hash, tokenizer });
  } finally {
    await checkpoint.close();
  }
}
