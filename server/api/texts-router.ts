/** @file Texts over the API. */
import { z } from "zod";
import { parts } from "../../experiments/brought-text.ts";
import { addText, bringText, getText, listTexts, lookAtText } from "../texts/texts.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(120) });

const source = {
  content: z.string().max(64_000_000).optional().describe("The text itself"),
  path: z.string().min(1).max(4096).optional().describe("Or its file on the server's machine"),
};

export const textsRouter = router({
  list: procedure.query(({ ctx }) => listTexts(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getText(ctx.core, input.id)),
  /** What a text would be, before it is kept: its kind, separators that occur, tokens, how it begins. */
  look: procedure
    .input(z.object({ ...source, model: z.string().max(120).optional().describe("Whose tokens are counted") }))
    .mutation(({ ctx, input: { model, ...given } }) => lookAtText(ctx.core, given, model)),
  /** Keeps a text of one's own, in parts to calibrate, select and report on, or whole for one of them. */
  bring: procedure
    .input(
      z.object({
        ...source,
        id: z.string().min(1).max(60).describe("The id to keep it under; parts are called ID-calibrate and so on"),
        kind: z.enum(["text", "tasks"]).default("text").describe("Running text, or questions as JSONL"),
        separator: z.string().min(1).max(80).nullable().default(null).describe("String that separates documents"),
        use: z
          .enum(["parts", ...parts])
          .default("parts")
          .describe("In parts, or whole for one purpose"),
        note: z.string().max(1000).default(""),
      }),
    )
    .mutation(({ ctx, input }) => bringText(ctx.core, input)),
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
