/**
 * @file The tokenizer of a GGUF file, from its metadata, in the form of Hugging Face's files.
 *
 * Reference: the GGUF specification (`tokenizer.ggml.*`) and llama.cpp's `llama-vocab.cpp` for what the fields mean and for defaults.
 * Two kinds. `gpt2`: byte-level pairs with merges. `llama`: SentencePiece with scores and a token for every byte.
 * Control, unknown and user-defined tokens are matched in the text before anything else, exactly as the file spells them; the first two
 * are special, so decoding can leave them out.
 *
 * Where `transformers` reads a GGUF otherwise (as of 5.24), this follows llama.cpp and the tokenizer the model was trained with:
 * numbers of SmolLM are cut from the spaces before them; Gemma's tokens of several spaces match the longest run; tokens of single bytes
 * are never made by merging their letters.
 *
 * Not included: other kinds (`t5`, `bert`, `rwkv`, `gemma4` …), which are refused by name, and tokens that take the spaces beside them.
 */
import { EspalierError } from "../errors.ts";
import { bytePairSplit } from "./byte-pair-splits.ts";
import { sentencePieceMerges } from "./sentencepiece-merges.ts";

/** `tokenizer.json`: of the fields, those that are written here. */
export interface TokenizerJson {
  readonly version: "1.0";
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly post_processor: object;
  readonly decoder: object;
  readonly model: object;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: false;
  readonly lstrip: false;
  readonly rstrip: false;
  readonly normalized: false;
  readonly special: boolean;
}

/** The contents of `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`, as objects to be written as JSON. */
export interface TokenizerFiles {
  readonly tokenizer: TokenizerJson;
  readonly config: Readonly<Record<string, unknown>>;
  readonly generation: Readonly<Record<string, unknown>>;
  readonly chatTemplate: string | null;
}

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;

const kinds = ["llama", "gpt2"] as const;
type Kind = (typeof kinds)[number];

interface Vocabulary {
  readonly kind: Kind;
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly roles: Readonly<Partial<Record<Role, number>>>;
}

/** What the metadata calls a special token, and `tokenizer_config.json`. */
const roleNames = {
  bos: "bos_token",
  eos: "eos_token",
  unknown: "unk_token",
  padding: "pad_token",
  seperator: "sep_token",
  mask: "mask_token",
} as const;
type Role = keyof typeof roleNames | "eot" | "eom";
const roles: readonly Role[] = ["bos", "eos", "unknown", "padding", "seperator", "mask", "eot", "eom"];

/** Throws `format/malformed` where fields contradict each other, `format/unsupported` for a kind that is not known. */
export function tokenizerFilesFromGguf(metadata: ReadonlyMap<string, unknown>): TokenizerFiles {
  const fields = new TokenizerFields(metadata);
  const vocabulary = readVocabulary(fields);
  const { tokens, types, kind, pre } = vocabulary;
  const split = kind === "gpt2" ? bytePairSplit(pre) : null;
  const addsBos = fields.flag("add_bos_token") ?? split?.addsBos ?? true;
  const addsEos = fields.flag("add_eos_token") ?? false;
  const begin = addsBos ? [namedToken(vocabulary, "bos")] : [];
  const end = addsEos ? [namedToken(vocabulary, "eos")] : [];

  const added: AddedToken[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id];
    const special = type === CONTROL || type === UNKNOWN;
    if (!special && type !== USER_DEFINED) continue;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  const parts = split ? bytePairParts(fields, vocabulary, split) : sentencePieceParts(fields, vocabulary);
  const chatTemplate = fields.text("tokenizer.chat_template");
  const ids = vocabulary.roles;
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      ...parts,
      post_processor: template(begin, end),
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...Object.fromEntries(
        Object.entries(roleNames).flatMap(([role, name]) => {
          const id = ids[role as Role];
          return id === undefined ? [] : [[name, tokens[id]]];
        }),
      ),
      add_bos_token: addsBos,
      add_eos_token: addsEos,
      clean_up_tokenization_spaces: false,
      ...(chatTemplate === null ? {} : { chat_template: chatTemplate }),
    },
    generation: {
      ...(ids.bos === undefined ? {} : { bos_token_id: ids.bos }),
      eos_token_id: [...new Set([ids.eos, ids.eot, ids.eom].filter((id) => id !== undefined))],
    },
    chatTemplate,
  };
}

