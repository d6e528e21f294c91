import { expect, test } from "vitest";
import { matches, parseSearch } from "./search.ts";

const run = {
  id: "run_1",
  name: "Palette at four bits",
  kind: "quantize",
  state: "failed",
  reason: "out of memory",
  tags: ["Paper"],
  numbers: { KL: 0.04, "bits per weight": 4.1 },
};
const finds = (text: string): boolean => matches(parseSearch(text), run);

test("fields, numbers and words must all hold", () => {
  expect(finds("")).toBe(true);
  expect(finds("state:failed kind:quantize tag:paper palette")).toBe(true);
  expect(finds("state:lost")).toBe(false);
  expect(finds("KL<0.05 bits-per-weight>4")).toBe(true);
  expect(finds("KL<0.03")).toBe(false);
  expect(finds("accuracy>0")).toBe(false);
  expect(finds("memory")).toBe(true);
});
