/**
 * @file Text as token sequences under a named protocol, and sequences as padded batches.
 *
 * Two protocols. `documents`: each document alone, its tokens cut at the context, every token
 * predicted except the first. `windows`: the text as one stream cut into windows of the context
 * that do not overlap. The rule's leading special tokens come before every document and window, and
 * its trailing ones are predicted at the end. A perplexity means nothing without its protocol
 * string.
 *
 * Bytes are those of the predicted tokens in the text itself, by the place of each token: a window may begin inside a character.
 */

import type { SequenceShape } from "../decoder/sequence-programs.ts";
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import type { AddedTokens, BosRule, EncodedText, TextCodec } from "./text-codec.ts";

export interface TokenSequence {
  readonly id: string;
  readonly ids: Int32Array;
  /** The first position that is predicted; earlier ones are context. At least 1. */
  readonly scoredFrom: number;
  /** UTF-8 bytes of the predicted text. */
  readonly sizeBytes: number;
}

export interface TextProtocol {
  /** Given: documents one by one. Absent: windows over the whole text. */
  readonly separator?: string | undefined;
  /** Documents or windows at most. */
  readonly limit?: number | undefined;
  /** Most tokens in a sequence, special ones included. */
  readonly context: number;
  /** Predicted tokens at most, over all. */
  readonly maxTokens?: number | undefined;
  /** Special tokens around a text; default: `auto`. */
  readonly bos?: BosRule | undefined;
  /** Unknown text counts as one <unk>, as in the tokenizer; else as one per byte. */
  readonly fuseUnknown?: boolean | undefined;
}

/** Throws `input/empty` when there is nothing to predict, `input/invalid` for a separator that does
 * not occur. */
export function sequencesFromText(text: string, codec: TextCodec, protocol: TextProtocol): TokenSequence[] {
  if (text.trim() === "") {
    throw new EspalierError("input/empty", "the text is empty", { hint: "Give a file with text in it as --text." });
  }
  const { separator, maxTokens = Number.POSITIVE_INFINITY } = protocol;
  const added = codec.addedTokens(protocol.bos ?? "auto");
  const all =
    separator === undefined
      ? windows(text, codec, protocol, added)
      : documents(splitAtSeparator(text, separator), codec, protocol, added);
  const sequences: TokenSequence[] = [];
  let left = maxTokens;
  for (const piece of all) {
    if (left <= 0) break;
    const s = sequenceOf(piece, added, left);
    sequences.push(s);
    left -= predictedTokens(s);
  }
  if (sequences.length === 0) {
    throw new EspalierError("input/empty", "no document or window has a token to predict", {
      hint: "Check --separator and --context, and that documents have more than one token.",
    });
  }
  return sequences;
}

/** Documents without the white space around them, empty ones left out. Throws `input/invalid` where it does not occur. */
export function splitAtSeparator(text: string, separator: string): string[] {
  if (separator === "") {
    throw new EspalierError("input/invalid", "--separator is empty, which would make every character a document", {
      hint: "Give the string between documents, or leave --separator away for windows over the whole text.",
    });
  }
  const pieces = text.split(separator);
  if (pieces.length === 1) {
    throw new EspalierError("input/invalid", `the text holds the separator ${JSON.stringify(separator)} 0 times`, {
      hint: "Check how documents are separated in it, or leave --separator away for windows over the whole text.",
    });
  }
  return pieces.map((d) => d.trim()).filter((d) => d !== "");
}

export const predictedTokens = (s: TokenSequence): number => s.ids.length - s.scoredFrom;

export const tokensOf = (sequences: readonly TokenSequence[]): number =>
  sequences.reduce((n, s) => n + predictedTokens(s), 0);

/** A stretch of an encoded text, with the start tokens before it. */
interface Piece {
  readonly id: string;
  readonly encoded: EncodedText;
  readonly from: number;
  readonly to: number;
}

function sequenceOf({ id, encoded, from, to }: Piece, { begin }: AddedTokens, mostPredicted: number): TokenSequence {
  const first = Math.max(1, begin.length);
  const last = Math.min(to, from - begin.length + first + mostPredicted);
  const predictedFrom = from + first - begin.length;
  const byteBefore = (token: number): number => (token === 0 ? 0 : (encoded.byteEnds[token - 1] ?? 0));
  return {
    id,
    ids: Int32Array.from([...begin, ...encoded.ids.slice(from, last)]),
    scoredFrom: first,
    sizeBytes: byteBefore(last) - byteBefore(predictedFrom),
  };
}