interface SpecialToken {
  readonly id: number;
  readonly text: string;
}

function namedToken({ roles: ids, tokens }: Vocabulary, role: "bos" | "eos"): SpecialToken {
  const id = ids[role];
  if (id !== undefined) return { id, text: tokens[id] ?? "" };
  throw malformed(`tokenizer.ggml.add_${role}_token is set, but there is no tokenizer.ggml.${role}_token_id`);
}

/** What stands before and after a text, and between the two of a pair. */
function template(begin: readonly SpecialToken[], end: readonly SpecialToken[]): object {
  const around = (sequence: "A" | "B", type_id: 0 | 1): object[] => [
    ...begin.map(({ text }) => ({ SpecialToken: { id: text, type_id } })),
    { Sequence: { id: sequence, type_id } },
    ...end.map(({ text }) => ({ SpecialToken: { id: text, type_id } })),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(
      [...begin, ...end].map(({ id, text }) => [text, { id: text, ids: [id], tokens: [text] }]),
    ),
  };
}

type Parts = Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "decoder" | "model">;

function bytePairParts(
  fields: TokenizerFields,
  { tokens }: Vocabulary,
  split: ReturnType<typeof bytePairSplit>,
): Parts {
  const merges = fields.texts("merges");
  if (!merges) throw malformed("a tokenizer of the kind gpt2 needs tokenizer.ggml.merges, which are missing");
  const pairs = merges.map((merge, rank): [string, string] => {
    const at = merge.indexOf(" ", 1);
    if (at < 1 || at === merge.length - 1)
      throw malformed(
        `tokenizer.ggml.merges[${rank}] is ${JSON.stringify(merge)}, not two pieces with a space between`,
      );
    return [merge.slice(0, at), merge.slice(at + 1)];
  });
  const vocab = vocabOf(tokens);
  for (const [rank, [left, right]] of pairs.entries()) {
    for (const piece of [left, right, left + right]) {
      if (vocab[piece] === undefined)
        throw malformed(`tokenizer.ggml.merges[${rank}] needs the token ${JSON.stringify(piece)}, which is not there`);
    }
  }
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    normalizer: split.compose ? { type: "NFC" } : null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        ...split.patterns.map((Regex) => ({
          type: "Split",
          pattern: { Regex },
          behavior: "Isolated",
          invert: false,
        })),
        byteLevel,
      ],
    },
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: split.ignoreMerges,
      vocab,
      merges: pairs,
    },
  };
}

function sentencePieceParts(fields: TokenizerFields, { tokens, types, roles: ids }: Vocabulary): Parts {
  const scores = fields.numbers("scores");
  if (!scores) throw malformed("a tokenizer of the kind llama needs tokenizer.ggml.scores, which are missing");
  sameLength("scores", scores.length, tokens.length);
  const unknown = ids.unknown === undefined ? null : (tokens[ids.unknown] ?? null);
  const mergeable: number[] = [];
  for (const [id, type] of types.entries()) if (type === NORMAL || type === UNUSED) mergeable.push(id);
  const prefix = fields.flag("add_space_prefix") ?? true;
  const spacesMarked = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const marksSpaces = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  return {
    normalizer: prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spacesMarked] }
      : spacesMarked,
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: prefix ? [...marksSpaces, { type: "Strip", content: " ", start: 1, stop: 0 }] : marksSpaces,
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: types.includes(BYTE),
      ignore_merges: false,
      vocab: vocabOf(tokens),
      merges: sentencePieceMerges(mergeable, tokens, scores),
    },
  };
}

/** Throws `format/malformed` for two tokens of one text. */
function vocabOf(tokens: readonly string[]): Record<string, number> {
  // Without a prototype, so that a token named like one of its parts is a token.
  const vocab: Record<string, number> = Object.create(null);
  for (const [id, token] of tokens.entries()) {
    const first = vocab[token];
    if (first !== undefined)
      throw malformed(`tokenizer.ggml.tokens ${first} and ${id} are both ${JSON.stringify(token)}`);
    vocab[token] = id;
  }
  return vocab;
}

