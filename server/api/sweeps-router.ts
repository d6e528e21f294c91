/** @file Sweeps over the API. */
import { z } from "zod";
import { sweepDefinition } from "../../experiments/sweep/sweep.ts";
import { createSweep, getSweep, listSweeps, resumeSweep, stopSweep } from "../sweeps/sweeps.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });

export const sweepsRouter = router({
  list: procedure.query(({ ctx }) => listSweeps(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getSweep(ctx.core, input.id)),
  create: procedure.input(sweepDefinition).mutation(({ ctx, input }) => createSweep(ctx.core, input)),
  stop: procedure.input(id).mutation(({ ctx, input }) => stopSweep(ctx.core, input.id)),
  resume: procedure.input(id).mutation(({ ctx, input }) => resumeSweep(ctx.core, input.id)),
});
