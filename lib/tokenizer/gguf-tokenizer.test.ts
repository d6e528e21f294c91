import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { byteCharacters, bytePairMetadata, sentencePieceMetadata } from "../../test/fixtures/gguf-tokenizer.ts";
import { EspalierError } from "../errors.ts";
import { tokenizerFilesFromGguf } from "./gguf-tokenizer.ts";

const opened = (metadata: ReadonlyMap<string, unknown>): Tokenizer => {
  const { tokenizer, config } = tokenizerFilesFromGguf(metadata);
  return new Tokenizer(tokenizer, config);
};
const idsOf = (metadata: ReadonlyMap<string, unknown>, text: string): number[] =>
  opened(metadata).encode(text, { add_special_tokens: false }).ids;

const list = (metadata: ReadonlyMap<string, unknown>, name: string): unknown[] => {
  const value = metadata.get(`tokenizer.ggml.${name}`);
  return Array.isArray(value) ? value : [];
};

/** Cuts out, longest first, every token of the types given; what is left goes through `rest`. */
function naive(metadata: ReadonlyMap<string, unknown>, text: string, rest: (piece: string) => number[]): number[] {
  const tokens = list(metadata, "tokens").map(String);
  const types = list(metadata, "token_type");
  const whole = tokens.filter((_, id) => [2, 3, 4].includes(Number(types[id]))).sort((a, b) => b.length - a.length);
  let parts: (string | number)[] = [text];
  for (const token of whole) {
    parts = parts.flatMap((part) =>
      typeof part === "number"
        ? [part]
        : part.split(token).flatMap((p, i) => (i === 0 ? [p] : [tokens.indexOf(token), p])),
    );
  }
  return parts.flatMap((part) => (typeof part === "number" ? [part] : part === "" ? [] : rest(part)));
}

/** Joins the best pair over and over; `rank` is lower for better pairs, undefined for none. */
function joined(symbols: string[], rank: (left: string, right: string) => number | undefined): string[] {
  for (;;) {
    let best = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const r = rank(symbols[i] ?? "", symbols[i + 1] ?? "");
      if (r !== undefined && r < lowest) [best, lowest] = [i, r];
    }
    if (best < 0) return symbols;
    symbols = [...symbols.slice(0, best), `${symbols[best]}${symbols[best + 1]}`, ...symbols.slice(best + 2)];
  }
}

