/**
 * @file A checkpoint's tokenizer, from its `tokenizer.json`, through Hugging Face's own JavaScript library.
 *
 * The library adds BOS where the post-processor says so; here BOS is asked for explicitly, and its id comes from the
 * configs. Decoding never cleans up spaces.
 *
 * A vocabulary with byte fallback that lacks byte tokens fuses what it does not know into one <unk>, however long.
 * `unknown: "bytes"` gives one for each byte instead: a model must not score better for knowing fewer letters.
 */
import { join } from "node:path";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import type { TextCodec } from "../eval/sequences.ts";
import { jsonFile, type NamedFiles } from "../files/named-files.ts";

export interface Tokenizer extends TextCodec {
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  idOf(token: string): number | null;
}

const idList = z.union([z.number().int(), z.array(z.number().int())]).nullish();
const configSchema = z.looseObject({ bos_token_id: idList, eos_token_id: idList, text_config: z.unknown().optional() });
const tokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
  add_bos_token: z.boolean().nullish(),
});

/** Throws `model/missing-file` without a `tokenizer.json`. */
export async function loadTokenizer(files: NamedFiles): Promise<Tokenizer> {
  const directory = files.path;
  const json = await jsonFile(files, "tokenizer.json");
  if (typeof json !== "object" || json === null) {
    throw new EspalierError("model/missing-file", `${directory} has no tokenizer.json`, {
      hint: "Copy the tokenizer.json of the model you started from into that folder.",
    });
  }
  const read = async <T>(schema: z.ZodType<T>, name: string): Promise<T> =>
    parsed(schema, (await jsonFile(files, name)) ?? {}, join(directory, name));
  const config = await read(configSchema, "config.json");
  const nested = parsed(configSchema, config.text_config ?? {}, `${join(directory, "config.json")}: text_config`);
  const generation = await read(configSchema, "generation_config.json");
  const own = await read(tokenizerConfigSchema, "tokenizer_config.json");

  const open = (content: object): LibraryTokenizer => {
    try {
      return new LibraryTokenizer(content, { ...own, clean_up_tokenization_spaces: false });
    } catch (cause) {
      throw new EspalierError("format/unsupported", `the tokenizer in ${directory} could not be read`, { cause });
    }
  };
  const library = open(json);
  const idOf = (token: string): number | null => library.token_to_id(token) ?? null;
  const named = (t: z.infer<typeof tokenText>): number | null =>
    t ? idOf(typeof t === "string" ? t : t.content) : null;
  const first = (ids: z.infer<typeof idList>): number | null => (Array.isArray(ids) ? (ids[0] ?? null) : (ids ?? null));
  const withSpecials = library.encode("a", { add_special_tokens: true }).ids;
  const without = library.encode("a", { add_special_tokens: false }).ids;
  const addsFirst = withSpecials.length > without.length && withSpecials[0] !== without[0];
  const declared =
    named(own.bos_token) ?? first(generation.bos_token_id) ?? first(config.bos_token_id) ?? first(nested.bos_token_id);
  // A model whose tokenizer never puts a BOS in front (Qwen) has none, whatever its config says.
  const bosId = addsFirst ? (withSpecials[0] ?? null) : own.add_bos_token === false ? null : declared;
  const eos = [generation.eos_token_id, config.eos_token_id, nested.eos_token_id].map((ids) => [ids ?? []].flat());
  const eosIds = [...new Set([...eos.flat(), ...[named(own.eos_token)].filter((id) => id !== null)])];
  const vocabulary = library.get_vocab();
  // No spread: an argument list has no room for a quarter of a million ids.
  let vocabSize = 0;
  for (const id of vocabulary instanceof Map ? vocabulary.values() : Object.values(vocabulary))
    vocabSize = Math.max(vocabSize, Number(id) + 1);

  const completed = withAllBytes(json, vocabSize);
  const byBytes = completed ? open(completed.json) : null;

  return {
    bosId,
    eosIds,
    vocabSize,
    idOf,
    encode(text, { bos, unknown = "fused" }) {
      const which = unknown === "bytes" && byBytes ? byBytes : library;
      const encoded = text === "" ? [] : which.encode(text, { add_special_tokens: false }).ids;
      const ids = encoded.map((id) => (completed && id >= vocabSize ? completed.unknownId : id));
      return bos && bosId !== null ? [bosId, ...ids] : ids;
    },
    decode(ids) {
      for (const id of ids) {
        if (!Number.isInteger(id) || id < 0) throw new EspalierError("input/token-range", `${id} is no token id`);
      }
      if (ids.length === 0) return "";
      return library.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
    },
  };
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new EspalierError("format/malformed", `${where}: ${issue?.path.join(".")}: ${issue?.message}`, {
    hint: "Copy the file again from the model it belongs to.",
  });
}

const byteFallback = z.looseObject({
  model: z.looseObject({
    byte_fallback: z.literal(true),
    unk_token: z.string(),
    vocab: z.record(z.string(), z.number()),
  }),
});

/** The same tokenizer with the byte tokens it lacks, under ids from `vocabSize` on; null where there is nothing to add. */
function withAllBytes(json: object, vocabSize: number): { json: object; unknownId: number } | null {
  const read = byteFallback.safeParse(json);
  if (!read.success) return null;
  const { model } = read.data;
  const unknownId = model.vocab[model.unk_token];
  const names = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const missing = names.filter((name) => !Object.hasOwn(model.vocab, name));
  if (unknownId === undefined || missing.length === 0) return null;
  const added = Object.fromEntries(missing.map((name, i) => [name, vocabSize + i]));
  return { json: { ...read.data, model: { ...model, vocab: { ...model.vocab, ...added } } }, unknownId };
}
