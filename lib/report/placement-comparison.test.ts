import { expect, test } from "vitest";
import type { PlacedOperation } from "../cost/program-profile.ts";
import { comparePlacement, type ReportedOperation } from "./placement-comparison.ts";

const op = (
  output: string,
  row: PlacedOperation["row"],
  layer: number | null,
  unit: PlacedOperation["unit"] = "ANE",
) => ({
  output,
  operator: "conv",
  row,
  layer,
  unit,
});
const said = (output: string, preferred: ReportedOperation["preferred"]): ReportedOperation => ({
  output,
  operator: "conv",
  preferred,
  supported: [],
  cost: null,
});
const modelled = [
  op("down_1", "down", 1),
  op("norm_a", "norms", 0),
  op("norm_b", "norms", 0),
  op("norm_c", "norms", 0),
  op("down_0", "down", 0),
  op("lookup", "embedding", null, "CPU"),
  op("scale", "embedding", null),
];

test("without a report the right side is blank, rows stand in the decoder's order and layers in theirs", () => {
  const found = comparePlacement(modelled, null);
  expect(found.map((r) => [r.row, r.cells.map((c) => [c.layer, c.modelled, c.reported])])).toEqual([
    // As many on either: the one that leaves the engine is told.
    ["embedding", [[null, "CPU", null]]],
    ["norms", [[0, "ANE", null]]],
    [
      "down",
      [
        [0, "ANE", null],
        [1, "ANE", null],
      ],
    ],
  ]);
});

test("one operation elsewhere makes a cell differ, and shows where it went, though most stayed", () => {
  const reported = [said("norm_a", "neuralEngine"), said("norm_b", "cpu"), said("norm_c", "neuralEngine")];
  const cell = comparePlacement(modelled, reported).find((r) => r.row === "norms")?.cells[0];
  expect(cell).toMatchObject({ modelled: "ANE", reported: "CPU", operations: 3 });
  expect(cell?.differing).toEqual([{ output: "norm_b", operator: "conv", reported: "CPU" }]);
});

test("what a plan does not name or know says nothing", () => {
  const found = comparePlacement(modelled, [
    said("down_0", "unknown"),
    said("down_1", "neuralEngine"),
    said("x", "cpu"),
  ]);
  const down = found.find((r) => r.row === "down")?.cells;
  expect(down?.map((c) => [c.reported, c.differing.length])).toEqual([
    [null, 0],
    ["ANE", 0],
  ]);
});

test("an operation that was expected elsewhere and ran on the engine differs too", () => {
  const embedding = comparePlacement(modelled, [said("lookup", "neuralEngine"), said("scale", "neuralEngine")])[0];
  expect(embedding?.cells[0]).toMatchObject({ modelled: "CPU", reported: "ANE", differing: [{ output: "lookup" }] });
});
