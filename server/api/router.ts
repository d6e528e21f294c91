/** @file Everything the workbench can be asked, by name. The page, the command line and scripts all speak this. */
import { eventsRouter } from "./events-router.ts";
import { experimentsRouter } from "./experiments-router.ts";
import { modelsRouter } from "./models-router.ts";
import { notebooksRouter } from "./notebooks-router.ts";
import { packagesRouter } from "./packages-router.ts";
import { devicesRouter, reportsRouter } from "./reports-router.ts";
import { runsRouter } from "./runs-router.ts";
import { studiesRouter } from "./studies-router.ts";
import { sweepsRouter } from "./sweeps-router.ts";
import { systemRouter } from "./system-router.ts";
import { textsRouter } from "./texts-router.ts";
import { tradeoffRouter } from "./tradeoff-router.ts";
import { router } from "./trpc.ts";
import { viewsRouter } from "./views-router.ts";
import { whatIfRouter } from "./what-if-router.ts";

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
