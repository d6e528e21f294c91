import { expect, test } from "vitest";
import {
  columnUnits,
  groupUnits,
  lowest,
  moved,
  parseSelection,
  rectangleUnits,
  rowUnits,
  toggled,
} from "./head-grid-model.ts";

const shape = {
  heads: [4, 2, 4],
  groupOf: [
    [0, 0, 1, 1],
    [0, 1],
    [0, 0, 1, 1],
  ],
};

test("rows, columns, groups and rectangles name the heads a layer really has", () => {
  expect(rowUnits(shape, 1)).toEqual(["L1.H0", "L1.H1"]);
  expect(columnUnits(shape, 3)).toEqual(["L0.H3", "L2.H3"]);
  expect(groupUnits(shape, { layer: 2, head: 3 })).toEqual(["L2.H2", "L2.H3"]);
  expect(rectangleUnits(shape, { layer: 2, head: 1 }, { layer: 0, head: 3 })).toEqual([
    "L0.H1",
    "L0.H2",
    "L0.H3",
    "L1.H1",
    "L2.H1",
    "L2.H2",
    "L2.H3",
  ]);
});

test("a second toggle restores; a half dropped set is dropped whole first", () => {
  const once = toggled(new Set(["L0.H0"]), ["L0.H0", "L0.H1"]);
  expect([...once].sort()).toEqual(["L0.H0", "L0.H1"]);
  expect(toggled(once, ["L0.H0", "L0.H1"]).size).toBe(0);
});

test("focus stays on heads that are there", () => {
  expect(moved(shape, { layer: 0, head: 3 }, "ArrowUp")).toEqual({ layer: 1, head: 1 });
  expect(moved(shape, { layer: 0, head: 0 }, "ArrowDown")).toEqual({ layer: 0, head: 0 });
  expect(moved(shape, { layer: 2, head: 0 }, "End")).toEqual({ layer: 2, head: 3 });
  expect(moved(shape, { layer: 0, head: 0 }, "x")).toBeNull();
});

test("the lowest are the least, and addresses hold only names of heads", () => {
  const cells = [3, -1, 2, null].map((value, i) => ({ unit: `L0.H${i}`, value, standardError: 0 }));
  expect(lowest(cells, 2)).toEqual(new Set(["L0.H1", "L0.H2"]));
  expect(parseSelection("L0.H1,<script>,L12.H3,L1")).toEqual(new Set(["L0.H1", "L12.H3"]));
});