function naiveSentencePiece(metadata: ReadonlyMap<string, unknown>, text: string): number[] {
  const tokens = list(metadata, "tokens").map(String);
  const scores = list(metadata, "scores").map(Number);
  const normal = new Map(tokens.flatMap((t, id) => (list(metadata, "token_type")[id] === 1 ? [[t, id]] : [])));
  const prefix = metadata.get("tokenizer.ggml.add_space_prefix") === true ? "▁" : "";
  return naive(metadata, text, (piece) =>
    joined([...(prefix + piece.replaceAll(" ", "▁"))], (l, r) => {
      const id = normal.get(l + r);
      return id === undefined ? undefined : -(scores[id] ?? 0);
    }).flatMap((symbol) => {
      const id = normal.get(symbol);
      if (id !== undefined) return [id];
      return [...new TextEncoder().encode(symbol)].map((b) =>
        tokens.indexOf(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`),
      );
    }),
  );
}

function naiveSmollm(metadata: ReadonlyMap<string, unknown>, text: string): number[] {
  const tokens = list(metadata, "tokens").map(String);
  const merges = list(metadata, "merges").map(String);
  const letters = byteCharacters();
  return naive(metadata, text, (piece) =>
    piece
      .split(/(\p{N})/u)
      .flatMap((p) => p.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [])
      .flatMap((word) => {
        const symbols = [...new TextEncoder().encode(word)].map((b) => letters[b] ?? "");
        return joined(symbols, (l, r) => {
          const rank = merges.indexOf(`${l} ${r}`);
          return rank < 0 ? undefined : rank;
        });
      })
      .map((symbol) => tokens.indexOf(symbol)),
  );
}

const corpus = [
  "hello world",
  "  hello   world\n\n\nhello",
  "in 12  12 and é日本 🙂",
  "<bos>hello<eos> <|im_start|>hello<tool>",
  "<0x41> ▁▁ \t\u00a0 héllo",
  " ",
  "    \n    ",
];
const anyText = fc
  .array(fc.constantFrom(..."helowrd12é日本🙂 \n▁", "<bos>", "<|im_end|>", "<tool>", "  "), { maxLength: 30 })
  .map((p) => p.join(""));

test("byte-level pairs with numbers apart give the ids of a naive encoder", () => {
  const metadata = bytePairMetadata();
  const t = opened(metadata);
  fc.assert(
    fc.property(fc.oneof(fc.constantFrom(...corpus), anyText), (text) => {
      const ids = text === "" ? [] : t.encode(text, { add_special_tokens: true }).ids;
      expect(ids).toEqual(naiveSmollm(metadata, text));
    }),
  );
  expect(idsOf(metadata, "  12")).not.toEqual(idsOf(bytePairMetadata({ "tokenizer.ggml.pre": "gpt-2" }), "  12"));
});

test.each([false, true])(
  "scores give the ids of a naive SentencePiece encoder, with a space before the text: %s",
  (prefix) => {
    const metadata = sentencePieceMetadata({ "tokenizer.ggml.add_space_prefix": prefix });
    const t = opened(metadata);
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...corpus), anyText), (text) => {
        const ids = text === "" ? [] : t.encode(text, { add_special_tokens: false }).ids;
        expect(ids).toEqual(naiveSentencePiece(metadata, text));
      }),
    );
    const shown = "hello world é🙂";
    expect(t.decode(t.encode(shown, { add_special_tokens: true }).ids, { skip_special_tokens: true })).toBe(shown);
  },
);

test("special tokens are those the file says the tokenizer adds", () => {
  const around = (more: Record<string, unknown>): number[] => {
    const t = opened(sentencePieceMetadata(more));
    return t.encode("h", { add_special_tokens: true }).ids;
  };
  const [h] = idsOf(sentencePieceMetadata(), "h");
  expect(around({})).toEqual([2, h]);
  expect(around({ "tokenizer.ggml.add_bos_token": false })).toEqual([h]);
  expect(around({ "tokenizer.ggml.add_eos_token": true })).toEqual([2, h, 1]);
  // Where the file does not say: SentencePiece has one, byte-level pairs have none unless they are Llama 3's.
  expect(around({ "tokenizer.ggml.add_bos_token": undefined })).toEqual([2, h]);
  const llama3 = opened(
    bytePairMetadata({ "tokenizer.ggml.add_bos_token": undefined, "tokenizer.ggml.pre": "llama-bpe" }),
  );
  expect(llama3.encode("h", { add_special_tokens: true }).ids[0]).toBe(1);
});

test("configs name the special tokens, all tokens that end a text, and the chat template", () => {
  const files = tokenizerFilesFromGguf(bytePairMetadata({ "tokenizer.ggml.eot_token_id": 0 }));
  expect(files.config).toMatchObject({
    bos_token: "<|im_start|>",
    eos_token: "<|im_end|>",
    add_bos_token: false,
    chat_template: "{{ messages }}",
  });
  expect(files.generation).toEqual({ bos_token_id: 1, eos_token_id: [2, 0] });
  expect(files.chatTemplate).toBe("{{ messages }}");
});

const merges = list(bytePairMetadata(), "merges");
test.each([
  [bytePairMetadata({ "tokenizer.ggml.pre": "falcon" }), "format/unsupported", /"falcon"/],
  [bytePairMetadata({ "tokenizer.ggml.model": "t5" }), "format/unsupported", /"t5"/],
  [bytePairMetadata({ "tokenizer.ggml.merges": undefined }), "format/malformed", /merges.*missing/],
  [
    bytePairMetadata({ "tokenizer.ggml.merges": [...merges, "nospace"] }),
    "format/malformed",
    /merges\[15\] is "nospace"/,
  ],
  [bytePairMetadata({ "tokenizer.ggml.merges": ["q qq"] }), "format/malformed", /merges\[0\] needs the token "qq"/],
  [
    bytePairMetadata({ "tokenizer.ggml.token_type": [1, 2] }),
    "format/malformed",
    /token_type has 2 entries for \d+ tokens/,
  ],
  [bytePairMetadata({ "tokenizer.ggml.bos_token_id": 9999 }), "format/malformed", /bos_token_id is 9999/],
  [
    bytePairMetadata({ "tokenizer.ggml.tokens": ["a", "b", "a"], "tokenizer.ggml.token_type": undefined }),
    "format/malformed",
    /0 and 2 are both "a"/,
  ],
  [bytePairMetadata({ "tokenizer.ggml.tokens": ["a", 7] }), "format/malformed", /tokens\[1\] is 7/],
  [sentencePieceMetadata({ "tokenizer.ggml.scores": undefined }), "format/malformed", /scores.*missing/],
  [sentencePieceMetadata({ "tokenizer.ggml.scores": [0] }), "format/malformed", /scores has 1 entries/],
  [sentencePieceMetadata({ "tokenizer.ggml.add_bos_token": 1 }), "format/malformed", /add_bos_token is 1/],
  [new Map<string, unknown>(), "format/malformed", /no tokenizer.ggml.model/],
])("refused: %#", (metadata, code, message) => {
  expect(() => tokenizerFilesFromGguf(metadata)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});

test("metadata with anything in any field is read or refused with a typed error", () => {
  const strange = fc.oneof(
    fc.constantFrom(
      undefined,
      null,
      -1,
      0,
      7,
      0xffffffff,
      1e9,
      1.5,
      Number.NaN,
      true,
      "",
      "llama",
      "gpt2",
      [],
      [null],
      5n,
    ),
    fc.array(fc.oneof(fc.string(), fc.integer(), fc.constant(" a"), fc.constant("a "))),
  );
  for (const good of [bytePairMetadata(), sentencePieceMetadata()]) {
    fc.assert(
      fc.property(fc.constantFrom(...good.keys()), strange, (key, value) => {
        const metadata = new Map(good).set(key, value);
        try {
          const { tokenizer, config } = tokenizerFilesFromGguf(metadata);
          new Tokenizer(tokenizer, config).encode("hello 12");
        } catch (thrown) {
          if (!(thrown instanceof EspalierError) || thrown.code.startsWith("internal/")) throw thrown;
          expect(thrown.message).not.toContain("[object");
        }
      }),
      { numRuns: 300 },
    );
  }
});
