/**
 * @file Trains a byte-pair tokenizer and writes it as a Hugging Face `tokenizer.json`.
 *
 * Reference: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), in
 * SentencePiece's spelling: a space is ▁, words are split before it, punctuation and line ends stand alone, and what the
 * alphabet lacks falls back to bytes.
 */
import { itemAt } from "../../lib/elements.ts";
export const specials = ["<pad>", "<eos>", "<bos>", "<unk>"] as const;

/** What is kept apart before merging. */
const isolated = /[.,:?!"\n]/u;
/**
 * The pieces of `preTokenize` as one expression that matches every character: splitting at it gives the same pieces in every
 * library. (`MergedWithNext` would say it more simply; the JavaScript library does not have it.)
 */
const pieceSource = '[.,:?!"\\n]|▁?[^▁.,:?!"\\n]+|▁';

/** Pieces that are merged within but never across: `▁kitchen`, `.`, line ends. */
export function preTokenize(text: string): string[] {
  const pieces: string[] = [];
  let current = "";
  for (const c of text.replaceAll(" ", "▁")) {
    if (isolated.test(c)) {
      if (current !== "") pieces.push(current);
      pieces.push(c);
      current = "";
    } else if (c === "▁" && current !== "") {
      pieces.push(current);
      current = c;
    } else current += c;
  }
  if (current !== "") pieces.push(current);
  return pieces;
}

export interface BpeModel {
  readonly vocab: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
}

/** Merges the most frequent pair (ties: the pair first in code-point order) until the vocabulary is full. */
export function trainBpe(texts: Iterable<string>, vocabSize: number): BpeModel {
  const counts = new Map<string, number>();
  for (const text of texts) for (const piece of preTokenize(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  const words = [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([word, count]) => ({ symbols: [...word], count }));
  const vocab = new Map<string, number>();
  const add = (token: string): void => {
    if (!vocab.has(token)) vocab.set(token, vocab.size);
  };
  for (const s of specials) add(s);
  for (let b = 0; b < 256; b++) add(byteToken(b));
  for (const c of [...new Set(words.flatMap((w) => w.symbols))].sort()) add(c);
  const merges: [string, string][] = [];
  while (vocab.size < vocabSize) {
    const pairs = new Map<string, number>();
    for (const { symbols, count } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const key = `${symbols[i]} ${symbols[i + 1]}`;
        pairs.set(key, (pairs.get(key) ?? 0) + count);
      }
    }
    let best = "";
    let most = 1;
    for (const [key, count] of pairs)
      if (count > most || (count === most && best !== "" && key < best)) [best, most] = [key, count];
    if (best === "") break;
    const [left, right] = best.split(" ") as [string, string];
    merges.push([left, right]);
    add(left + right);
    for (const word of words) word.symbols = mergePair(word.symbols, left, right);
  }
  // A corpus too small to fill the vocabulary leaves unused entries, so that the size is always what was asked for.
  for (let i = 0; vocab.size < vocabSize; i++) add(`<unused${i}>`);
  return { vocab, merges };
}

export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

function mergePair(symbols: string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i++;
    } else out.push(itemAt(symbols, i));
  }
  return out;
}

/** Encodes without BOS, with every piece's tokens remembered: fast enough for millions of tokens. */
export function bpeEncoder(model: BpeModel): (text: string) => number[] {
  const rank = new Map(model.merges.map(([l, r], i) => [`${l} ${r}`, i]));
  const known = new Map<string, number[]>();
  const utf8 = new TextEncoder();
  const encodePiece = (piece: string): number[] => {
    let symbols = [...piece];
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < symbols.length; i++)
        best = Math.min(best, rank.get(`${symbols[i]} ${symbols[i + 1]}`) ?? best);
      const merge = model.merges[best];
      if (!merge) break;
      symbols = mergePair(symbols, merge[0], merge[1]);
    }
    return symbols.flatMap((s) => {
      const id = model.vocab.get(s);
      return id === undefined ? [...utf8.encode(s)].map((b) => model.vocab.get(byteToken(b)) ?? 3) : [id];
    });
  };
  return (text) => {
    const ids: number[] = [];
    for (const piece of preTokenize(text)) {
      let tokens = known.get(piece);
      if (!tokens) {
        tokens = encodePiece(piece);
        known.set(piece, tokens);
      }
      for (const id of tokens) ids.push(id);
    }
    return ids;
  };
}

/** The files `tokenizer.json` and `tokenizer_config.json` as objects. */
export function tokenizerFiles(model: BpeModel): { tokenizer: unknown; config: unknown } {
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: { type: "Split", pattern: { Regex: pieceSource }, behavior: "Isolated", invert: false },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<bos>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [
        { SpecialToken: { id: "<bos>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "<bos>", type_id: 1 } },
        { Sequence: { id: "B", type_id: 1 } },
      ],
      special_tokens: { "<bos>": { id: "<bos>", ids: [2], tokens: ["<bos>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(model.vocab),
      merges: model.merges.map(([l, r]) => [l, r]),
    },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<bos>",
    eos_token: "<eos>",
    pad_token: "<pad>",
    unk_token: "<unk>",
    add_bos_token: true,
    clean_up_tokenization_spaces: false,
    model_max_length: 256,
  };
  return { tokenizer, config };
}
