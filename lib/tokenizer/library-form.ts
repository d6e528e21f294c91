/**
 * @file A `tokenizer.json` in the constructs that the JavaScript library does as the library of `transformers` does.
 *
 * Reference: `tokenizers` 0.23 (Rust). `@huggingface/tokenizers` 0.2 knows one way to split at a pattern, whatever the behaviour
 * says: the pieces between matches and the matches themselves are all kept apart. So each other behaviour is written as a pattern
 * whose matches are the pieces. With P the pattern:
 *
 *   merged with previous   (?s:.)*?P | (?s:.)+          everything up to a match
 *   merged with next       P(?!P).* | (?!P).+           a match and everything up to the next
 *   contiguous             P+ | (?!P).+
 *   inverted, isolated     as isolated: matches and what is between them change places
 *
 * Where P is one character, as in Gemma's, the cuts are places: (?<=P), (?=P), or both where P begins and ends. A pattern that
 * matches a whole book without a cut would need more stack than there is.
 *
 * The decoder Metaspace takes a space off the first word even where none is put there (`prepend_scheme` never); a Replace says it.
 *
 * Refused by name: models and parts that the library lacks or does otherwise, where no other spelling says the same.
 */
import { z } from "zod";
import { EspalierError } from "../errors.ts";

const pattern = z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]);
const split = z.looseObject({
  type: z.literal("Split"),
  pattern,
  behavior: z.string(),
  invert: z.boolean().default(false),
});
const named = z.looseObject({ type: z.string() });
const sequence = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.array(z.unknown()) });
const punctuation = z.looseObject({ type: z.literal("Punctuation"), behavior: z.string().default("Isolated") });
const delimiter = z.looseObject({ type: z.literal("CharDelimiterSplit"), delimiter: z.string() });
const fixedLength = z.looseObject({ type: z.literal("FixedLength"), length: z.number().int().positive() });
const model = z.looseObject({ type: z.string().nullish(), continuing_subword_prefix: z.string().nullish() });
const metaspace = z.looseObject({
  type: z.literal("Metaspace"),
  replacement: z.string().default("▁"),
  prepend_scheme: z.literal("never"),
});
const whole = z.looseObject({ model, pre_tokenizer: z.unknown(), decoder: z.unknown() });

/** Unicode's punctuation, and all of ASCII's, which has symbols among it. */
const PUNCTUATION = "[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]";

/** The same tokenizer. Throws `format/unsupported`; `where`: the file, for messages. */
export function libraryForm(tokenizer: object, where: string): object {
  const read = whole.safeParse(tokenizer);
  if (!read.success) return tokenizer;
  const { type, continuing_subword_prefix: prefix } = read.data.model;
  if (type !== null && type !== undefined && !["BPE", "Unigram", "WordPiece"].includes(type))
    throw unsupported(where, `the model ${type}`);
  if (type === "BPE" && prefix) throw unsupported(where, `continuing_subword_prefix ${JSON.stringify(prefix)} of BPE`);
  const before = read.data.pre_tokenizer;
  const after = preTokenizer(before, where);
  const spaces = metaspace.safeParse(read.data.decoder);
  if (!spaces.success) return after === before ? tokenizer : { ...tokenizer, pre_tokenizer: after };
  const decoders = [{ type: "Replace", pattern: { String: spaces.data.replacement }, content: " " }, { type: "Fuse" }];
  return { ...tokenizer, pre_tokenizer: after, decoder: { type: "Sequence", decoders } };
}

function preTokenizer(part: unknown, where: string): unknown {
  const several = sequence.safeParse(part);
  if (several.success) {
    const before = several.data.pretokenizers;
    const after = before.map((p) => preTokenizer(p, where));
    return after.every((p, i) => p === before[i]) ? part : { ...several.data, pretokenizers: after };
  }
  const marks = punctuation.safeParse(part);
  if (marks.success) return splitAt(PUNCTUATION, marks.data.behavior, false, where);
  const cut = delimiter.safeParse(part);
  if (cut.success) return splitAt(escaped(cut.data.delimiter), "Removed", false, where);
  const pieces = fixedLength.safeParse(part);
  if (pieces.success) return isolated(`[\\s\\S]{1,${pieces.data.length}}`);
  const found = split.safeParse(part);
  if (found.success) {
    const { pattern: p, behavior, invert } = found.data;
    return splitAt("String" in p ? escaped(p.String) : p.Regex, behavior, invert, where);
  }
  const other = named.safeParse(part);
  if (other.success && ["UnicodeScripts", "Delimiter"].includes(other.data.type))
    throw unsupported(where, `the pre-tokenizer ${other.data.type}`);
  return part;
}

function splitAt(p: string, behavior: string, invert: boolean, where: string): object {
  const name = behavior.toLowerCase().replaceAll("_", "");
  if (name === "isolated") return isolated(p);
  if (name === "removed")
    return { type: "Split", pattern: { Regex: p }, behavior: invert ? "Isolated" : "Removed", invert };
  if (invert) throw unsupported(where, `the pre-tokenizer Split, inverted and ${behavior}`);
  if (oneCharacter.test(p)) {
    if (name === "mergedwithprevious") return cutAt(`(?<=${p})`);
    if (name === "mergedwithnext") return cutAt(`(?=${p})`);
    if (name === "contiguous") return cutAt(`(?<=${p})(?!${p})|(?<!${p})(?=${p})`);
  }
  const rest = `(?:(?!${group(p)})[\\s\\S])`;
  if (name === "mergedwithprevious") return isolated(`[\\s\\S]*?${group(p)}|[\\s\\S]+`);
  if (name === "mergedwithnext") return isolated(`${group(p)}${rest}*|${rest}+`);
  if (name === "contiguous") return isolated(`${group(p)}+|${rest}+`);
  throw unsupported(where, `the behaviour ${behavior} of Split`);
}

/** A pattern of one character: itself, an escape, or a class without classes in it. */
const oneCharacter =
  /^(?:[^\\^$.*+?()[\]{}|]|\\[pP]\{\w+\}|\\[^\w]|\\[sSdDwW]|\[(?:[^\]\\]|\\p\{\w+\}|\\x[0-9A-F]{2}|\\[^\wx])+\])$/u;

const cutAt = (place: string): object => ({
  type: "Split",
  pattern: { Regex: place },
  behavior: "Removed",
  invert: false,
});

const isolated = (p: string): object => ({
  type: "Split",
  pattern: { Regex: p },
  behavior: "Isolated",
  invert: false,
});

const group = (p: string): string => `(?:${p})`;

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

const unsupported = (where: string, what: string): EspalierError =>
  new EspalierError("format/unsupported", `the tokenizer in ${where} needs ${what}, which is not supported`, {
    hint: "A model whose tokenizer is BPE, Unigram or WordPiece with the usual parts can be read.",
  });
