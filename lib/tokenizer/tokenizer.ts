/**
 * @file A model's tokenizer, from its `tokenizer.json` or from what a GGUF file says, through Hugging Face's own JavaScript library.
 *
 * The tokens that it puts around a text by itself are those that `transformers` 5 would: the post-processor of `tokenizer.json`
 * decides, and `add_bos_token` and `add_eos_token` of `tokenizer_config.json` are not read beside it. Decoding never cleans up spaces.
 *
 * A vocabulary with byte fallback that lacks byte tokens fuses what it does not know into one <unk>, however long.
 * `unknown: "bytes"` gives one for each byte instead: a model must not score better for knowing fewer letters.
 */
import { join } from "node:path";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import { byteEnds } from "../eval/byte-ends.ts";
import type { AddedTokens, BosRule, EncodeOptions, TextCodec } from "../eval/text-codec.ts";
import { jsonFile, type NamedFiles } from "../files/named-files.ts";
import { brokenWord, wholeTokenizer } from "./added-tokens.ts";
import { libraryForm } from "./library-form.ts";
import { surfacesOf } from "./surfaces.ts";

export interface Tokenizer extends TextCodec {
  readonly vocabSize: number;
  /** Ids by token, added ones among them. */
  vocabulary(): ReadonlyMap<string, number>;
  readonly eosIds: readonly number[];
  idOf(token: string): number | null;
  /** Special tokens, and ids without a token, are left out. Throws `input/token-range`. */
  decode(ids: readonly number[]): string;
  /** The text of `ids` where they continue `before`. Alone it may differ: many decoders take the space off the first word. */
  decodeAfter(before: readonly number[], ids: readonly number[]): string;
}

/** The parsed contents of a checkpoint's files, the first two as `wholeTokenizer` gives them; null where there is none. */
export interface TokenizerContents {
  readonly tokenizer: object;
  /** `tokenizer_config.json` */
  readonly own: unknown;
  /** `generation_config.json` */
  readonly generation: unknown;
  /** `config.json` */
  readonly model: unknown;
}

/** Configs write -1 for a token that they lack. */
const idList = z
  .union([z.number().int(), z.array(z.number().int())])
  .transform((ids) => [ids].flat().filter((id) => id >= 0))
  .nullish();
const configSchema = z.looseObject({ bos_token_id: idList, eos_token_id: idList, text_config: z.unknown().optional() });
const tokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
});

/** Throws `model/missing-file` without a `tokenizer.json`, and what `wholeTokenizer` throws. */
export async function loadTokenizer(files: NamedFiles): Promise<Tokenizer> {
  const whole = await wholeTokenizer(files);
  if (whole === null) {
    throw new EspalierError("model/missing-file", `${files.path} has no tokenizer.json`, {
      hint: "Copy the tokenizer.json of the model you started from into that folder.",
    });
  }
  const contents = {
    ...whole,
    generation: await jsonFile(files, "generation_config.json"),
    model: await jsonFile(files, "config.json"),
  };
  return tokenizerOf(contents, files.path);
}

