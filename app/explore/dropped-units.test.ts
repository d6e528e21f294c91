import fc from "fast-check";
import { expect, test } from "vitest";
import { findUnit } from "../../lib/units.ts";
import { smallAnatomy } from "../../test/fixtures/small-anatomy.ts";
import {
  askedUnits,
  columnUnits,
  describeSelection,
  formatSelection,
  groupUnits,
  isDropped,
  moved,
  parseSelection,
  pieces,
  rectangleUnits,
  replaced,
  rowUnits,
  toggled,
  unitAt,
  whyNotCut,
  within,
} from "./dropped-units.ts";
import { type GridUnit, spokenUnit, unitGrid } from "./grid-units.ts";

const anatomy = smallAnatomy();
const heads = unitGrid(anatomy, "heads");
const groups = unitGrid(anatomy, "groups");
const neurons = unitGrid(anatomy, "neurons");
const layers = unitGrid(anatomy, "layers");
const get = (grid: typeof heads, name: string): GridUnit => {
  const unit = grid.find.get(name);
  if (!unit) throw new Error(`no ${name}`);
  return unit;
};

test("grids name their units", () => {
  expect(heads.rows[2]?.map((u) => u.unit)).toEqual(["L2.H0", "L2.H1", "L2.H2", "L2.H3"]);
  expect(get(groups, "L1.G1").atoms).toEqual(["L1.H2", "L1.H3"]);
  expect(neurons.rows[0]?.map((u) => u.unit)).toEqual(["L0.N0-31", "L0.N32-63"]);
  expect(layers.rows[0]?.map((u) => u.unit)).toEqual(["L0", "L0.attn", "L0.mlp"]);
  expect(unitGrid(anatomy, "neurons", 40).rows[0]?.map((u) => u.unit)).toEqual(["L0.N0-39", "L0.N40-63"]);
});

test("a group is its heads, a layer all of them", () => {
  const dropped = toggled(new Set(), [get(groups, "L1.G0")]);
  expect([...dropped]).toEqual(["L1.H0", "L1.H1"]);
  expect(isDropped(dropped, get(groups, "L1.G0"))).toBe(true);
  expect(isDropped(dropped, get(heads, "L1.H1"))).toBe(true);
  expect(isDropped(dropped, get(heads, "L1.H2"))).toBe(false);
  const layer = toggled(new Set(), [get(layers, "L1")]);
  for (const [grid, name] of [
    [heads, "L1.H3"],
    [groups, "L1.G1"],
    [neurons, "L1.N32-63"],
    [layers, "L1.mlp"],
  ] as const)
    expect(isDropped(layer, get(grid, name))).toBe(true);
  expect(isDropped(new Set(["L1.mlp"]), get(heads, "L1.H0"))).toBe(false);
  expect(isDropped(new Set(["L1.mlp"]), get(neurons, "L1.N0-31"))).toBe(true);
});

test("dropping twice restores; part of a range is completed first", () => {
  const row = rowUnits(heads, 0);
  const one = toggled(new Set(), [row[1] as GridUnit]);
  const all = toggled(one, row);
  expect(all.size).toBe(4);
  expect(toggled(all, row).size).toBe(0);
});

test("toggling any units twice changes nothing unless some were dropped before", () => {
  const units = [...heads.find.values()];
  fc.assert(
    fc.property(fc.subarray(units), fc.subarray(units, { minLength: 1 }), (before, chosen) => {
      const selection = new Set(before.map((u) => u.unit));
      const twice = toggled(toggled(selection, chosen), chosen);
      const mixed = chosen.some((u) => selection.has(u.unit)) && chosen.some((u) => !selection.has(u.unit));
      if (!mixed) expect([...twice].sort()).toEqual([...selection].sort());
      else for (const u of chosen) expect(twice.has(u.unit)).toBe(false);
    }),
  );
});

test("rows, columns, groups and rectangles", () => {
  const names = (units: readonly GridUnit[]): string[] => units.map((u) => u.unit);
  expect(names(columnUnits(heads, 3))).toEqual(["L0.H3", "L1.H3", "L2.H3"]);
  expect(names(groupUnits(heads, get(heads, "L2.H3")))).toEqual(["L2.H2", "L2.H3"]);
  expect(names(groupUnits(neurons, get(neurons, "L2.N0-31")))).toEqual(["L2.N0-31"]);
  expect(names(rectangleUnits(heads, { layer: 2, column: 1 }, { layer: 1, column: 0 }))).toEqual([
    "L1.H0",
    "L1.H1",
    "L2.H0",
    "L2.H1",
  ]);
});

