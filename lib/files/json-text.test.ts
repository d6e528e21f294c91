import { expect, test } from "vitest";
import { parsedJson } from "./json-text.ts";

test("the numbers that Python writes and JSON does not have are read as Python reads them", () => {
  const text =
    '{"a": [0.0, Infinity, -Infinity,NaN], "b": "NaN, -Infinity \\" Infinity", "NaN": {"Infinity": 1}, "c":NaN}';
  expect(parsedJson(text, "config.json")).toEqual({
    a: [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
    b: 'NaN, -Infinity " Infinity',
    NaN: { Infinity: 1 },
    c: Number.NaN,
  });
});

test.each(['{"a": NaN,}', '{"a": Infinity1}', "{NaN: 1}", '{"a": nan}', '{"a": +Infinity}'])(
  "%s is no JSON in Python either",
  (text) => {
    expect(() => parsedJson(text, "config.json")).toThrow(/config\.json is not JSON/);
  },
);
