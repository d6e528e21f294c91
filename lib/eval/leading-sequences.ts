/**
 * @file The first windows of a long text without turning all of it into tokens.
 *
 * Windows are cut from the tokens of the whole text, yet the first ones rest on its beginning alone: what tokenizers look
 * at ends with a line or soon after it. So a text of which only some windows are asked for is cut at a line's end far behind
 * them; where the windows come out fewer than asked for, the whole text is read after all.
 */
import { sequencesFromText, type TextProtocol, type TokenSequence } from "./sequences.ts";
import type { TextCodec } from "./text-codec.ts";

/** Characters for each token that is asked for; released tokenizers make 3 to 5 of most languages. */
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
