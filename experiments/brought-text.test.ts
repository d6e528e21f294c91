/** Parts are disjoint, complete and the same every time; what a text looks like is told from its content. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { dealt, lookAt, parts } from "./brought-text.ts";

const SEPARATOR = "<|endoftext|>";

test("documents are dealt in turn, each to one part, and none is lost", () => {
  fc.assert(
    fc.property(fc.integer({ min: 5, max: 60 }), (n) => {
      const documents = Array.from({ length: n }, (_, i) => `document ${i}`);
      const found = dealt(documents.join(SEPARATOR), { kind: "text", separator: SEPARATOR });
      const all = parts.flatMap((p) => (found[p] ?? "").split(SEPARATOR));
      expect(all.sort()).toEqual(documents.sort());
      expect(found.select?.split(SEPARATOR)).toHaveLength(Math.floor((n + 1) / 5));
    }),
  );
});

test("a text without documents is cut at line ends, in order", () => {
  const content = Array.from({ length: 50 }, (_, i) => `line ${i} of a text that goes on\n`).join("");
  const found = dealt(content, { kind: "text", separator: null });
  expect(parts.map((p) => found[p]).join("")).toBe(content);
  for (const p of parts) expect(found[p]?.endsWith("\n")).toBe(true);
});

test("questions are known by their lines, and do not calibrate", () => {
  const content = Array.from({ length: 10 }, (_, i) => JSON.stringify({ question: `${i}`, choices: ["a", "b"] })).join(
    "\n",
  );
  expect(lookAt(content)).toMatchObject({ kind: "tasks", questions: 10, separators: [] });
  const found = dealt(content, { kind: "tasks", separator: null });
  expect(found.calibrate).toBeUndefined();
  expect([found.select, found.report].map((p) => p?.split("\n").length)).toEqual([8, 2]);
});

test("the separator is proposed with the documents it gives, and only where it occurs", () => {
  expect(lookAt(`one${SEPARATOR}two${SEPARATOR}`).separators).toEqual([{ separator: SEPARATOR, documents: 2 }]);
  expect(lookAt("one\ntwo").separators).toEqual([]);
});

test("a text of one document, and a separator that never occurs, are refused with what to do", () => {
  const refused = { code: "input/invalid" };
  const of = (content: string, separator: string | null) => () => dealt(content, { kind: "text", separator });
  expect(of("one document", null)).toThrow(expect.objectContaining(refused));
  expect(of("one document", SEPARATOR)).toThrow(expect.objectContaining(refused));
  expect(of("one|two", "|")).toThrow(/too few/);
});
