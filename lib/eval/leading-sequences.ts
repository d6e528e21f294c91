/**
 * @file The first windows of a long text, without tokenizing all of it.
 *
 * The first windows depend only on the beginning of a text, because a tokenizer never looks far
 * past the end of a line. If only some windows are requested, the text is therefore cut at a line's
 * end far behind them. If that gives too few windows, the whole text is read.
 */
import { sequencesFromText, type TextProtocol, type TokenSequence } from "./sequences.ts";
import type { TextCodec } from "./text-codec.ts";

/** Characters per requested token; released tokenizers use 3 to 5 in most languages. */
const CHARACTERS_PER_TOKEN = 12;

/** As `sequencesFromText`, for windows up to a limit. */
export function leadingSequences(text: string, codec: TextCodec, protocol: TextProtocol): TokenSequence[] {
  const { limit, separator, context, maxTokens } = protocol;
  if (limit !== undefined && separator === undefined && maxTokens === undefined) {
    const end = text.indexOf("\n", limit * context * CHARACTERS_PER_TOKEN);
    if (end >= 0) {
      const lead = text.slice(0, end + 1);
      // One window more than asked for proves that the last one is not cut.
      const found = lead.trim() === "" ? [] : sequencesFromText(lead, codec, { ...protocol, limit: limit + 1 });
      if (found.length > limit) return found.slice(0, limit);
    }
  }
  return sequencesFromText(text, codec, protocol);
}
