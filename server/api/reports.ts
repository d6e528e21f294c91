/** @file Reports of probes, and the devices they come from, over the API. */
import { z } from "zod";
import { MAX_REPORT_BYTES } from "../../lib/report/report.ts";
import { pair } from "../reports/pairing-link.ts";
import { getReport, importReport, listDevices, listReports } from "../reports/reports.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });

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
});
