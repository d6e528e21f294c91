/**
 * @file A tokenizer as the metadata of a GGUF file: `tokenizer.json` and the files beside it as `tokenizer.ggml.*`; the reverse of
 * `gguf-tokenizer.ts`.
 *
 * Two kinds. Byte-level pairs become `gpt2`, with the name of how text is cut into words; a way of cutting without a name there is refused.
 * Pairs with byte fallback become `llama`: the score of a piece is minus the rank of the first merge that makes it, so that the
 * highest score is joined first. SentencePiece cuts nothing before it merges: a cut into words of `tokenizer.json` is dropped,
 * which changes nothing as long as no piece spans two words. The exporter compares the ids of a text before and after.
 *
 * Not included: other models (Unigram, WordPiece), which are refused by name.
 */
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import type { GgufKey } from "../formats/gguf/write.ts";
import { bytePairName } from "./byte-pair-splits.ts";
import type { TokenizerContents } from "./tokenizer.ts";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;

const isVocabulary = (v: unknown): v is Readonly<Record<string, number>> => typeof v === "object" && v !== null;
const isMerges = (v: unknown): v is readonly (string | readonly [string, string])[] => Array.isArray(v);

const tokenizerSchema = z.looseObject({
  model: z.looseObject({
    type: z.string().nullish(),
    vocab: z.custom<Readonly<Record<string, number>>>(isVocabulary),
    merges: z.custom<readonly (string | readonly [string, string])[]>(isMerges).optional(),
    unk_token: z.string().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
  }),
  added_tokens: z.array(z.looseObject({ id: z.number(), content: z.string(), special: z.boolean() })).default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
});

const tokenText = z.union([z.string(), z.looseObject({ content: z.string() }).transform((t) => t.content)]).nullish();
const configSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
  unk_token: tokenText,
  pad_token: tokenText,
  chat_template: z.string().nullish().catch(null),
});
const idList = z.union([z.number(), z.array(z.number())]).nullish();
const idsSchema = z.looseObject({ bos_token_id: idList, eos_token_id: idList, pad_token_id: idList });

export interface TokenizerToWrite extends TokenizerContents {
  /** `chat_template.jinja`, where it is a file of its own. */
  readonly chatTemplate: string | null;
  /** Rows of the embedding, which may be more than there are tokens. */
  readonly vocab: number;
  /** Whether the tokenizer puts BOS before, EOS after a text by itself. */
  readonly adds: { readonly bos: boolean; readonly eos: boolean };
}

/** Throws `export/unsupported` for a tokenizer that GGUF cannot express, `format/malformed` for an
 * invalid one. */
export function tokenizerKeys(given: TokenizerToWrite): GgufKey[] {
  const read = tokenizerSchema.safeParse(given.tokenizer);
  if (!read.success)
    throw new EspalierError(
      "format/malformed",
      `tokenizer.json: ${read.error.issues[0]?.path.join(".")} is not as expected`,
    );
  const json = read.data;
  const { model } = json;
  if ((model.type ?? "BPE") !== "BPE" || !model.merges)
    throw new EspalierError(
      "export/unsupported",
      `tokenizer.json is of the kind ${model.type}, GGUF is written from BPE`,
      {
        hint: "Models of such tokenizers cannot be exported to GGUF yet.",
      },
    );
  const tokens: string[] = Array.from({ length: given.vocab }, (_, id) => `[PAD${id}]`);
  const types: number[] = Array.from({ length: given.vocab }, () => UNUSED);
  const set = (id: number, text: string, type: number): void => {
    if (id >= given.vocab)
      throw new EspalierError(
        "model/config",
        `the token ${JSON.stringify(text)} is ${id}, the model has ${given.vocab}`,
      );
    tokens[id] = text;
    types[id] = type;
  };
  const fallback = model.byte_fallback === true;
  const isByte = (text: string): boolean => fallback && /^<0x[0-9A-F]{2}>$/.test(text);
  for (const [text, id] of Object.entries(model.vocab)) set(id, text, isByte(text) ? BYTE : NORMAL);
  for (const { id, content, special } of json.added_tokens) set(id, content, special ? CONTROL : USER_DEFINED);
  const unknown = model.unk_token ? model.vocab[model.unk_token] : undefined;
  if (unknown !== undefined) types[unknown] = UNKNOWN;

  const kind = fallback ? pieces(json, model.merges, tokens) : pairs(json, model.merges);
  return [
    ...kind,
    { key: "tokenizer.ggml.tokens", type: "string", value: tokens },
    { key: "tokenizer.ggml.token_type", type: "i32", value: types },
    ...specialKeys(given, tokens),
    { key: "tokenizer.ggml.add_bos_token", type: "bool", value: given.adds.bos },
    { key: "tokenizer.ggml.add_eos_token", type: "bool", value: given.adds.eos },
  ];
}

type Json = z.infer<typeof tokenizerSchema>;
type Merges = readonly (string | readonly [string, string])[];

