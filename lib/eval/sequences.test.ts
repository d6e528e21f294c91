import fc from "fast-check";
import { expect, test } from "vitest";
import { bytePairMetadata, sentencePieceMetadata } from "../../test/fixtures/gguf-tokenizer.ts";
import { tokenizerFilesFromGguf } from "../tokenizer/gguf-tokenizer.ts";
import { type Tokenizer, tokenizerOf } from "../tokenizer/tokenizer.ts";
import { byteEnds } from "./byte-ends.ts";
import { predictedTokens, protocolString, sequencesFromText } from "./sequences.ts";

function opened(metadata: ReadonlyMap<string, unknown>): Tokenizer {
  const { tokenizer, config, generation } = tokenizerFilesFromGguf(metadata);
  return tokenizerOf({ tokenizer, own: config, generation, model: null }, "a file");
}
const without = opened(bytePairMetadata());
const withBos = opened(sentencePieceMetadata());
const around = opened(sentencePieceMetadata({ "tokenizer.ggml.add_eos_token": true }));

const size = (text: string): number => Buffer.byteLength(text);
const TEXT = "hello world 日本 👩‍👩‍👧‍👦 é\n\n  東京は12時 🙂🙂🙂  hello\n".repeat(9);

test("the bytes of all windows are those of the text, whatever characters the windows cut", () => {
  const windows = sequencesFromText(TEXT, withBos, { context: 16 });
  expect(windows.length).toBeGreaterThan(20);
  expect(windows.reduce((n, s) => n + s.sizeBytes, 0)).toBe(size(TEXT));
});

test("bytes of a window agree with a count by hand, token by token", () => {
  // Every token but the first of a window is predicted, since nothing stands before it.
  const stream = without.encode(TEXT);
  const bytesOf = (id: number): number => {
    if (id < 3) return 0;
    const single = 3 + 256;
    return id < single ? 1 : size(without.decode([id]));
  };
  const windows = sequencesFromText(TEXT, without, { context: 16 });
  for (const [w, s] of windows.entries()) {
    const part = stream.slice(16 * w, 16 * w + 16);
    expect([...s.ids]).toEqual(part);
    expect(s.sizeBytes).toBe(part.slice(1).reduce((n, id) => n + bytesOf(id), 0));
  }
});

test.each([
  ["auto", without, [], [], "BOS as the tokenizer adds it: none"],
  ["always", without, [1], [], "BOS always: <|im_start|>"],
  ["never", without, [], [], "BOS never"],
  ["auto", withBos, [2], [], "BOS as the tokenizer adds it: <bos>"],
  ["always", withBos, [2], [], "BOS always: <bos>"],
  ["never", withBos, [], [], "BOS never"],
  ["auto", around, [2], [1], "BOS as the tokenizer adds it: <bos>, EOS as the tokenizer adds it: <eos>"],
] as const)("--bos %s: %#", (bos, codec, begin, end, described) => {
  const protocol = { context: 64, separator: "|", bos };
  const documents = sequencesFromText("hello|world", codec, protocol);
  expect(documents.map((s) => [...s.ids])).toEqual(
    ["hello", "world"].map((d) => [...begin, ...codec.encode(d), ...end]).filter((ids) => ids.length > 1),
  );
  expect(protocolString("a.txt", protocol, codec, documents)).toContain(described);
  // The end token is predicted and takes up no bytes; a first token that nothing stands before is not predicted.
  for (const s of documents) expect(s.sizeBytes).toBeLessThanOrEqual(5);
  if (begin.length > 0) expect(documents[0]?.sizeBytes).toBe(5);
  expect(sequencesFromText(TEXT, codec, { context: 16, bos }).every((s) => s.ids[0] === (begin[0] ?? s.ids[0]))).toBe(
    true,
  );
});

test("--bos always without a BOS is refused", () => {
  const nameless = opened(bytePairMetadata({ "tokenizer.ggml.bos_token_id": undefined }));
  expect(() => sequencesFromText("hello", nameless, { context: 8, bos: "always" })).toThrow(
    expect.objectContaining({ code: "input/invalid", message: expect.stringContaining("names no BOS") }),
  );
});

test("no more tokens are predicted than asked for: the last sequence is cut, and its bytes with it", () => {
  for (const codec of [without, withBos]) {
    const whole = sequencesFromText(TEXT, codec, { context: 16 });
    for (const maxTokens of [1, 14, 15, 16, 40, 101]) {
      const cut = sequencesFromText(TEXT, codec, { context: 16, maxTokens });
      expect(cut.reduce((n, s) => n + predictedTokens(s), 0)).toBe(maxTokens);
      expect(cut.slice(0, -1)).toEqual(whole.slice(0, cut.length - 1));
      expect(cut.at(-1)?.sizeBytes).toBeLessThanOrEqual(whole[cut.length - 1]?.sizeBytes ?? 0);
    }
  }
});

test("a separator that separates nothing is refused with its count", () => {
  expect(() => sequencesFromText("hello", without, { context: 8, separator: "" })).toThrow(/--separator is empty/);
  expect(() => sequencesFromText("hello", without, { context: 8, separator: "<|end|>" })).toThrow(
    /"<\|end\|>" 0 times/,
  );
});

test("ends of tokens never fall and reach the end, whatever the tokenizer did to the text", () => {
  const word = fc.constantFrom("a", "bc", " d", "é", "日本", " ", "🙂");
  fc.assert(
    fc.property(fc.array(fc.record({ text: word, as: fc.option(word) }), { minLength: 1, maxLength: 40 }), (pieces) => {
      const text = Buffer.from(pieces.map((p) => p.text).join(""));
      const ends = byteEnds(
        text,
        pieces.map((p) => (p.as === null ? null : Buffer.from(p.as))),
      );
      expect(ends.length).toBe(pieces.length);
      for (const [i, end] of ends.entries()) expect(end).toBeGreaterThanOrEqual(ends[i - 1] ?? 0);
      expect(ends.at(-1)).toBe(text.length);
    }),
  );
  const surfaces = (...list: (string | null)[]) => list.map((s) => (s === null ? null : Buffer.from(s)));
  // A space put before the text; an <unk> for two letters; a character composed.
  expect([...byteEnds(Buffer.from("ab xyc"), surfaces(" ab", " ", null, "c"))]).toEqual([2, 3, 5, 6]);
  expect([...byteEnds(Buffer.from("e\u0301 a"), surfaces("é", " a"))]).toEqual([3, 5]);
});
