/** @file Notebooks and their figures over the API. */
import { z } from "zod";
import { figureKinds } from "../../experiments/figures/figure.ts";
import { notebookContent } from "../../experiments/notebook/cells.ts";
import { figureData } from "../notebooks/figure-data.ts";
import { exportNotebook, notebookFormats } from "../notebooks/notebook-export.ts";
import {
  archiveNotebook,
  createNotebook,
  freezeFigure,
  frozenFigure,
  getNotebook,
  listNotebooks,
  notebookHistory,
  restoreNotebook,
  saveNotebook,
} from "../notebooks/notebooks.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });

const drawn = z.object({
  figure: z.enum(figureKinds),
  runs: z.array(z.string()).min(1).max(50),
});

export const notebooksRouter = router({
  list: procedure.query(({ ctx }) => listNotebooks(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getNotebook(ctx.core, input.id)),
  create: procedure.input(notebookContent).mutation(({ ctx, input }) => createNotebook(ctx.core, input)),
  save: procedure
    .input(
      id.extend({
        version: z.number().int().min(1).describe("The version that the edit started from"),
        content: notebookContent,
      }),
    )
    .mutation(({ ctx, input }) => saveNotebook(ctx.core, input.id, input.version, input.content)),
  history: procedure.input(id).query(({ ctx, input }) => notebookHistory(ctx.core, input.id)),
  restore: procedure
    .input(id.extend({ version: z.number().int().min(1) }))
    .mutation(({ ctx, input }) => restoreNotebook(ctx.core, input.id, input.version)),
  archive: procedure
    .input(id.extend({ archived: z.boolean().default(true) }))
    .mutation(({ ctx, input }) => archiveNotebook(ctx.core, input.id, input.archived)),
  /** What a figure cell draws now. */
  figure: procedure.input(drawn).query(({ ctx, input }) => figureData(ctx.core, input.figure, input.runs)),
  /** Keeps the data a figure draws now; its hash names it from then on. */
  freeze: procedure.input(drawn).mutation(async ({ ctx, input }) => ({
    hash: await freezeFigure(ctx.core, await figureData(ctx.core, input.figure, input.runs)),
  })),
  frozen: procedure
    .input(z.object({ hash: z.string().length(64) }))
    .query(({ ctx, input }) => frozenFigure(ctx.core, input.hash)),
  export: procedure
    .input(id.extend({ format: z.enum(notebookFormats).default("html") }))
    .query(({ ctx, input }) => exportNotebook(ctx.core, input.id, input.format)),
});
