/**
 * @file The bytes that each token of a `tokenizer.json` stands for.
 *
 * Added tokens stand for their own text, `<0x41>` for one byte where bytes are a fallback, the characters of a byte-level vocabulary for
 * a byte each (the table of GPT-2), and `▁` for a space elsewhere. <unk> does not say what it replaced.
 */
import { z } from "zod";

const part = z.looseObject({ type: z.string() });
const shape = z.looseObject({
  pre_tokenizer: z.unknown(),
  decoder: z.unknown(),
  model: z.looseObject({ byte_fallback: z.boolean().nullish(), unk_token: z.string().nullish() }),
});

/** `added`: the texts of added tokens. The function gives null for a token without bytes of its own. */
export function surfacesOf(tokenizer: object, added: ReadonlySet<string>): (token: string) => Uint8Array | null {
  const { pre_tokenizer, decoder, model } = shape.parse({ pre_tokenizer: null, decoder: null, ...tokenizer });
  const byteLevel = hasPart(decoder, "ByteLevel") || hasPart(pre_tokenizer, "ByteLevel");
  const utf8 = new TextEncoder();
  return (token) => {
    if (token === model.unk_token) return null;
    if (added.has(token)) return utf8.encode(token);
    if (model.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(token))
      return Uint8Array.of(Number.parseInt(token.slice(3, 5), 16));
    if (!byteLevel) return utf8.encode(token.replaceAll("▁", " "));
    const bytes = [...token].map((character) => byteOfCharacter.get(character));
    return bytes.every((b) => b !== undefined) ? Uint8Array.from(bytes) : utf8.encode(token);
  };
}

function hasPart(value: unknown, type: string): boolean {
  if (Array.isArray(value)) return value.some((v) => hasPart(v, type));
  const read = part.safeParse(value);
  return (
    read.success &&
    (read.data.type === type || Object.values(read.data).some((v) => Array.isArray(v) && hasPart(v, type)))
  );
}

/** Printable Latin-1 stands for itself; the other bytes, in order, for the characters from 256 on. */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const byte = new Map<string, number>();
  let next = 256;
  for (let b = 0; b < 256; b++) {
    const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    byte.set(String.fromCharCode(printable ? b : next++), b);
  }
  return byte;
})();
