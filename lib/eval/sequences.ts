/**
 * @file Text as token sequences under a named protocol, and sequences as padded batches.
 *
 * Two protocols. `documents`: each document alone, BOS + its tokens, cut at the context, every token after the first
 * predicted. `windows`: the text as one stream cut into windows of the context that do not overlap, each with a BOS of
 * its own where the model has one. A perplexity means nothing without its protocol string.
 */

import type { SequenceShape } from "../decoder/programs.ts";
import { EspalierError } from "../errors.ts";

export interface TokenSequence {
  readonly id: string;
  readonly ids: Int32Array;
  /** The first position that is predicted; earlier ones are context. At least 1. */
  readonly scoredFrom: number;
  /** UTF-8 bytes of the predicted text. */
  readonly sizeBytes: number;
}

/** What evaluation needs of a tokenizer. */
export interface TextCodec {
  /** `unknown`: what the vocabulary lacks as one <unk>, as the tokenizer has it, or as one for each byte. */
  encode(text: string, options: { bos: boolean; unknown?: "fused" | "bytes" }): number[];
  decode(ids: readonly number[]): string;
  readonly bosId: number | null;
}

export interface TextProtocol {
  /** Given: documents one by one. Absent: windows over the whole text. */
  readonly separator?: string | undefined;
  /** Documents or windows at most. */
  readonly limit?: number | undefined;
  /** Tokens a sequence may have, BOS included. */
  readonly context: number;
  /** Predicted tokens at most, over all. */
  readonly maxTokens?: number | undefined;
  /** What the vocabulary lacks counts as one <unk>, as the tokenizer has it; else as one for each byte. */
  readonly fuseUnknown?: boolean | undefined;
}

const utf8 = new TextEncoder();
const byteLength = (text: string): number => utf8.encode(text).length;

/** Throws `input/empty` when nothing is left to predict. */
export function sequencesFromText(text: string, codec: TextCodec, protocol: TextProtocol): TokenSequence[] {
  if (text.trim() === "") {
    throw new EspalierError("input/empty", "the text is empty", { hint: "Give a file with text in it as --text." });
  }
  const all =
    protocol.separator === undefined
      ? windows(text, codec, protocol)
      : documents(text, codec, protocol, protocol.separator);
  const sequences: TokenSequence[] = [];
  let left = protocol.maxTokens ?? Number.POSITIVE_INFINITY;
  for (const s of all) {
    if (left <= 0) break;
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

const unknownOf = (protocol: TextProtocol): "fused" | "bytes" => (protocol.fuseUnknown ? "fused" : "bytes");

export const predictedTokens = (s: TokenSequence): number => s.ids.length - s.scoredFrom;

function documents(text: string, codec: TextCodec, protocol: TextProtocol, separator: string): TokenSequence[] {
  const pieces = text.split(separator).map((d) => d.trim());
  const kept = pieces.filter((d) => d !== "").slice(0, protocol.limit);
  return kept.flatMap((piece, i) => {
    const full = codec.encode(piece, { bos: true, unknown: unknownOf(protocol) });
    const ids = full.slice(0, protocol.context);
    if (ids.length < 2) return [];
    const sizeBytes =
      ids.length === full.length
        ? byteLength(piece)
        : byteLength(codec.decode(ids.slice(codec.bosId === null ? 0 : 1)));
    return [{ id: `document ${i}`, ids: Int32Array.from(ids), scoredFrom: 1, sizeBytes }];
  });
}

function windows(text: string, codec: TextCodec, protocol: TextProtocol): TokenSequence[] {
  const stream = codec.encode(text, { bos: false, unknown: unknownOf(protocol) });
  const lead = codec.bosId === null ? [] : [codec.bosId];
  const size = protocol.context - lead.length;
  const found: TokenSequence[] = [];
  for (let at = 0; at < stream.length && found.length < (protocol.limit ?? Number.POSITIVE_INFINITY); at += size) {
    const part = stream.slice(at, at + size);
    if (part.length + lead.length < 2) break;
    const predicted = lead.length === 1 ? part : part.slice(1);
    const sizeBytes = byteLength(codec.decode(predicted));
    found.push({ id: `window ${found.length}`, ids: Int32Array.from([...lead, ...part]), scoredFrom: 1, sizeBytes });
  }
  return found;
}

/** The protocol as one line that belongs to every number measured under it. */
export function protocolString(name: string, protocol: TextProtocol, sequences: readonly TokenSequence[]): string {
  const kind =
    protocol.separator === undefined
      ? "windows without overlap"
      : `documents split at ${JSON.stringify(protocol.separator)}`;
  const tokens = sequences.reduce((n, s) => n + predictedTokens(s), 0);
  return `${name}: ${sequences.length} ${kind}, context ${protocol.context}, BOS where the model has one, ${tokens} tokens predicted${protocol.fuseUnknown ? ", unknown text fused" : ""}`;
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
    const s = sequences[index] as TokenSequence;
    ids.set(s.ids.subarray(0, s.ids.length - 1), row * length);
    targets.set(s.ids.subarray(1), row * length);
  }
  return { ids, targets };
}

/** The positions of one padded row that count: targets from `scoredFrom` on. */
export function scoredRange(s: TokenSequence, row: number, length: number): { from: number; to: number } {
  return { from: row * length + s.scoredFrom - 1, to: row * length + s.ids.length - 1 };
}
