/**
 * @file Tokens that are found in a text before it is cut into words: those of `tokenizer.json`, and those named only in the files beside it.
 *
 * As `transformers` 5 reads them: `added_tokens_decoder` of `tokenizer_config.json` adds tokens and changes the flags of those that
 * `tokenizer.json` has; then every special token (`bos_token` … `mask_token`, `extra_special_tokens`) that is not a token yet becomes one.
 * Where there is no `added_tokens_decoder`, `special_tokens_map.json` replaces the special tokens of the config, and `added_tokens.json`
 * adds its own. A token of the vocabulary keeps its id there; the others follow the last id in turn. Refused by name: an id that
 * this rule would not give, `split_special_tokens`, which cuts special tokens like text, and a word of its own (`single_word`)
 * that is compared after the text was normalized. `tokenizer_class` is not followed: `tokenizer.json` says how text is cut.
 */
import { join } from "node:path";
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import { jsonFile, type NamedFiles } from "../files/named-files.ts";

const flags = {
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().optional(),
  special: z.boolean().default(false),
};
const token = z.object({ content: z.string(), ...flags });
const textOrToken = z.union([z.string(), token]);
const tokens = z.union([z.array(textOrToken), z.record(z.string(), textOrToken)]);
const attributes = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;
const tokenizerConfig = z.looseObject({
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), token).optional(),
  extra_special_tokens: tokens.nullish(),
  additional_special_tokens: tokens.nullish(),
  split_special_tokens: z.boolean().nullish(),
});
const tokenizerJson = z.looseObject({
  added_tokens: z.array(token.extend({ id: z.number().int().nonnegative() })).default([]),
  model: z.looseObject({
    // Looked at and not copied: it may have a quarter of a million entries.
    vocab: z.custom<Record<string, unknown> | readonly unknown[]>((v) => typeof v === "object" && v !== null),
  }),
});

type Token = z.infer<typeof token>;
type NumberedToken = Token & { readonly id: number };

/** The parsed files of a tokenizer; undefined where there is none. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  readonly tokenizer: object;
  /** `tokenizer_config.json` */
  readonly own: unknown;
  /** `special_tokens_map.json` */
  readonly map: unknown;
  /** `added_tokens.json` */
  readonly added: unknown;
}

export interface WholeTokenizer {
  /** With every added token. */
  readonly tokenizer: object;
  /** With every special token. */
  readonly own: unknown;
  /** Whether other files added to `tokenizer.json`. */
  readonly completed: boolean;
}

/** Null without a `tokenizer.json`. */
export async function wholeTokenizer(files: NamedFiles): Promise<WholeTokenizer | null> {
  const tokenizer = await jsonFile(files, "tokenizer.json");
  if (typeof tokenizer !== "object" || tokenizer === null) return null;
  const [own, map, added] = await Promise.all(
    ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map((name) => jsonFile(files, name)),
  );
  return withConfigTokens({ tokenizer, own, map, added }, files.path);
}

/** `where`: the folder, for messages. Throws `format/malformed` and `format/unsupported`. */
export function withConfigTokens(files: TokenizerFiles, where: string): WholeTokenizer {
  const json = read(tokenizerJson, files.tokenizer, join(where, "tokenizer.json"));
  const config = read(tokenizerConfig, files.own ?? {}, join(where, "tokenizer_config.json"));
  if (config.split_special_tokens) {
    throw new EspalierError("format/unsupported", `${where}: split_special_tokens true is not supported`, {
      hint: "It cuts special tokens like any text; set it to false in tokenizer_config.json where prompts hold them.",
    });
  }
  const legacy = config.added_tokens_decoder === undefined;
  const map = legacy ? read(z.looseObject({}), files.map ?? {}, join(where, "special_tokens_map.json")) : {};
  const own: z.infer<typeof tokenizerConfig> = { ...config, ...map };
  const specials = specialTokens(own, join(where, "tokenizer_config.json"));
  const special = new Set(specials.map((t) => t.content));
  const listed = legacy
    ? Object.entries(read(z.record(z.string(), z.number()), files.added ?? {}, join(where, "added_tokens.json")))
        .filter(([content]) => !json.added_tokens.some((t) => t.content === content))
        .map(([content, id]): NumberedToken => ({ ...plain(content, special.has(content)), id }))
    : Object.entries(config.added_tokens_decoder ?? {}).map(([id, t]): NumberedToken => ({ ...t, id: Number(id) }));

  const { vocab } = json.model;
  const all = new Map<string, NumberedToken>();
  const idOf = (content: string): number => {
    const known = all.get(content)?.id ?? vocabularyId(vocab, content);
    if (known !== undefined) return known;
    const size = isList(vocab) ? vocab.length : Object.keys(vocab).length;
    return [...all.values()].reduce((next, t) => Math.max(next, t.id + 1), size);
  };
  const add = (given: NumberedToken, file: string): void => {
    // An empty text is no token that could be found.
    if (given.content === "") return;
    const actual = idOf(given.content);
    if (actual !== given.id) {
      throw new EspalierError(
        "format/unsupported",
        `${where}: ${file} says ${given.id} for the added token ${JSON.stringify(given.content)}, which is token ${actual}`,
        {
          hint: "Take tokenizer.json and the files beside it from the same model; added ids follow the vocabulary without a gap.",
        },
      );
    }
    all.set(given.content, given);
  };
  for (const t of json.added_tokens) add(t, "tokenizer.json");
  const before = all.size;
  let changed = before < json.added_tokens.length;
  for (const given of listed.sort((a, b) => a.id - b.id)) {
    const old = all.get(given.content);
    if (old && sameFlags(old, given)) continue;
    add(
      { ...given, special: given.special || special.has(given.content) },
      legacy ? "added_tokens.json" : "tokenizer_config.json",
    );
    changed = true;
  }
  for (const given of specials)
    if (given.content !== "" && !all.has(given.content)) all.set(given.content, { ...given, id: idOf(given.content) });

  const list = [...all.values()].map((t) => ({ ...t, normalized: normalized(t) }));
  refuseNormalizedWords(list, files.tokenizer, where);
  const completed = changed || all.size > before;
  return { tokenizer: completed ? { ...files.tokenizer, added_tokens: list } : files.tokenizer, own, completed };
}

