/** @file The part of a config that says which text is measured, and the sequences it gives. */
import { basename } from "node:path";
import { z } from "zod";
import { leadingSequences } from "../lib/eval/leading-sequences.ts";
import { protocolString, type TokenSequence } from "../lib/eval/sequences.ts";
import { bosRules } from "../lib/eval/text-codec.ts";
import type { ModelFiles } from "./model-session.ts";
import { readText } from "./text-file.ts";

/** The rule of special tokens, the same wherever text becomes tokens. */
export const bosConfig = {
  bos: z
    .enum(bosRules)
    .optional()
    .describe(
      "Special tokens around a text. auto (default): those the tokenizer adds; always: the model's BOS even if the tokenizer adds none; never: none",
    ),
};

export const textConfig = {
  text: z.string().describe("A text file to measure on").meta({ role: "text" }),
  separator: z
    .string()
    .optional()
    .meta({ escapes: true })
    .describe(
      "String that separates documents, to measure them one by one; \\n is a line end, \\t a tab; default: windows over the whole text",
    ),
  limit: z.number().int().positive().optional().describe("Maximum number of documents or windows"),
  context: z
    .number()
    .int()
    .min(2)
    .optional()
    .describe("Maximum tokens per sequence; default: the model's maximum, at most 512"),
  maxTokens: z.number().int().positive().optional().describe("Maximum number of predicted tokens"),
  ...bosConfig,
  fuseUnknown: z
    .boolean()
    .optional()
    .describe("Count text that the vocabulary lacks as one <unk>, as the tokenizer does; default: one per byte"),
};

export type TextConfig = z.infer<z.ZodObject<typeof textConfig>>;

export async function textSequences(
  config: TextConfig,
  model: ModelFiles,
): Promise<{ sequences: TokenSequence[]; protocol: string }> {
  const most = model.checkpoint.architecture.maxPositions;
  const protocol = { ...config, context: Math.min(config.context ?? Math.min(512, most), most) };
  const sequences = leadingSequences(await readText(config.text), model.tokenizer, protocol);
  return { sequences, protocol: protocolString(basename(config.text), protocol, model.tokenizer, sequences) };
}

/** Runs of at most `size` sequences, the shards a measurement is stored by. */
export function shards(
  sequences: readonly TokenSequence[],
  size: number,
): { from: number; sequences: TokenSequence[] }[] {
  const found: { from: number; sequences: TokenSequence[] }[] = [];
  for (let from = 0; from < sequences.length; from += size)
    found.push({ from, sequences: sequences.slice(from, from + size) });
  return found;
}
