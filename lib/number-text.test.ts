import { expect, test } from "vitest";
import { byteSize, plural } from "./number-text.ts";

test("one of a thing has no s, unless its plural is irregular", () => {
  expect([0, 1, 2].map((n) => plural(n, "head"))).toEqual(["0 heads", "1 head", "2 heads"]);
  expect(plural(2, "copy", "copies")).toBe("2 copies");
});

test("sizes change their unit at powers of 1000", () => {
  const sizes = [0, 999, 1000, 999_949, 1_000_000, 121_700_000, 2.5e9];
  expect(sizes.map((n) => byteSize(n))).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "999.9 kB",
    "1.00 MB",
    "121.70 MB",
    "2.50 GB",
  ]);
  expect(byteSize(4096, "\u2009")).toBe("4.1\u2009kB");
});
