import { expect, test } from "vitest";
import { leadingSequences } from "./leading-sequences.ts";
import { sequencesFromText } from "./sequences.ts";
import type { TextCodec } from "./text-codec.ts";

/** A word a token, and one that ends the text; counts what it is given. */
function codec(): TextCodec & { characters: number } {
  const self = {
    characters: 0,
    startId: null,
    encode: (text: string): number[] => [...self.encodeWithEnds(text).ids],
    encodeWithEnds(text: string) {
      self.characters += text.length;
      const words = [...text.matchAll(/\S+/g)];
      return { ids: words.map((w) => w[0].length), byteEnds: words.map((w) => w.index + w[0].length) };
    },
    addedTokens: () => ({ begin: [], end: [999], described: "an end" }),
  };
  return self;
}

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

test("the first windows are those of the whole text, which is not read", () => {
  const text = lines(5_000, (i) => `${"a".repeat(1 + (i % 7))} bb ${"c".repeat(1 + (i % 5))}`);
  const [part, whole] = [codec(), codec()];
  const protocol = { limit: 4, context: 16 };
  expect(leadingSequences(text, part, protocol)).toEqual(sequencesFromText(text, whole, protocol));
  expect(part.characters).toBeLessThan(whole.characters / 10);
});

test("a text with fewer tokens at its beginning than it seems is read whole", () => {
  const text = `${" ".repeat(2_000)}\n${lines(3_000, () => "word")}`;
  const protocol = { limit: 4, context: 16 };
  expect(leadingSequences(text, codec(), protocol)).toEqual(sequencesFromText(text, codec(), protocol));
  const long = lines(40, (i) => (i < 30 ? "w".repeat(100) : "end"));
  expect(leadingSequences(long, codec(), { limit: 2, context: 16 })).toEqual(
    sequencesFromText(long, codec(), { limit: 2, context: 16 }),
  );
});