test("keys stay inside the grid", () => {
  expect(moved(heads, { layer: 2, column: 3 }, "ArrowUp")).toEqual({ layer: 2, column: 3 });
  expect(moved(heads, { layer: 2, column: 3 }, "PageDown")).toEqual({ layer: 0, column: 3 });
  expect(moved(heads, { layer: 0, column: 1 }, "End")).toEqual({ layer: 0, column: 3 });
  expect(moved(heads, { layer: 0, column: 1 }, "x")).toBeNull();
  expect(unitAt(heads, { layer: 1, column: 2 })?.unit).toBe("L1.H2");
});

test("a selection survives its address", () => {
  const units = [...heads.find.values(), ...neurons.find.values(), ...layers.find.values()];
  fc.assert(
    fc.property(fc.subarray(units), (chosen) => {
      const selection = new Set(chosen.map((u) => u.unit));
      const text = formatSelection(selection);
      expect([...parseSelection(text)].sort()).toEqual([...selection].sort());
      expect(new URLSearchParams({ drop: text }).toString().replaceAll("%2C", ",")).toBe(
        text === "" ? "drop=" : `drop=${text}`,
      );
    }),
  );
  expect(formatSelection(new Set(["L6.H3", "L6.H0", "L6.H1", "L2", "L6.H12"]))).toBe("L2,L6.H0-1_3_12");
  expect([...parseSelection("L0.H1,L0.H2,<b>,L3.G1,L9999999,L1.N3-1")]).toEqual(["L0.H1", "L0.H2"]);
});

test("what a model does not have is left out", () => {
  expect([...within(new Set(["L0.H3", "L0.H4", "L3.H0", "L1.N32-63", "L1.N64-95", "L2"]), anatomy)]).toEqual([
    "L0.H3",
    "L1.N32-63",
    "L2",
  ]);
});

test("a selection says what it consists of, each atom once", () => {
  const selection = new Set(["L2.H0", "L2.H1", "L1.H3", "L0.H0", "L0.N0-31", "L0.N32-63"]);
  const found = pieces(selection, anatomy);
  expect(found.map((p) => `${p.name}: ${p.what}`)).toEqual([
    "L2.G0: 2 heads and KV",
    "L0 MLP: 64 neurons",
    "2 heads: in 2 layers",
  ]);
  expect(found.flatMap((p) => p.atoms).sort()).toEqual([...selection].sort());
  expect(describeSelection(selection, anatomy)).toBe("4 heads, 1 KV group, 64 neurons dropped");
});

test("a layer that keeps nothing cannot be cut, and it is said why", () => {
  expect(whyNotCut(new Set(["L1.H0", "L1.H1", "L1.H2"]), anatomy)).toBeNull();
  expect(whyNotCut(new Set(["L1.H0", "L1.H1", "L1.H2", "L1.H3"]), anatomy)).toBe("layer 1 would keep no head");
  expect(whyNotCut(new Set(["L1.N0-31", "L1.N32-63"]), anatomy)).toBe("layer 1 would keep no neuron");
  expect(whyNotCut(new Set(["L0", "L1", "L2"]), anatomy)).toBe("no layer would be left");
  expect(whyNotCut(new Set(["L0.attn"]), anatomy)).toContain("L0.attn");
});

test("what cannot be cut can still be asked about", () => {
  const row = ["L1.H0", "L1.H1", "L1.H2", "L1.H3", "L0.H1", "L1.N0-31"];
  expect(askedUnits(new Set(row), anatomy)).toEqual(["L0.H1", "L1.attn", "L1.N0-31"]);
  expect(askedUnits(new Set(["L2.N0-31", "L2.N32-63", "L0"]), anatomy)).toEqual(["L0", "L2.mlp"]);
});

test("names are read and said", () => {
  expect(findUnit("L3.N4-7")).toEqual({ layer: 3, kind: "neurons", index: 4, count: 4 });
  expect(findUnit("L3.H4-7")).toBeNull();
  expect(spokenUnit("L5.H2")).toBe("Layer 5, head 2");
  expect(spokenUnit("L5.N0-31")).toBe("Layer 5, neurons 0 to 31");
  expect(spokenUnit("L5.mlp")).toBe("Layer 5, MLP");
});

test("a choice on one grid leaves the other kinds alone", () => {
  const before = new Set(["L0.N0-31", "L0.H0"]);
  expect([...replaced(before, heads, [get(heads, "L2.H2")])].sort()).toEqual(["L0.N0-31", "L2.H2"]);
});
