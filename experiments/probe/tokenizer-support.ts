/**
 * @file Which tokenizers the probe's own Swift code can encode with; for others it continues the golden prompts only.
 *
 * `BpeTokenizer.swift` knows BPE with byte fallback or byte-level symbols, split by one regular expression or not at all.
 * What decides is the form of `tokenizer.json`, not the name of the model.
 */
import { z } from "zod";

const node = z.looseObject({ type: z.string() });
const sequence = z.looseObject({ type: z.literal("Sequence") });
const schema = z.looseObject({
  normalizer: node.nullish(),
  pre_tokenizer: node.nullish(),
  decoder: node.nullish(),
  added_tokens: z
    .array(
      z.looseObject({
        content: z.string(),
        single_word: z.boolean().default(false),
        lstrip: z.boolean().default(false),
        rstrip: z.boolean().default(false),
      }),
    )
    .default([]),
  model: z.looseObject({
    type: z.string(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
    dropout: z.number().nullish(),
    ignore_merges: z.boolean().nullish(),
  }),
});

const normalizers = ["Replace", "Prepend", "NFC"];
const preTokenizers = ["Split", "ByteLevel", "Digits"];
const decoders = ["Replace", "ByteFallback", "Fuse", "Strip", "ByteLevel"];

/** Empty where the probe can encode text, else the reason why it cannot. */
export function whyNotEncoded(tokenizerJson: unknown): string {
  const parsed = schema.safeParse(tokenizerJson);
  if (!parsed.success) return "no readable tokenizer.json was found";
  const { model, normalizer, pre_tokenizer, decoder, added_tokens: added } = parsed.data;
  const flagged = added.find((t) => t.single_word || t.lstrip || t.rstrip);
  if (flagged) return `its token ${flagged.content} takes spaces with it or is a word of its own`;
  if (model.type !== "BPE") return `its model is ${model.type}, the probe knows BPE`;
  if (model.continuing_subword_prefix || model.end_of_word_suffix) return "its pieces carry a prefix or a suffix";
  for (const [what, given, known] of [
    ["normalizer", normalizer, normalizers],
    ["pre-tokenizer", pre_tokenizer, preTokenizers],
    ["decoder", decoder, decoders],
  ] as const) {
    for (const part of parts(given)) if (!known.includes(part)) return `its ${what} has ${part}, which the probe lacks`;
  }
  return "";
}

function parts(given: z.infer<typeof node> | null | undefined): string[] {
  if (!given) return [];
  if (!sequence.safeParse(given).success) return [given.type];
  const inner = Object.values(given).find((v) => Array.isArray(v));
  return z
    .array(node)
    .parse(inner ?? [])
    .flatMap(parts);
}
