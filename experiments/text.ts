/** @file The part of a config that says which text is measured, and the sequences it gives. */
import { basename } from "node:path";
import { z } from "zod";
import { leadingSequences } from "../lib/eval/leading-sequences.ts";
import { protocolString, type TokenSequence } from "../lib/eval/sequences.ts";
import { bosRules } from "../lib/eval/text-codec.ts";
import { type ModelFiles, readText } from "./models.ts";

/** The rule of special tokens, the same wherever text becomes tokens. */
export const bosConfig = {
  bos: z
    .enum(bosRules)
    .optional()
    .describe(
      "Special tokens around a text: those the tokenizer adds (auto, the default), the model's BOS even where it adds none, or none",
    ),
};

export const textConfig = {
  text: z.string().describe("A text file to measure on").meta({ role: "text" }),
  separator: z
    .string()
    .optional()
    .describe("Measure documents one by one, split at this string; absent: windows over the whole text"),
  limit: z.number().int().positive().optional().describe("Documents or windows at most"),
  context: z
    .number()
    .int()
    .min(2)
    .optional()
    .describe("Tokens a sequence may have; default: what the model allows, at most 512"),
  maxTokens: z.number().int().positive().optional().describe("Predicted tokens at most"),
  ...bosConfig,
  fuseUnknown: z
    .boolean()
    .optional()
    .describe("Count text the vocabulary lacks as one <unk>, as the tokenizer has it; default: one for each byte"),
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
