import { expect, test } from "vitest";
import type { WidthMapCell, WidthMapColumn } from "../../experiments/kinds/sensitivity/width-map.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";
import { isStoredAlike, type Settings, settingsOf, widthMapConfig } from "./settings.ts";
import {
  allocationPath,
  announce,
  budgetRange,
  calibration,
  columnBoxes,
  costDomain,
  groupsOf,
  measuringNow,
  movedCell,
  placeFinalists,
} from "./width-map-model.ts";

const column = (layer: number | null, role: WidthMapColumn["role"]): WidthMapColumn => ({
  tensor: layer === null ? role : `L${layer}.${role}`,
  layer,
  role,
  elements: 100,
  fp16Bytes: 200,
});
const columns = [column(null, "embedding"), column(0, "query"), column(0, "down"), column(1, "query")];
const widths: Width[] = ["palette8", "palette4", "palette2"];
const cell = (tensor: string, width: Width, kl: number, sizeBytes: number): WidthMapCell => ({
  tensor,
  width,
  sizeBytes,
  bitsPerWeight: sizeBytes / 12.5,
  kl: { mean: kl, standardError: kl / 10 },
  loss: { mean: -kl, standardError: kl / 10 },
  agreement: { mean: 1, standardError: 0 },
});

test("columns are grouped by layer, and lie side by side with room between layers", () => {
  const groups = groupsOf(columns);
  expect(groups.map((g) => [g.name, g.columns.length])).toEqual([
    ["embed", 1],
    ["L0", 2],
    ["L1", 1],
  ]);
  const { boxes, width } = columnBoxes(groups, 454, 40);
  expect(width).toBe(454);
  expect([...boxes.values()].map((b) => b.x)).toEqual([40, 147, 247, 354]);
  // Too narrow: it scrolls rather than shrinks below what a finger hits.
  expect(columnBoxes(groups, 50, 40).width).toBe(40 + 4 * 12 + 2 * 7);
});

test("the line is level in a column, upright between two, and breaks at the embedding and where nothing is chosen", () => {
  const groups = groupsOf(columns);
  const { boxes } = columnBoxes(groups, 454, 40);
  const chosen = { embedding: "palette2", "L0.query": "palette4", "L0.down": "palette2", "L1.query": "palette2" };
  const path = allocationPath(groups, boxes, widths, chosen, (row) => row * 10);
  expect(path).toBe("M40 20H140M147 10H247H247V20H347H354V20H454");
  expect(allocationPath(groups, boxes, widths, { "L1.query": "palette8" }, (r) => r)).toBe("M354 0H454");
});

test("a cell is read out with its unit, its width and its cost", () => {
  const query = column(3, "query");
  const at = (kl: number) => cell("L3.query", "palette4", kl, 50);
  expect(announce(query, "palette4", at(0.0041), "kl", false)).toBe(
    "L3 query, 4 bit, plus 0.0041 nats, standard error 0.0004",
  );
  expect(announce(query, "palette4", at(0.0041), "loss", false)).toMatch(/minus 0.0041 nats/);
  expect(announce(query, "affine8", undefined, "kl", false)).toBe("L3 query, int8, not measured yet");
  expect(announce(query, "palette2", undefined, "kl", true)).toBe("L3 query, 2 bit, measuring now");
  expect(announce(columns[0] as WidthMapColumn, "fp16", undefined, "kl", false)).toMatch(/^embedding, fp16/);
});

test("the cell at work is the first that is missing, most bits first", () => {
  const known = [...columns.map((c) => cell(c.tensor, "palette8", 1, 1)), cell("embedding", "palette4", 1, 1)];
  expect(measuringNow(columns, widths, known)).toBe("L0.query palette4");
  expect(measuringNow(columns, ["palette8"], known)).toBeNull();
});

test("arrows move by cells and stop at the edges; pages move by layers", () => {
  const at = { column: 1, row: 1 };
  expect(movedCell(columns, 3, at, "ArrowRight")).toEqual({ column: 2, row: 1 });
  expect(movedCell(columns, 3, { column: 0, row: 0 }, "ArrowLeft")).toEqual({ column: 0, row: 0 });
  expect(movedCell(columns, 3, { column: 3, row: 2 }, "ArrowDown")).toEqual({ column: 3, row: 2 });
  expect(movedCell(columns, 3, at, "End")).toEqual({ column: 3, row: 1 });
  expect(movedCell(columns, 3, at, "PageDown")).toEqual({ column: 3, row: 1 });
  expect(movedCell(columns, 3, at, "x")).toBeNull();
});

test("colours span six decades below the largest cost, and hold still when there is none", () => {
  const [low, high] = costDomain([cell("L0.query", "palette2", 0.03, 1)], "kl");
  expect(high).toBeCloseTo(0.1, 12);
  expect(low / high).toBeCloseTo(1e-6, 12);
  expect(costDomain([], "kl")[1]).toBeCloseTo(1e-3, 12);
});

test("what was measured whole corrects the prediction only when it was stored alike, to the byte", () => {
  const cells = columns.flatMap((c) => [cell(c.tensor, "palette4", 0.01, 60), cell(c.tensor, "palette2", 0.1, 30)]);
  const map = { cells, columns, fixedBytes: 10 };
  expect(budgetRange(map)).toEqual([130, 250]);
  expect(budgetRange({ ...map, cells: cells.slice(0, 2) })).toEqual([640, 670]);
  const recipe = Object.fromEntries(columns.map((c) => [c.tensor, "palette4"]));
  const finalist = { model: "m", recipe, kl: 0.05, standardError: 0.001 };
  const placed = placeFinalists(
    [
      { ...finalist, sizeBytes: 250 },
      { ...finalist, sizeBytes: 260 },
    ],
    map,
  );
  expect(placed.map((f) => f.isUniform)).toEqual([true, true]);
  expect(placed[0]?.predicted).toBeCloseTo(0.04, 12);
  expect(placed[1]?.predicted).toBeNull();
  expect(calibration(placed)).toHaveLength(1);
});

test("a width map's config and its pickers say the same", () => {
  for (const settings of [
    { model: "starter", scheme: "palette-fisher", group: 8, text: "t", separator: "|", limit: 4 },
    { model: "starter", scheme: "affine", group: 0, text: "t", separator: null, limit: 16 },
    { model: "starter", scheme: "affine-activation", group: 32, text: "t", separator: null, limit: 16 },
  ] satisfies Settings[])
    expect(settingsOf(widthMapConfig(settings))).toEqual(settings);
  expect(settingsOf({ model: "m", text: "t", units: ["heads"], widths: ["palette8"] })).toBeNull();
  const one: Settings = { model: "m", scheme: "palette", group: 16, text: "t", separator: null, limit: 4 };
  expect(isStoredAlike(one, { ...one, text: "u", limit: 8 })).toBe(true);
  expect(isStoredAlike(one, { ...one, group: 8 })).toBe(false);
});