function readVocabulary(fields: TokenizerFields): Vocabulary {
  const model = fields.text("tokenizer.ggml.model");
  if (model === null) throw malformed("there is no tokenizer.ggml.model, so the file holds no tokenizer");
  const kind = kinds.find((k) => k === model);
  if (!kind) {
    throw new EspalierError("format/unsupported", `tokenizer.ggml.model is "${model}"; known are ${kinds.join(", ")}`, {
      hint: "Use the model's folder with its tokenizer.json instead.",
    });
  }
  const given = fields.texts("tokens");
  if (!given || given.length === 0) throw malformed("tokenizer.ggml.tokens is missing or empty");
  // As llama.cpp: a token without text stands for nothing, and only keeps its place.
  const tokens = given.map((token, id) => token || `[EMPTY_${id}]`);
  const defaults: Partial<Record<Role, number>> = kind === "llama" ? { bos: 1, eos: 2, unknown: 0 } : {};
  const ids: Partial<Record<Role, number>> = {};
  for (const role of roles) {
    const id = fields.tokenId(`${role}_token_id`, tokens.length) ?? defaults[role];
    if (id !== undefined && id < tokens.length) ids[role] = id;
  }
  const types = fields.numbers("token_type");
  if (types) {
    sameLength("token_type", types.length, tokens.length);
    const odd = types.findIndex((t) => !Number.isInteger(t) || t < NORMAL || t > BYTE);
    if (odd >= 0) throw malformed(`tokenizer.ggml.token_type[${odd}] is ${types[odd]}, not one of 1 … ${BYTE}`);
  }
  return {
    kind,
    pre: fields.text("tokenizer.ggml.pre") ?? "default",
    tokens,
    types: types ?? typesByName(kind, tokens, Object.values(ids)),
    roles: ids,
  };
}

/** For files that give no types: what a role names is control, `<0x41>` is a byte, the rest is normal. */
function typesByName(kind: Kind, tokens: readonly string[], named: readonly number[]): number[] {
  const types: number[] = tokens.map((token) => (kind === "llama" && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : NORMAL));
  for (const id of named) types[id] = CONTROL;
  return types;
}

function sameLength(field: string, length: number, tokens: number): void {
  if (length !== tokens) throw malformed(`tokenizer.ggml.${field} has ${length} entries for ${tokens} tokens`);
}

const malformed = (message: string): EspalierError =>
  new EspalierError("format/malformed", message, { hint: "Fetch the file again, or convert it anew from its source." });

/** Metadata read with its type checked. */
class TokenizerFields {
  private readonly metadata: ReadonlyMap<string, unknown>;

  constructor(metadata: ReadonlyMap<string, unknown>) {
    this.metadata = metadata;
  }

  text(key: string): string | null {
    const value = this.metadata.get(key);
    if (value === undefined) return null;
    if (typeof value !== "string") throw malformed(`${key} is ${shown(value)}, not a text`);
    return value;
  }

  flag(name: string): boolean | null {
    const value = this.metadata.get(`tokenizer.ggml.${name}`);
    if (value === undefined) return null;
    if (typeof value !== "boolean") throw malformed(`tokenizer.ggml.${name} is ${shown(value)}, not true or false`);
    return value;
  }

  tokenId(name: string, tokens: number): number | null {
    const value = this.metadata.get(`tokenizer.ggml.${name}`);
    if (value === undefined) return null;
    const id = typeof value === "bigint" ? Number(value) : value;
    if (typeof id !== "number" || !Number.isInteger(id))
      throw malformed(`tokenizer.ggml.${name} is ${shown(value)}, not a token id`);
    // Every bit set, and -1, say that there is none.
    if (id === -1 || id === 0xffffffff) return null;
    if (id < 0 || id >= tokens) throw malformed(`tokenizer.ggml.${name} is ${id}, and there are ${tokens} tokens`);
    return id;
  }

  texts(name: string): readonly string[] | null {
    return this.list(name, "texts", (value): value is string => typeof value === "string");
  }

  numbers(name: string): readonly number[] | null {
    return this.list(name, "numbers", (value): value is number => typeof value === "number" && !Number.isNaN(value));
  }

  private list<T>(name: string, what: string, is: (value: unknown) => value is T): readonly T[] | null {
    const value = this.metadata.get(`tokenizer.ggml.${name}`);
    if (value === undefined) return null;
    if (!Array.isArray(value)) throw malformed(`tokenizer.ggml.${name} is ${shown(value)}, not a list of ${what}`);
    const bad = value.findIndex((entry) => !is(entry));
    if (bad >= 0) throw malformed(`tokenizer.ggml.${name}[${bad}] is ${shown(value[bad])}; it is a list of ${what}`);
    return value;
  }
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : String(value);
}