function pairs(json: Json, merges: Merges): GgufKey[] {
  const patterns = cuts(json.pre_tokenizer);
  const ignoreMerges = json.model.ignore_merges === true;
  const pre = patterns && bytePairName(patterns, ignoreMerges);
  if (!pre) {
    throw new EspalierError(
      "export/unsupported",
      "tokenizer.json cuts text into words in a way that GGUF has no name for",
      {
        hint: `It is ${JSON.stringify(json.pre_tokenizer)?.slice(0, 200)}. Known are GPT-2, SmolLM, Llama 3 and Qwen 2.`,
      },
    );
  }
  return [
    { key: "tokenizer.ggml.model", type: "string", value: "gpt2" },
    { key: "tokenizer.ggml.pre", type: "string", value: pre },
    {
      key: "tokenizer.ggml.merges",
      type: "string",
      value: merges.map((m) => (typeof m === "string" ? m : m.join(" "))),
    },
  ];
}

/** The patterns by which text is cut, one after the other; null where something else is done, too. */
function cuts(pre: unknown): string[] | null {
  const parts = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.array(z.unknown()) }).safeParse(pre);
  if (parts.success) {
    const all = parts.data.pretokenizers.map(cuts);
    return all.some((c) => c === null) ? null : all.flatMap((c) => c ?? []);
  }
  const one = z
    .looseObject({
      type: z.string(),
      use_regex: z.boolean().optional(),
      add_prefix_space: z.boolean().optional(),
      individual_digits: z.boolean().optional(),
      behavior: z.string().optional(),
      pattern: z.looseObject({ Regex: z.string().optional() }).optional(),
    })
    .safeParse(pre);
  if (!one.success) return null;
  const { type, use_regex, add_prefix_space, individual_digits, behavior, pattern } = one.data;
  if (type === "ByteLevel" && !add_prefix_space) return use_regex === false ? [] : ["gpt2"];
  if (type === "Digits" && individual_digits) return ["\\p{N}"];
  if (type === "Split" && behavior === "Isolated" && pattern?.Regex !== undefined) return [pattern.Regex];
  return null;
}

function pieces(json: Json, merges: Merges, tokens: readonly string[]): GgufKey[] {
  const rank = new Map<string, number>();
  for (const [i, m] of merges.entries()) {
    const made = typeof m === "string" ? m.replace(" ", "") : m[0] + m[1];
    if (!rank.has(made)) rank.set(made, i);
  }
  return [
    { key: "tokenizer.ggml.model", type: "string", value: "llama" },
    { key: "tokenizer.ggml.pre", type: "string", value: "default" },
    { key: "tokenizer.ggml.scores", type: "f32", value: tokens.map((t) => -(rank.get(t) ?? merges.length)) },
    {
      key: "tokenizer.ggml.add_space_prefix",
      type: "bool",
      value: prepends(json.normalizer) || prepends(json.pre_tokenizer),
    },
  ];
}

/** Whether a normalizer or a cut puts a space before the text. */
function prepends(part: unknown): boolean {
  const read = z
    .looseObject({
      type: z.string(),
      prepend_scheme: z.string().optional(),
      normalizers: z.array(z.unknown()).optional(),
    })
    .safeParse(part);
  if (!read.success) return false;
  const { type, prepend_scheme, normalizers } = read.data;
  if (type === "Prepend") return true;
  if (type === "Metaspace") return (prepend_scheme ?? "always") !== "never";
  return (normalizers ?? []).some(prepends);
}

function specialKeys(given: TokenizerToWrite, tokens: readonly string[]): GgufKey[] {
  const own = configSchema.safeParse(given.own ?? {});
  const config = own.success
    ? own.data
    : { bos_token: null, eos_token: null, unk_token: null, pad_token: null, chat_template: null };
  const ids = [given.generation, given.model].map((file) => {
    const read = idsSchema.safeParse(file ?? {});
    return read.success ? read.data : {};
  });
  const named = (text: string | null | undefined): number[] => {
    const id = text ? tokens.indexOf(text) : -1;
    return id < 0 ? [] : [id];
  };
  const listed = (key: "bos_token_id" | "eos_token_id" | "pad_token_id"): number[] =>
    ids.flatMap((file) => [file[key] ?? []].flat());
  const bos = [...named(config.bos_token), ...listed("bos_token_id")];
  const eos = [...new Set([...named(config.eos_token), ...listed("eos_token_id")])];
  const padding = [...named(config.pad_token), ...listed("pad_token_id")];
  const id = (name: string, all: readonly number[]): GgufKey[] =>
    all[0] === undefined ? [] : [{ key: `tokenizer.ggml.${name}_token_id`, type: "u32", value: all[0] }];
  const chat = config.chat_template ?? given.chatTemplate;
  return [
    ...id("bos", bos),
    ...id("eos", eos),
    // A second token that ends a text is what llama.cpp calls the end of a turn.
    ...id("eot", eos.slice(1)),
    ...id("unknown", named(config.unk_token)),
    ...id("padding", padding),
    ...(chat ? [{ key: "tokenizer.chat_template", type: "string", value: chat } as const] : []),
  ];
}