/** `where`: a folder or a file, for messages. Throws `format/malformed` and `format/unsupported`. */
export function tokenizerOf(contents: TokenizerContents, where: string): Tokenizer {
  const config = parsed(configSchema, contents.model ?? {}, join(where, "config.json"));
  const nested = parsed(configSchema, config.text_config ?? {}, `${join(where, "config.json")}: text_config`);
  const generation = parsed(configSchema, contents.generation ?? {}, join(where, "generation_config.json"));
  const own = parsed(tokenizerConfigSchema, contents.own ?? {}, join(where, "tokenizer_config.json"));
  const json = contents.tokenizer;
  const textOfToken = (t: z.infer<typeof tokenText>): string | null => (typeof t === "object" ? t?.content : t) ?? null;

  const open = (content: object): LibraryTokenizer => {
    const eos_token = textOfToken(own.eos_token) ?? undefined;
    try {
      // No other key of the config: the library reads some that `transformers` 5 does not beside a tokenizer.json.
      return new LibraryTokenizer(libraryForm(content, where), { eos_token, clean_up_tokenization_spaces: false });
    } catch (cause) {
      if (cause instanceof EspalierError) throw cause;
      const why = cause instanceof Error ? `: ${cause.message}` : "";
      throw new EspalierError("format/unsupported", `the tokenizer in ${where} could not be read${why}`, {
        hint: "It has a part that is not supported, or tokenizer.json is damaged: download it again to tell.",
        cause,
      });
    }
  };
  const library = open(json);
  const idOf = (token: string): number | null => library.token_to_id(token) ?? null;
  const named = (t: z.infer<typeof tokenText>): number | null => (t ? idOf(textOfToken(t) ?? "") : null);
  const first = (ids: z.infer<typeof idList>): number | null => ids?.[0] ?? null;
  const bosId =
    named(own.bos_token) ?? first(generation.bos_token_id) ?? first(config.bos_token_id) ?? first(nested.bos_token_id);
  const eos = [generation.eos_token_id, config.eos_token_id, nested.eos_token_id].map((ids) => ids ?? []);
  const eosIds = [...new Set([...eos.flat(), ...[named(own.eos_token)].filter((id) => id !== null)])];

  const around = processed(library);
  const textOf = (ids: readonly number[]): string => ids.map((id) => library.id_to_token(id) ?? id).join(" ") || "none";

  const added = library.get_added_tokens_decoder();
  const words = [...added.values()].flatMap((t) => (t.single_word ? [t.content] : []));
  const specialIds = new Set([...added].flatMap(([id, token]) => (token.special ? [id] : [])));
  const surface = surfacesOf(json, new Set([...added.values()].map((token) => token.content)));
  const known = new Map<number, Uint8Array | null>();
  const surfaceOf = (id: number): Uint8Array | null => {
    let bytes = known.get(id);
    if (bytes === undefined) {
      const token = library.id_to_token(id);
      bytes = token === undefined ? null : surface(token);
      known.set(id, bytes);
    }
    return bytes;
  };

  // No spread: an argument list has no room for a quarter of a million ids.
  let vocabSize = 0;
  for (const id of library.get_vocab().values()) vocabSize = Math.max(vocabSize, id + 1);
  if (vocabSize === 0) {
    throw new EspalierError("format/malformed", `the tokenizer in ${where} has no tokens`, {
      hint: "Copy tokenizer.json again from the model it belongs to.",
    });
  }
  const missing = missingBytes(json);
  const pieceBytes = unigramBytes(json, idOf);
  let byBytes: LibraryTokenizer | null = null;
  /** Ids from `vocabSize` on stand for the bytes that the vocabulary lacks, in the order of `missing`. */
  const rawIds = (text: string, { unknown = "fused" }: EncodeOptions): readonly number[] => {
    if (text === "") return [];
    const broken = brokenWord(text, words);
    if (broken !== null) {
      throw new EspalierError(
        "format/unsupported",
        `the text has ${JSON.stringify(broken)} inside a word; as an added token it is a word of its own (single_word) in ${where}`,
        { hint: "Put spaces around it, or set single_word to false in tokenizer.json." },
      );
    }
    if (unknown === "bytes" && missing && !byBytes) byBytes = open(withBytes(json, missing.bytes, vocabSize));
    const { ids, tokens } = (unknown === "bytes" && byBytes ? byBytes : library).encode(text, {
      add_special_tokens: false,
    });
    return pieceBytes ? ids.flatMap((id, i) => pieceBytes(id, tokens[i] ?? "")) : ids;
  };
  const decode = (ids: readonly number[]): string => {
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0) throw new EspalierError("input/token-range", `${id} is not a token id`);
    }
    // Not left to the library, which looks every token up in a list: Gemma has 6249 special ones. Rows of padding have no token.
    const shown = ids.filter((id) => !specialIds.has(id) && typeof library.id_to_token(id) === "string");
    return shown.length === 0 ? "" : library.decode(shown, { clean_up_tokenization_spaces: false });
  };
  const inVocabulary = (id: number): number => (missing && id >= vocabSize ? missing.unknownId : id);

  return {
    startId: bosId ?? eosIds[0] ?? null,
    eosIds,
    vocabSize,
    vocabulary: () => library.get_vocab(),
    idOf,
    addedTokens(rule) {
      return addedTokensUnder(rule, around, bosId, textOf, where);
    },
    encode: (text, options = {}) => rawIds(text, options).map(inVocabulary),
    encodeWithEnds(text, options = {}) {
      const ids = rawIds(text, options);
      const oneByte = (id: number): Uint8Array => Uint8Array.of(missing?.bytes[id - vocabSize] ?? 0);
      const surfaces = ids.map((id) => (missing && id >= vocabSize ? oneByte(id) : surfaceOf(id)));
      return { ids: ids.map(inVocabulary), byteEnds: byteEnds(new TextEncoder().encode(text), surfaces) };
    },
    decode,
    decodeAfter(before, ids) {
      const [start, whole] = [decode(before), decode([...before, ...ids])];
      // A character may be cut between the two.
      return whole.startsWith(start) ? whole.slice(start.length) : decode(ids);
    },
  };
}

