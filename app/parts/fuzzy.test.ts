import { expect, test } from "vitest";
import { fuzzyScore } from "./fuzzy.ts";

test("letters must come in order", () => {
  expect(fuzzyScore("tdf", "Trade-off")).not.toBeNull();
  expect(fuzzyScore("fdt", "Trade-off")).toBeNull();
  expect(fuzzyScore("", "anything")).toBe(0);
});

test("a word as typed beats scattered letters, the start of a word beats its middle", () => {
  const best = (words: string, ...texts: string[]): string | undefined =>
    texts.toSorted((a, b) => (fuzzyScore(words, b) ?? -1) - (fuzzyScore(words, a) ?? -1))[0];
  expect(best("prune", "prune 3f0a91", "a pure union")).toBe("prune 3f0a91");
  expect(best("run", "prune", "new run")).toBe("new run");
  expect(best("nr", "new run", "winner")).toBe("new run");
});
