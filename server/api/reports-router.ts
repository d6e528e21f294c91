/** @file Reports of probes, and the devices they come from, over the API. */
import { z } from "zod";
import { MAX_REPORT_BYTES } from "../../lib/report/report.ts";
import { listChips, listDevices } from "../reports/device-list.ts";
import { chipFits, forgetFit, refitChip } from "../reports/fits.ts";
import { pair } from "../reports/pairing-link.ts";
import { getReport, importReport, listReports } from "../reports/reports.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });
const chip = z.object({ chip: z.string().min(1).max(40).describe("One of the cost model's devices, such as a17-pro") });

export const reportsRouter = router({
  /** Newest first. */
  list: procedure
    .input(
      z.object({ package: z.string().min(1).max(60).optional().describe("Only those of this package") }).prefault({}),
    )
    .query(({ ctx, input }) => listReports(ctx.core, input.package)),
  get: procedure.input(id).query(({ ctx, input }) => getReport(ctx.core, input.id)),
  /** A report from a file. */
  import: procedure
    .input(z.object({ content: z.string().min(1).max(MAX_REPORT_BYTES).describe("The JSON of the report") }))
    .mutation(({ ctx, input }) => importReport(ctx.core, input.content)),
  /** Permission for a phone to send one report on this package. */
  pair: procedure
    .input(z.object({ package: z.string().min(1).max(60).describe("The package it will measure") }))
    .mutation(({ ctx, input }) => pair(ctx.core, input.package, ctx.listening ?? null)),
});

export const devicesRouter = router({
  list: procedure.query(({ ctx }) => listDevices(ctx.core)),
  /** How far the cost model is fitted to the chips of these devices. */
  chips: procedure.query(({ ctx }) => listChips(ctx.core)),
  /** Parameters of the cost model by chip, where they are fitted to reports; all others have the published ones. */
  parameters: procedure.query(async ({ ctx }) =>
    Object.fromEntries([...(await chipFits(ctx.core))].map(([id, fit]) => [id, fit.parameters])),
  ),
  /** Fits the cost model to all reports of a chip. */
  refit: procedure.input(chip).mutation(({ ctx, input }) => refitChip(ctx.core, input.chip)),
  /** Back to the published parameters. */
  forget: procedure.input(chip).mutation(async ({ ctx, input }) => {
    await forgetFit(ctx.core, input.chip);
    return { chip: input.chip };
  }),
});
