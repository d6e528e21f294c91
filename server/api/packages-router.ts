/** @file Packages over the API. */
import { z } from "zod";
import type { PackageContents } from "../../experiments/kinds/export/contents.ts";
import { computeUnits } from "../../lib/formats/coreml/compute-units.ts";
import { originalSize } from "../packages/model-figures.ts";
import { modelledPackage, packageSpeeds, placementOf } from "../packages/modelled.ts";
import type { KeptCard } from "../packages/package-profile.ts";
import { getPackage, listPackages, packageFolder } from "../packages/packages.ts";
import { figuresOfPackage, listReports } from "../reports/reports.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(120) });

/** What a package says without its card's and contents' types lost. */
const typedPackage = (row: Awaited<ReturnType<typeof getPackage>>) => ({
  ...row,
  card: row.card as KeptCard,
  contents: row.contents as PackageContents,
});

export const packagesRouter = router({
  list: procedure.query(async ({ ctx }) => (await listPackages(ctx.core)).map(typedPackage)),
  /** With the reports on this very package and the figures that devices measured. */
  get: procedure.input(id).query(async ({ ctx, input }) => {
    const row = await getPackage(ctx.core, input.id);
    return {
      ...typedPackage(row),
      original: await originalSize(ctx.core, row.modelId).catch(() => null),
      reports: await listReports(ctx.core, row.id),
      measured: await figuresOfPackage(ctx.core, row),
    };
  }),
  /** Speed by chip and context with the parameters in use now, which reports may have moved. */
  modelled: procedure
    .input(id)
    .query(async ({ ctx, input }) => modelledPackage(ctx.core, await getPackage(ctx.core, input.id))),
  /** Where operations run, by function, row of the decoder and layer: modelled, and as a report says. */
  placement: procedure
    .input(
      id.extend({
        report: z.string().min(1).max(60).optional().describe("A report on this package"),
        units: z.enum(computeUnits).optional().describe("Which of its runs; default: the first"),
      }),
    )
    .query(async ({ ctx, input }) => placementOf(ctx.core, await getPackage(ctx.core, input.id), input)),
  /** Tokens per second of every package by model: measured where a phone reported, and modelled. */
  speeds: procedure.query(({ ctx }) => packageSpeeds(ctx.core)),
  /** The package, its card and tokenizer as a folder on the server's machine. */
  folder: procedure.input(id).query(async ({ ctx, input }) => ({ folder: await packageFolder(ctx.core, input.id) })),
});