/** Includes the end tokens, which cover no bytes of the text. */
function encodedWhole(text: string, codec: TextCodec, protocol: TextProtocol, { end }: AddedTokens): EncodedText {
  const { ids, byteEnds } = codec.encodeWithEnds(text, { unknown: protocol.fuseUnknown ? "fused" : "bytes" });
  if (end.length === 0) return { ids, byteEnds };
  const last = byteEnds[ids.length - 1] ?? 0;
  return { ids: [...ids, ...end], byteEnds: Int32Array.from([...Array.from(byteEnds), ...end.map(() => last)]) };
}

function documents(texts: readonly string[], codec: TextCodec, protocol: TextProtocol, added: AddedTokens): Piece[] {
  const size = protocol.context - added.begin.length;
  return texts.slice(0, protocol.limit).flatMap((text, i) => {
    const encoded = encodedWhole(text, codec, protocol, added);
    const to = Math.min(encoded.ids.length, size);
    return to + added.begin.length > Math.max(1, added.begin.length)
      ? [{ id: `document ${i}`, encoded, from: 0, to }]
      : [];
  });
}

function windows(text: string, codec: TextCodec, protocol: TextProtocol, added: AddedTokens): Piece[] {
  const encoded = encodedWhole(text, codec, protocol, added);
  const size = protocol.context - added.begin.length;
  const limit = protocol.limit ?? Number.POSITIVE_INFINITY;
  const found: Piece[] = [];
  for (let from = 0; from < encoded.ids.length && found.length < limit; from += size) {
    const to = Math.min(encoded.ids.length, from + size);
    if (to - from + added.begin.length <= Math.max(1, added.begin.length)) break;
    found.push({ id: `window ${found.length}`, encoded, from, to });
  }
  return found;
}

/** The protocol as one line, to be reported with every number measured under it. */
export function protocolString(
  name: string,
  protocol: TextProtocol,
  codec: TextCodec,
  sequences: readonly TokenSequence[],
): string {
  const kind =
    protocol.separator === undefined
      ? "windows without overlap"
      : `documents split at ${JSON.stringify(protocol.separator)}`;
  const tokens = tokensOf(sequences);
  return `${name}: ${sequences.length} ${kind}, context ${protocol.context}, ${codec.addedTokens(protocol.bos ?? "auto").described}, ${tokens} tokens predicted${protocol.fuseUnknown ? ", unknown text fused" : ""}`;
}

export interface PaddedBatch {
  readonly shape: SequenceShape;
  readonly ids: Int32Array; // (batch, length), padded with 0
  readonly targets: Int32Array; // (batch, length), the next token, 0 where there is none
  /** Index into the sequences given, by row; rows beyond are padding. */
  readonly rows: readonly number[];
}

/** Sequences of similar length side by side, at most `tokensPerBatch` positions each, lengths rounded up to `bucket`. */
export function padIntoBatches(sequences: readonly TokenSequence[], tokensPerBatch = 1024, bucket = 32): PaddedBatch[] {
  const byLength = new Map<number, number[]>();
  for (const [i, s] of sequences.entries()) {
    // The last token is only a target, so it needs no position of its own.
    const length = Math.max(1, Math.ceil((s.ids.length - 1) / bucket)) * bucket;
    const list = byLength.get(length);
    if (list) list.push(i);
    else byLength.set(length, [i]);
  }
  const batches: PaddedBatch[] = [];
  for (const [length, members] of [...byLength].sort((x, y) => x[0] - y[0])) {
    const most = Math.max(1, Math.floor(tokensPerBatch / length));
    // Batches of one size, so that the last is not padded with empty rows.
    const batch = Math.ceil(members.length / Math.ceil(members.length / most));
    for (let at = 0; at < members.length; at += batch) {
      const rows = members.slice(at, at + batch);
      batches.push({ shape: { batch, length }, ...padded(sequences, rows, batch, length), rows });
    }
  }
  return batches;
}

function padded(sequences: readonly TokenSequence[], rows: readonly number[], batch: number, length: number) {
  const ids = new Int32Array(batch * length);
  const targets = new Int32Array(batch * length);
  for (const [row, index] of rows.entries()) {
    const s = itemAt(sequences, index);
    ids.set(s.ids.subarray(0, s.ids.length - 1), row * length);
    targets.set(s.ids.subarray(1), row * length);
  }
  return { ids, targets };
}

/** The positions of one padded row that count: targets from `scoredFrom` on. */
export function scoredRange(s: TokenSequence, row: number, length: number): { from: number; to: number } {
  return { from: row * length + s.scoredFrom - 1, to: row * length + s.ids.length - 1 };
}
