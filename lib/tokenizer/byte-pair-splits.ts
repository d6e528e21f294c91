/**
 * @file How text is cut into words before byte-pair merging, by the name a GGUF file gives in `tokenizer.ggml.pre`.
 *
 * Reference: llama.cpp's `llama-vocab.cpp`, which holds one list of regular expressions for each name. They are applied one after
 * another, each to the pieces that the last one left; a match is a piece, and so is what lies between two matches. `\s`, `\p{…}` and
 * the look-ahead mean what Oniguruma means by them, since these patterns stand in a `tokenizer.json`.
 *
 * Not included: names that share a pattern with none of these. They are refused by name; nothing is guessed.
 */
import { EspalierError } from "../errors.ts";

export interface BytePairSplit {
  readonly patterns: readonly string[];
  /** A word that is itself a token is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Unicode composition comes first. llama.cpp leaves it out; the tokenizers these models were trained with have it. */
  readonly compose: boolean;
  /** Where the file does not say. */
  readonly addsBos: boolean;
}

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** GPT-4's pattern with numbers in runs of at most `digits`. */
const cl100k = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const plain = { ignoreMerges: false, compose: false, addsBos: false };
const gpt2: BytePairSplit = { ...plain, patterns: [GPT2] };
const digitsApart: BytePairSplit = { ...plain, patterns: ["\\p{N}", GPT2] };
const llama3: BytePairSplit = { patterns: [cl100k("\\p{N}{1,3}")], ignoreMerges: true, compose: false, addsBos: true };
const qwen2: BytePairSplit = { ...plain, patterns: [cl100k("\\p{N}")], compose: true };

const splits: Readonly<Record<string, BytePairSplit>> = {
  default: { ...plain, patterns: ["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"] },
  "gpt-2": gpt2,
  olmo: gpt2,
  smollm: digitsApart,
  starcoder: digitsApart,
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  qwen2,
  "deepseek-r1-qwen": qwen2,
};

/** Throws `format/unsupported` for a name that is not known. */
export function bytePairSplit(name: string): BytePairSplit {
  const found = Object.hasOwn(splits, name) ? splits[name] : undefined;
  if (found) return found;
  throw new EspalierError(
    "format/unsupported",
    `tokenizer.ggml.pre is "${name}", a way to cut words that is not known`,
    {
      hint: `Known are ${Object.keys(splits).join(", ")}. Use the model's folder with its tokenizer.json instead.`,
    },
  );
}

/** The name of a way to cut words, `gpt2` standing for GPT-2's pattern; null where none is known. Composition is not asked about. */
export function bytePairName(patterns: readonly string[], ignoreMerges: boolean): string | null {
  const wanted = patterns.map((p) => (p === "gpt2" ? GPT2 : p));
  const found = Object.entries(splits).find(
    ([, s]) =>
      s.ignoreMerges === ignoreMerges &&
      s.patterns.length === wanted.length &&
      s.patterns.every((p, i) => p === wanted[i]),
  );
  return found?.[0] ?? null;
}
