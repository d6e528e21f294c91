/** @file Saved views of pages over the API. */
import { z } from "zod";
import { getView, listViews, newView, saveView } from "../views/views.ts";
import { procedure, router } from "./trpc.ts";

export const viewsRouter = router({
  list: procedure.query(({ ctx }) => listViews(ctx.core)),
  get: procedure
    .input(z.object({ id: z.string().min(1).max(60) }))
    .query(({ ctx, input }) => getView(ctx.core, input.id)),
  save: procedure.input(newView).mutation(({ ctx, input }) => saveView(ctx.core, input)),
});
