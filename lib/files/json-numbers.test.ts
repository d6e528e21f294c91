import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonLike, numberLiterals } from "./json-numbers.ts";
import { parsedJson } from "./json-text.ts";

test("every number keeps the form it was written in", () => {
  const text = `{ "cap": 30.0, "eps": 1e-06, "theta": 1E6, "big": 12345678901234567890123, "zero": -0.0, "tiny": 0.10,
    "ids": [1, 2.0, [3e0]], "text": "a \\"4.0\\" }", "nested": { "cap": 50.00, "nothing": null, "yes": true } }`;
  const written = jsonLike(JSON.parse(text), [numberLiterals(text)]);
  expect(written.replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
  expect(JSON.parse(written)).toEqual(JSON.parse(text));
});

test("a changed number is written anew, one that moved is not mistaken for another", () => {
  const source = numberLiterals('{ "a": 30.0, "b": 2.0, "list": [1.0, 2.0] }');
  expect(jsonLike({ a: 31, c: 2, list: [2, 2] }, [source])).toBe(
    '{\n  "a": 31,\n  "c": 2,\n  "list": [\n    2,\n    2.0\n  ]\n}',
  );
});

test("numbers that only Python writes stay too", () => {
  const text = '{"limit":[0.0,Infinity,-Infinity,NaN]}';
  expect(jsonLike(parsedJson(text, "a"), [numberLiterals(text)]).replaceAll(/\s/g, "")).toBe(text);
});

test("the first source that has the value decides", () => {
  const [inner, outer] = ['{ "cap": 30.0 }', '{ "cap": 30.00, "eps": 1e-6 }'].map(numberLiterals);
  expect(jsonLike({ cap: 30, eps: 1e-6 }, [inner, outer])).toBe('{\n  "cap": 30.0,\n  "eps": 1e-6\n}');
});

test("without a source, whole numbers under float keys get a point", () => {
  expect(jsonLike({ cap: 30, heads: 4, list: { cap: 2.5 } }, [undefined], new Set(["cap"]))).toBe(
    '{\n  "cap": 30.0,\n  "heads": 4,\n  "list": {\n    "cap": 2.5\n  }\n}',
  );
});

test("without numbers to keep it writes what JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      expect(jsonLike(value, [undefined])).toBe(JSON.stringify(value, null, 2));
      expect(JSON.parse(jsonLike(JSON.parse(text), [numberLiterals(text)]))).toEqual(JSON.parse(text));
    }),
  );
});
