/** @file Texts over the API. */
import { z } from "zod";
import { addText, getText, listTexts } from "../texts/texts.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(120) });

export const textsRouter = router({
  list: procedure.query(({ ctx }) => listTexts(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getText(ctx.core, input.id)),
  add: procedure
    .input(
      z.object({
        id: z.string().min(1).max(80).describe("The id to keep it under"),
        kind: z.enum(["text", "tasks"]).default("text").describe("Running text, or questions as JSONL"),
        content: z.string().max(64_000_000).describe("The text itself"),
        separator: z.string().max(80).optional().describe("String that separates documents"),
        split: z.enum(["train", "calibrate", "select", "report"]).optional().describe("What it is for"),
        note: z.string().max(1000).default(""),
      }),
    )
    .mutation(({ ctx, input }) =>
      addText(ctx.core, { ...input, separator: input.separator ?? null, split: input.split ?? null }),
    ),
});
