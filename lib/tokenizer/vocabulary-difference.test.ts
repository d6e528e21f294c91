import { expect, test } from "vitest";
import { vocabularyDifference } from "./vocabulary-difference.ts";

const vocabulary = (...tokens: string[]): Map<string, number> => new Map(tokens.map((t, id) => [t, id]));

test("ids that mean two things are counted, and the first is named", () => {
  const a = vocabulary("<s>", "a", "b", "c");
  expect(vocabularyDifference(a, vocabulary("<s>", "a", "b", "c"))).toBeNull();
  const other = { id: 2, first: "b", second: "c", count: 2 };
  expect(vocabularyDifference(a, vocabulary("<s>", "a", "c", "b"))).toEqual(other);
  expect(vocabularyDifference(a, vocabulary("<bos>", "a", "b", "c"))).toMatchObject({
    id: 0,
    second: "<bos>",
    count: 1,
  });
});

test("ids that only one of the two names are padding, and a space may be written either way", () => {
  const a = vocabulary("<s>", "a");
  expect(vocabularyDifference(vocabulary("▁▁"), vocabulary("  "))).toBeNull();
  expect(vocabularyDifference(a, vocabulary("<s>", "a", "[PAD2]"))).toBeNull();
  expect(vocabularyDifference(vocabulary("<s>", "a", "[PAD2]"), a)).toBeNull();
});
