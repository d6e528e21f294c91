/**
 * @file Refits of the cost model to what phones measured, one per chip, and the modelled figures that follow from them.
 *
 * A fit begins from the parameters fitted to published figures and keeps them where the reports say nothing. It is asked for by a
 * person, kept until it is asked for again or taken back, and used for every modelled figure of its chip that the workbench shows. What
 * was written into an export card stays as it was.
 */

import { eq } from "drizzle-orm";
import { isFileCard } from "../../experiments/kinds/export/file-card.ts";
import { type Device as Chip, deviceById, deviceOfChip } from "../../lib/cost/devices.ts";
import { type CostParameters, callTime } from "../../lib/cost/model.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { type Report as CostReport, refit, typicalFactor } from "../../lib/cost/refit.ts";
import type { Workload } from "../../lib/cost/workload.ts";
import { EspalierError } from "../../lib/errors.ts";
import { parityFailures } from "../../lib/report/report.ts";
import { type FunctionTiming, functionTimings, whyNotTimed } from "../../lib/report/timings.ts";
import type { Core } from "../core.ts";
import { costFits, reports } from "../db/schema.ts";
import { type KeptCard, profileOf } from "../packages/package-profile.ts";
import { packagesWith, type ReportRow, typedReport } from "./reports.ts";

/** One measured call beside what is modelled of it, before and after. */
export interface FitPoint {
  readonly id: string;
  readonly reportId: string;
  readonly device: string;
  readonly package: { readonly id: string; readonly name: string };
  readonly function: string;
  readonly role: FunctionTiming["role"];
  readonly context: number;
  readonly measuredMs: number;
  readonly publishedMs: number;
  readonly fittedMs: number;
}

export interface ChipFit {
  readonly chip: string;
  readonly parameters: CostParameters;
  readonly points: readonly FitPoint[];
  /** Half of the measured calls lie within this factor of the fitted model, and of the published one. */
  readonly factor: number;
  readonly publishedFactor: number;
  readonly fittedAt: Date;
}

interface UsableTiming {
  readonly reportId: string;
  readonly timing: FunctionTiming;
  readonly workload: Workload;
  readonly package: { id: string; name: string };
}

/** What of the reports of a chip can be fitted to, and why the rest cannot. */
export interface ChipTimings {
  readonly usable: readonly UsableTiming[];
  readonly unused: readonly { readonly reportId: string; readonly why: string }[];
}

export async function timingsOfChip(core: Core, chip: string): Promise<ChipTimings> {
  const rows = (await core.db.select().from(reports).orderBy(reports.receivedAt)).map(typedReport);
  const own = rows.filter((r) => deviceOfChip(r.body.device.chip)?.id === chip);
  const usable: UsableTiming[] = [];
  const unused: { reportId: string; why: string }[] = [];
  for (const row of own) {
    const why = whyNotTimed(row.body);
    if (why !== null) {
      unused.push({ reportId: row.id, why });
      continue;
    }
    const [known] = await packagesWith(core, row.packageSha256);
    const card = known?.card as KeptCard | undefined;
    if (!known || !card || isFileCard(card)) {
      unused.push({ reportId: row.id, why: "its package is no longer here" });
      continue;
    }
    const profile = await profileOf(core, known, card);
    if (parityFailures(row.body).some((f) => f.computeUnits === profile.units))
      unused.push({ reportId: row.id, why: "its golden vectors failed" });
    for (const timing of timingsOf(row)) {
      const fn = profile.functions.find((f) => f.function === timing.function);
      // Other units were measured for comparison; the model is about the ones the package is for.
      if (!fn || timing.computeUnits !== profile.units) continue;
      usable.push({
        reportId: row.id,
        timing,
        workload: fn.workload,
        package: { id: known.id, name: known.name },
      });
    }
  }
  return { usable, unused };
}

const timingsOf = (row: ReportRow): FunctionTiming[] =>
  functionTimings([{ id: row.id, receivedAtMs: row.receivedAt.getTime(), body: row.body }]);

const chipCalled = (id: string): Chip => {
  const chip = deviceById(id);
  if (chip) return chip;
  throw new EspalierError("input/invalid", `the cost model knows no chip ${id}`, {
    hint: "It is fitted for the chips of docs/methods/cost-model.md.",
  });
};

/** Fits to all usable reports of a chip, and keeps the fit. Throws `input/invalid` when there are none. */
export async function refitChip(core: Core, id: string): Promise<ChipFit> {
  const chip = chipCalled(id);
  const { usable, unused } = await timingsOfChip(core, chip.id);
  if (usable.length === 0) {
    const why = unused.length === 0 ? "none came" : unused.map((u) => u.why).join("; ");
    throw new EspalierError("input/invalid", `there is no report of ${chip.name} to fit to: ${why}`, {
      hint: "Run the probe on a phone, in Release and not in low power mode; its golden vectors have to match.",
    });
  }
  const measured = usable.map(
    ({ timing, workload }): CostReport => ({ id: timing.id, device: chip.id, workload, measuredMs: timing.callMs }),
  );
  const { parameters, ratios } = refit(measured, { prior: publishedParameters });
  const points = usable.map(({ timing, workload, reportId, package: of }): FitPoint => {
    const { id: timingId, device, function: name, role, context, callMs } = timing;
    return {
      id: timingId,
      reportId,
      device,
      package: of,
      function: name,
      role,
      context,
      measuredMs: callMs,
      publishedMs: callTime(workload, chip, publishedParameters).totalMs,
      fittedMs: callMs * (ratios.get(timingId) ?? 1),
    };
  });
  const fittedAt = new Date(core.clock.nowMs());
  const fit = {
    parameters,
    points,
    factor: typicalFactor([...ratios.values()]),
    publishedFactor: typicalFactor(points.map((p) => p.publishedMs / p.measuredMs)),
  };
  await core.db
    .insert(costFits)
    .values({ chip: chip.id, fit, fittedAt })
    .onConflictDoUpdate({ target: costFits.chip, set: { fit, fittedAt } });
  await core.events.publish("packages", { chip: chip.id });
  return { chip: chip.id, ...fit, fittedAt };
}

/** Back to the published parameters. */
export async function forgetFit(core: Core, id: string): Promise<void> {
  await core.db.delete(costFits).where(eq(costFits.chip, chipCalled(id).id));
  await core.events.publish("packages", { chip: id });
}

/** By chip. */
export async function chipFits(core: Core): Promise<Map<string, ChipFit>> {
  const rows = await core.db.select().from(costFits);
  return new Map(
    rows.map(({ chip, fit, fittedAt }) => {
      const kept = fit as Omit<ChipFit, "chip" | "fittedAt">;
      // A fit from before a parameter was known keeps the published one.
      const parameters = { ...publishedParameters, ...kept.parameters };
      return [chip, { ...kept, parameters, chip, fittedAt }];
    }),
  );
}
