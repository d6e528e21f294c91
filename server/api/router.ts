/** @file Everything the workbench can be asked, by name. The page, the command line and scripts all speak this. */
import { eventsRouter } from "./events.ts";
import { experimentsRouter } from "./experiments.ts";
import { modelsRouter } from "./models.ts";
import { notebooksRouter } from "./notebooks.ts";
import { packagesRouter } from "./packages.ts";
import { devicesRouter, reportsRouter } from "./reports.ts";
import { runsRouter } from "./runs.ts";
import { studiesRouter } from "./studies.ts";
import { sweepsRouter } from "./sweeps.ts";
import { systemRouter } from "./system.ts";
import { textsRouter } from "./texts.ts";
import { tradeoffRouter } from "./tradeoff.ts";
import { router } from "./trpc.ts";
import { viewsRouter } from "./views.ts";
import { whatIfRouter } from "./what-if.ts";

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
