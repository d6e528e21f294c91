/**
 * @file The cells of a notebook: text, runs, figures, comparisons.
 *
 * A figure says what it draws and from which runs; frozen, it names its data by hash and never changes again. An experiment
 * cell keeps its config and the run it last started, so that exporting never computes anything.
 */
import { z } from "zod";
import { figureKinds } from "../figures/figure.ts";

const id = z.string().regex(/^[\w-]{1,40}$/);

export const notebookCell = z.discriminatedUnion("type", [
  z.object({ id, type: z.literal("markdown"), text: z.string().max(200_000) }),
  z.object({
    id,
    type: z.literal("experiment"),
    kind: z.string().max(40),
    config: z.record(z.string(), z.unknown()),
    runId: z.string().max(60).nullable().default(null),
  }),
  z.object({
    id,
    type: z.literal("figure"),
    figure: z.enum(figureKinds),
    /** Runs, or `cell:ID` for the run of an experiment cell. */
    runs: z.array(z.string().max(60)).min(1).max(50),
    caption: z.string().max(2_000).default(""),
    /** Hash of the data it was frozen with. */
    frozen: z.string().length(64).nullable().default(null),
  }),
  z.object({ id, type: z.literal("comparison"), runs: z.array(z.string().max(60)).min(1).max(50) }),
]);
export type NotebookCell = z.infer<typeof notebookCell>;

export const notebookContent = z.object({
  title: z.string().trim().min(1).max(200),
  cells: z.array(notebookCell).max(500),
});
export type NotebookContent = z.infer<typeof notebookContent>;