/** Those that a config names, in the order in which `transformers` adds them. */
function specialTokens(own: Record<string, unknown>, where: string): Token[] {
  const named = attributes.map((key) => read(textOrToken.nullish(), own[key], `${where}: ${key}`));
  const extra = read(tokens.nullish(), own.extra_special_tokens ?? own.additional_special_tokens, where) ?? [];
  const ofModel = Object.entries(own).flatMap(([key, value]) =>
    key.endsWith("_token") && !attributes.some((a) => a === key) && typeof value === "string" ? [value] : [],
  );
  const all = [...named, ...ofModel, ...Object.values(extra)].filter((t) => t !== null && t !== undefined);
  return all.map((t) => (typeof t === "string" ? plain(t, true) : { ...t, special: true }));
}

const plain = (content: string, special: boolean): Token => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: !special,
  special,
});

const normalized = (t: Token): boolean => t.normalized ?? !t.special;

const sameFlags = (a: Token, b: Token): boolean =>
  normalized(a) === normalized(b) &&
  (["single_word", "lstrip", "rstrip", "special"] as const).every((flag) => a[flag] === b[flag]);

const isList = (vocab: Record<string, unknown> | readonly unknown[]): vocab is readonly unknown[] =>
  Array.isArray(vocab);

/** Ids by token in a record, or the place in a list of tokens with their scores. */
function vocabularyId(vocab: Record<string, unknown> | readonly unknown[], content: string): number | undefined {
  if (isList(vocab)) {
    const at = vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === content);
    return at < 0 ? undefined : at;
  }
  const id = Object.hasOwn(vocab, content) ? vocab[content] : undefined;
  return typeof id === "number" ? id : undefined;
}

/** Such a token would have to be looked for in the normalized text, whose places are not known here. */
function refuseNormalizedWords(list: readonly Token[], tokenizer: object, where: string): void {
  const word = list.find((t) => t.single_word && normalized(t));
  if (!word || !("normalizer" in tokenizer) || tokenizer.normalizer === null) return;
  throw new EspalierError(
    "format/unsupported",
    `${where}: the added token ${JSON.stringify(word.content)} is single_word and normalized, which is not supported`,
    { hint: "Set normalized to false for it in tokenizer.json." },
  );
}

/** Whether `text` has one of `words` as a part of a longer word, where a token that is a single word does not stand. */
export function brokenWord(text: string, words: readonly string[]): string | null {
  const letter = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
  const joins = (before: string, after: string): boolean =>
    letter.test([...before.slice(-2)].at(-1) ?? "") || letter.test([...after.slice(0, 2)][0] ?? "");
  for (const word of words) {
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
      if (joins(text.slice(Math.max(0, at - 2), at), text.slice(at + word.length, at + word.length + 2))) return word;
  }
  return null;
}

function read<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.join(".");
  throw new EspalierError("format/malformed", `${where}: ${path ? `${path}: ` : ""}${issue?.message}`, {
    hint: "Copy the file again from the model it belongs to.",
  });
}
