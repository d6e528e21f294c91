import fc from "fast-check";
import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { allocate, allocationCurve, type Choice } from "./knapsack.ts";

/** Every set of choices. */
function bruteForce(units: readonly (readonly Choice[])[], budget: number): number {
  const best = (u: number, left: number): number => {
    if (left < 0) return Number.POSITIVE_INFINITY;
    if (u === units.length) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (const c of units[u] ?? []) least = Math.min(least, c.cost + best(u + 1, left - c.sizeBytes));
    return least;
  };
  return best(0, budget);
}

const choice = fc.record({ sizeBytes: fc.integer({ min: 0, max: 60 }), cost: fc.integer({ min: -20, max: 100 }) });
const instance = fc.array(fc.array(choice, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 7 });

test("small problems are solved as well as by trying everything, and never over budget", () => {
  fc.assert(
    fc.property(instance, fc.integer({ min: 0, max: 300 }), (units, budget) => {
      const found = allocate(units, budget);
      const best = bruteForce(units, budget);
      expect(found.optimal).toBe(true);
      if (best === Number.POSITIVE_INFINITY) {
        expect(found.choices).toBeNull();
        return;
      }
      expect(found.cost).toBe(best);
      const chosen = (found.choices ?? []).map((c, u) => units[u]?.[c] as Choice);
      expect(chosen).toHaveLength(units.length);
      expect(chosen.reduce((t, c) => t + c.sizeBytes, 0)).toBe(found.sizeBytes);
      expect(chosen.reduce((t, c) => t + c.cost, 0)).toBe(found.cost);
      expect(found.sizeBytes).toBeLessThanOrEqual(budget);
      expect(found.lowerBound).toBeLessThanOrEqual(found.cost);
    }),
    { numRuns: 1500 },
  );
});

/** As a model's matrices are: widths 2, 3, 4, 6, 8 with tables, divergence falling fourfold a bit, sizes by role. */
function sweep(tensors: number, seed: number): Choice[][] {
  const rng = createRng(seed, "allocation");
  return Array.from({ length: tensors }, () => {
    const elements = rng.pick([8192, 16384, 49152, 131072]);
    const sensitivity = Math.exp(1.5 * rng.normal());
    return [8, 6, 4, 3, 2].map((bits) => ({
      sizeBytes: (elements * bits) / 8 + 2 * 2 ** bits * rng.pick([8, 16]),
      cost: sensitivity * 4 ** -bits * Math.exp(0.3 * rng.normal()) + 1e-7 * rng.normal(),
    }));
  });
}

test("57 tensors at five widths are solved to the optimum at any budget, cost falling as it grows", () => {
  for (const seed of [1, 2, 3]) {
    const units = sweep(57, seed);
    const points = allocationCurve(units);
    const [low, high] = [points[0]?.sizeBytes ?? 0, points.at(-1)?.sizeBytes ?? 0];
    let before = Number.POSITIVE_INFINITY;
    for (let i = 0; i <= 60; i++) {
      const budget = Math.ceil(low + ((high - low) * i) / 60);
      const found = allocate(units, budget);
      expect(found.optimal).toBe(true);
      expect(found.sizeBytes).toBeLessThanOrEqual(budget);
      expect(found.cost).toBeLessThanOrEqual(before);
      before = found.cost;
    }
  }
});

test("the breakpoints of the curve are optimal for their own sizes, and convex", () => {
  const units = sweep(6, 9);
  const points = allocationCurve(units);
  for (const p of points) {
    expect(allocate(units, p.sizeBytes).cost).toBeCloseTo(p.cost, 12);
    expect(bruteForce(units, p.sizeBytes)).toBeCloseTo(p.cost, 12);
  }
  const slopes = points
    .slice(1)
    .map((p, i) => (p.cost - (points[i]?.cost ?? 0)) / (p.sizeBytes - (points[i]?.sizeBytes ?? 0)));
  for (const [i, s] of slopes.slice(1).entries()) expect(s).toBeGreaterThanOrEqual((slopes[i] ?? 0) - 1e-18);
});

test("a budget below the smallest is said to be out of reach, with what would be needed", () => {
  const found = allocate([[{ sizeBytes: 10, cost: 1 }], [{ sizeBytes: 5, cost: 2 }]], 14);
  expect(found).toMatchObject({ choices: null, sizeBytes: 15 });
});

test("many units with costs that hardly differ still end, with an honest bound", () => {
  const rng = createRng(7);
  const units = Array.from({ length: 200 }, () =>
    [2, 3, 4, 6, 8].map((bits) => ({
      sizeBytes: 1000 * bits + rng.integer(700),
      cost: 2 ** -bits * (1 + 0.3 * rng.uniform()),
    })),
  );
  const found = allocate(units, 800_001);
  expect(found.sizeBytes).toBeLessThanOrEqual(800_001);
  expect(found.lowerBound).toBeLessThanOrEqual(found.cost);
  expect(found.cost - found.lowerBound).toBeLessThan(0.001 * found.cost);
});
