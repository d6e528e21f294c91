/**
 * @file The text of one token as it stands inside a text, with the space before it.
 *
 * Decoders of SentencePiece take away the space at the beginning of what they decode, so a token that is decoded alone has lost it.
 * Decoded twice in a row, the second one has it:
 *
 *   text(t) = decode(t t) − decode(t)
 */
import type { Tokenizer } from "./tokenizer.ts";

/** Empty for special tokens, U+FFFD for a token that is part of a character. */
export function tokenText({ decode }: Pick<Tokenizer, "decode">, id: number): string {
  return decode([id, id]).slice(decode([id]).length);
}