const idsOr = (id: number | null, otherwise: readonly number[]): readonly number[] => (id === null ? otherwise : [id]);

/** What the post-processor puts before and after a text. */
function processed(library: LibraryTokenizer): { begin: readonly number[]; end: readonly number[] } {
  const alone = library.encode("a", { add_special_tokens: false }).ids;
  const whole = library.encode("a", { add_special_tokens: true }).ids;
  const extra = whole.length - alone.length;
  for (let before = 0; before <= extra; before++) {
    if (alone.every((id, i) => whole[before + i] === id))
      return { begin: whole.slice(0, before), end: whole.slice(before + alone.length) };
  }
  return { begin: [], end: [] };
}

function addedTokensUnder(
  rule: BosRule,
  around: { readonly begin: readonly number[]; readonly end: readonly number[] },
  bosId: number | null,
  textOf: (ids: readonly number[]) => string,
  where: string,
): AddedTokens {
  if (rule === "never") return { begin: [], end: [], described: "BOS never" };
  const end = around.end.length > 0 ? `, EOS as the tokenizer adds it: ${textOf(around.end)}` : "";
  if (rule === "auto") return { ...around, described: `BOS as the tokenizer adds it: ${textOf(around.begin)}${end}` };
  const begin = around.begin.length > 0 ? around.begin : idsOr(bosId, []);
  if (begin.length > 0) return { begin, end: around.end, described: `BOS always: ${textOf(begin)}${end}` };
  throw new EspalierError("input/invalid", `the model in ${where} names no BOS that could always stand first`, {
    hint: "Use --bos auto, which adds what the tokenizer adds.",
  });
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new EspalierError("format/malformed", `${where}: ${issue?.path.join(".")}: ${issue?.message}`, {
    hint: "Copy the file again from the model it belongs to.",
  });
}

const isVocabulary = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
// The vocabulary is looked at and not copied: it may have a quarter of a million entries.
const byteFallback = z.looseObject({
  model: z.looseObject({
    byte_fallback: z.literal(true),
    unk_token: z.string(),
    vocab: z.custom<Record<string, unknown>>(isVocabulary),
  }),
});

const byteToken = (b: number): string => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`;

const unigramFallback = z.looseObject({
  model: z.looseObject({ type: z.literal("Unigram"), byte_fallback: z.literal(true), unk_id: z.number().int() }),
});

/** What Unigram with byte fallback makes of a piece that it does not know: a token for each of its bytes, if there is one for all.
 * The library leaves <unk>. Null for other models. */
function unigramBytes(
  json: object,
  idOf: (token: string) => number | null,
): ((id: number, piece: string) => readonly number[]) | null {
  const read = unigramFallback.safeParse(json);
  if (!read.success) return null;
  const { unk_id } = read.data.model;
  return (id, piece) => {
    if (id !== unk_id || idOf(piece) !== null) return [id];
    const bytes = [...new TextEncoder().encode(piece)].flatMap((b) => idOf(byteToken(b)) ?? []);
    return bytes.length === new TextEncoder().encode(piece).length ? bytes : [id];
  };
}

/** The bytes that a vocabulary with byte fallback lacks, and its <unk>; null where there is nothing to add. */
function missingBytes(json: object): { bytes: readonly number[]; unknownId: number } | null {
  const read = byteFallback.safeParse(json);
  if (!read.success) return null;
  const { vocab, unk_token } = read.data.model;
  const unknownId = vocab[unk_token];
  const bytes = Array.from({ length: 256 }, (_, b) => b).filter((b) => vocab[byteToken(b)] === undefined);
  return typeof unknownId === "number" && bytes.length > 0 ? { bytes, unknownId } : null;
}

/** The same tokenizer with these bytes as tokens, under ids from `vocabSize` on. */
function withBytes(json: object, bytes: readonly number[], vocabSize: number): object {
  const { model, ...rest } = byteFallback.parse(json);
  const added = Object.fromEntries(bytes.map((b, i) => [byteToken(b), vocabSize + i]));
  return { ...rest, model: { ...model, vocab: Object.assign(Object.create(null), model.vocab, added) } };
}
