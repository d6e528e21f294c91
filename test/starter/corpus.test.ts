/** The starter's text is made anew wherever it is needed, so it must never change by accident. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  heldOutDocuments,
  heldOutQuestions,
  type Split,
  trainingDocuments,
  trainTokenizer,
} from "../../experiments/starter/corpus.ts";

const hash = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
const splits: Split[] = ["calibrate", "select", "report"];

test("the same text comes from the same seed, on every machine and in every version", () => {
  const next = trainingDocuments(20);
  expect({
    training: hash(Array.from({ length: 500 }, next)),
    ...Object.fromEntries(splits.map((s) => [s, hash([heldOutDocuments(s, 100), heldOutQuestions(s, 200)])])),
  }).toEqual({
    training: "dc95c480ed4b0ae1",
    calibrate: "5e521df5f019e34a",
    select: "6d22c6b0d1c1d5c6",
    report: "0f2167ad5a07b121",
  });
});

test("a longer draw begins with the shorter one, and another seed gives other text", () => {
  expect(heldOutDocuments("report", 30).slice(0, 10)).toEqual(heldOutDocuments("report", 10));
  expect(heldOutQuestions("report", 30).slice(0, 10)).toEqual(heldOutQuestions("report", 10));
  expect(trainingDocuments(21)()).not.toBe(trainingDocuments(20)());
});

test("no story of one split occurs in another, nor in what training reads first", () => {
  const next = trainingDocuments(20);
  const stories = (documents: string[]): string[] =>
    documents.map((d) => d.split("\n")[0] ?? "").filter((story) => story.length > 150);
  const seen = new Map<string, string>();
  for (const [name, documents] of [
    ["training", Array.from({ length: 3000 }, next)],
    ...splits.map((s) => [s, heldOutDocuments(s, 300)] as const),
  ] as const) {
    expect(stories(documents).length).toBeGreaterThan(0.5 * documents.length);
    for (const story of stories(documents)) {
      expect(seen.get(story) ?? name).toBe(name);
      seen.set(story, name);
    }
  }
});

test("the tokenizer trained from it is the one that is shipped", () => {
  const { vocab, merges } = trainTokenizer();
  const path = new URL("../../experiments/starter/model/tokenizer.json", import.meta.url);
  const shipped = JSON.parse(readFileSync(path, "utf8"));
  expect(Object.fromEntries(vocab)).toEqual(shipped.model.vocab);
  expect(merges).toEqual(shipped.model.merges);
}, 60_000);
