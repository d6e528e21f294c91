/** @file Everything the workbench can be asked, by name. The page, the command line and scripts all speak this. */
import { modelsRouter, packagesRouter, textsRouter } from "./models.ts";
import { devicesRouter, reportsRouter } from "./reports.ts";
import { experimentsRouter, runsRouter } from "./runs.ts";
import { tradeoffRouter } from "./tradeoff.ts";
import { router } from "./trpc.ts";
import { whatIfRouter } from "./what-if.ts";
import { eventsRouter, notebooksRouter, studiesRouter, sweepsRouter, systemRouter, viewsRouter } from "./work.ts";

export const appRouter = router({
  system: systemRouter,
  experiments: experimentsRouter,
  models: modelsRouter,
  texts: textsRouter,
  runs: runsRouter,
  studies: studiesRouter,
  sweeps: sweepsRouter,
  packages: packagesRouter,
  reports: reportsRouter,
  devices: devicesRouter,
  notebooks: notebooksRouter,
  views: viewsRouter,
  whatIf: whatIfRouter,
  tradeoff: tradeoffRouter,
  events: eventsRouter,
});

export type AppRouter = typeof appRouter;
