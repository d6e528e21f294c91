import fc from "fast-check";
import { expect, test } from "vitest";
import { parseRuns, parseUnit, showRuns, showUnit, tensorUnit } from "./units.ts";

test.each(["L3.H5", "L0.G1", "L12.N7", "L12.N0-31", "L3.attn", "L3.mlp", "L3"])(
  "%s is read and written alike",
  (name) => {
    expect(showUnit(parseUnit(name))).toBe(name);
  },
);

test("a block names its neurons, both ends included", () => {
  expect(parseUnit("L2.N32-63")).toEqual({ kind: "neurons", layer: 2, index: 32, count: 32 });
});

test.each(["", "L", "L3.X1", "L3.H", "L3.H1-2", "L3.N5-2", "L3.attn1", "H3"])("%j is refused", (text) => {
  expect(() => parseUnit(text)).toThrow(/not a unit/);
});

test("runs hold any ascending list", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(300)), (list) => {
      const ascending = [...list].sort((a, b) => a - b);
      expect(parseRuns(showRuns(ascending))).toEqual(ascending);
    }),
  );
  expect(showRuns([0, 1, 2, 5, 7, 8])).toBe("0-2,5,7-8");
  expect(() => parseRuns("3-1")).toThrow(/not a list/);
});

test("tensors are named by layer and role", () => {
  expect([tensorUnit("L3_query"), tensorUnit("embedding")]).toEqual(["L3.query", "embedding"]);
});
