import fc from "fast-check";
import { expect, test } from "vitest";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { smallAnatomy } from "../../test/fixtures/small-anatomy.ts";
import { costOf, layerParts, weightBytes } from "./cost.ts";
import { histogram } from "./histogram.ts";
import { modelledSpeed } from "./selection-speed.ts";
import { askedFor, type Candidate, countBelow, lowest, savingAtLeast, thresholdFor } from "./threshold.ts";

const candidates: Candidate[] = [
  [1, 9, 2, 8],
  [3, 4, 5, 6],
  [-1, 0.5, 20, 7],
].flatMap((row, layer) =>
  row.map((value, h) => ({ unit: `L${layer}.H${h}`, value, row: layer, group: `L${layer}.G${h >> 1}` })),
);
const names = (list: readonly Candidate[]): string[] => list.map((c) => c.unit).sort();

test("the lowest k are the lowest k", () => {
  expect(names(lowest(candidates, 3, { wholeGroups: false }))).toEqual(["L0.H0", "L2.H0", "L2.H1"]);
  expect(lowest(candidates, 0, { wholeGroups: true })).toEqual([]);
});

test("a layer keeps its last head", () => {
  const all = lowest(candidates, 99, { wholeGroups: false });
  expect(all).toHaveLength(9);
  for (const layer of [0, 1, 2]) expect(all.filter((c) => c.row === layer)).toHaveLength(3);
});

test("whole groups go first where their mean is below the limit", () => {
  // The four lowest are −1, 0.5, 1, 2: only L2.G0 is low as a whole; the rest is filled with single heads.
  expect(names(lowest(candidates, 4, { wholeGroups: true }))).toEqual(["L0.H0", "L0.H2", "L2.H0", "L2.H1"]);
  // At six the limit is 4 and L1.G0 with mean 3.5 goes whole.
  expect(names(lowest(candidates, 6, { wholeGroups: true }))).toContain("L1.H1");
});

test("a choice never has more than asked for, no unit twice, and is undone by its threshold", () => {
  const made = fc.array(fc.double({ min: -10, max: 100, noNaN: true }), { minLength: 4, maxLength: 40 });
  fc.assert(
    fc.property(made, fc.nat(50), fc.boolean(), (values, k, wholeGroups) => {
      const list = values.map((value, i) => ({ unit: `u${i}`, value, row: i % 4, group: `${i % 4} ${i % 3}` }));
      const chosen = lowest(list, k, { wholeGroups });
      expect(chosen.length).toBeLessThanOrEqual(k);
      expect(new Set(names(chosen)).size).toBe(chosen.length);
      if (!wholeGroups) {
        expect(chosen.length).toBe(Math.min(k, values.length - Math.min(4, values.length)));
        expect(askedFor(list, new Set(names(chosen)), { wholeGroups })).toBe(chosen.length);
      }
      if (k > 0 && k < values.length && new Set(values).size === values.length) {
        const t = thresholdFor(list, k);
        expect(Math.abs(countBelow(list, t) - k)).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test("a choice by hand is no threshold", () => {
  expect(askedFor(candidates, new Set(["L2.H0", "L2.H1"]), { wholeGroups: false })).toBe(2);
  expect(askedFor(candidates, new Set(["L2.H2"]), { wholeGroups: false })).toBeNull();
});

test("costs are those of the tensors that shrink", () => {
  const anatomy = smallAnatomy();
  expect(layerParts(anatomy)[0]).toEqual({ head: 128, group: 128, neuron: 48, all: 3872 });
  const one = costOf(anatomy, new Set(["L0.H0"]));
  expect([one.removed, one.cacheRemoved]).toEqual([128, 0]);
  // The second head of the group takes key and value along, and the group's cache: 2 × 4 × 512 in fp16.
  const group = costOf(anatomy, new Set(["L0.H0", "L0.H1"]));
  expect([group.removed, group.cacheRemoved]).toEqual([384, 2 * 2 * 4 * 512]);
  // A layer with a window keeps the window only.
  expect(costOf(anatomy, new Set(["L1"])).cacheRemoved).toBe(2 * 2 * 2 * 4 * 128);
  expect(costOf(anatomy, new Set(["L1", "L1.H0", "L1.N0-31"])).removed).toBe(3872);
  expect(costOf(anatomy, new Set(["L0.N0-31"])).kept[0]).toEqual({ heads: 4, groups: 2, neurons: 32 });
  expect(costOf(anatomy, new Set(["L0.mlp"])).removed).toBe(48 * 64);
});

test("the least choice that saves enough", () => {
  const anatomy = smallAnatomy();
  const saved = (units: readonly Candidate[]): number =>
    weightBytes(costOf(anatomy, new Set(units.map((u) => u.unit))).removed);
  for (const wholeGroups of [false, true]) {
    for (const target of [1, 256, 257, 1000, 2000]) {
      const chosen = savingAtLeast(candidates, target, saved, { wholeGroups });
      expect(saved(chosen)).toBeGreaterThanOrEqual(target);
      expect(saved(lowest(candidates, chosen.length - 1, { wholeGroups }))).toBeLessThan(target);
    }
  }
  expect(savingAtLeast(candidates, 0, saved, { wholeGroups: false })).toEqual([]);
  // More than there is: all that may go.
  expect(savingAtLeast(candidates, 1e9, saved, { wholeGroups: false })).toHaveLength(9);
});

test("bins hold every value once and have an edge at zero", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ value: fc.double({ min: -9, max: 200, noNaN: true }), dropped: fc.boolean() }), {
        minLength: 1,
      }),
      (values) => {
        const bins = histogram(values, 20);
        expect(bins.reduce((n, b) => n + b.count, 0)).toBe(values.length);
        expect(bins.reduce((n, b) => n + b.dropped, 0)).toBe(values.filter((v) => v.dropped).length);
        expect(bins.some((b) => Math.abs(b.from) < 1e-9 || Math.abs(b.to) < 1e-9)).toBe(true);
      },
    ),
  );
  expect(histogram([])).toEqual([]);
});

test("less to read is modelled to be faster, and nothing dropped changes nothing", () => {
  const anatomy = smallAnatomy();
  const whole: Parameters<typeof modelledSpeed>[2] = {
    bitsPerWeight: 16,
    usualSpeed: { chip: "a17-pro", device: "A17 Pro", context: 64, tokensPerSecond: 300, kind: "modelled" },
  };
  const of = (dropped: readonly string[], fitted = {}) =>
    modelledSpeed(anatomy, costOf(anatomy, new Set(dropped)).kept, whole, fitted);
  const same = of([]);
  // The whole model is as fast here as on every other page.
  expect([same?.base, same?.now]).toEqual([300, 300]);
  const fewer = of(["L0.N0-31", "L1.H0"]);
  const layer = of(["L0"]);
  expect(fewer?.now).toBeGreaterThan(fewer?.base ?? 0);
  expect(layer?.now).toBeGreaterThan(fewer?.now ?? 0);
  // On a chip whose calls were found to cost less, what is taken away is a larger part.
  const fitted = { "a17-pro": { ...publishedParameters, callMs: publishedParameters.callMs / 2 } };
  expect(of(["L0"], fitted)?.now).toBeGreaterThan(layer?.now ?? 0);
  expect(modelledSpeed(anatomy, costOf(anatomy, new Set()).kept, undefined)).toBeNull();
});
