import { expect, test } from "vitest";
import { rungsOf } from "./rungs.ts";
import { firstTrials, nextRung, sweepDefinition } from "./sweep.ts";

const base = { title: "s", kind: "quantize" as const, config: { model: "m" } };

test("a grid holds every combination once", () => {
  const sweep = sweepDefinition.parse({
    ...base,
    axes: {
      bits: { values: [2, 3, 4] },
      rowsPerTable: { from: 8, to: 32, points: 3, scale: "logarithmic", integer: true },
    },
  });
  const found = firstTrials(sweep);
  expect(found).toHaveLength(9);
  expect(new Set(found.map((c) => JSON.stringify(c))).size).toBe(9);
  expect([...new Set(found.map((c) => c.rowsPerTable))]).toEqual([8, 16, 32]);
  expect(found.every((c) => c.model === "m")).toBe(true);
});

test("random draws stay inside and repeat with their seed", () => {
  const make = (seed: number) =>
    firstTrials(
      sweepDefinition.parse({
        ...base,
        axes: { learningRate: { from: 1e-4, to: 1e-2, scale: "logarithmic" } },
        method: "random",
        trials: 200,
        seed,
      }),
    ).map((c) => Number(c.learningRate));
  const drawn = make(1);
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(1e-4);
  expect(Math.max(...drawn)).toBeLessThanOrEqual(1e-2);
  // Logarithmic: half of them below the geometric middle, within four standard errors.
  expect(Math.abs(drawn.filter((v) => v < 1e-3).length - 100)).toBeLessThan(4 * Math.sqrt(50));
  expect(make(1)).toEqual(drawn);
  expect(make(2)).not.toEqual(drawn);
});

test("halving keeps the best third with three times the budget, and never a failed trial", () => {
  const sweep = sweepDefinition.parse({
    ...base,
    axes: { seed: { from: 0, to: 1e6, integer: true } },
    method: "halving",
    trials: 9,
    budget: { field: "steps", from: 10 },
    objective: { number: "KL", goal: "least" },
  });
  const first = firstTrials(sweep);
  expect(first.map((c) => c.steps)).toEqual(Array(9).fill(10));
  const scores = [5, null, 1, 7, 2, 9, 3, 8, 6];
  const second = nextRung(
    sweep,
    first.map((config, i) => ({ config, score: scores[i] ?? null })),
  );
  expect(second).toEqual([2, 4, 6].map((i) => ({ ...first[i], steps: 30 })));
  const third = nextRung(
    sweep,
    second.map((config, i) => ({ config, score: i })),
  );
  expect(third).toEqual([{ ...first[2], steps: 90 }]);
  expect(
    nextRung(
      sweep,
      third.map((config) => ({ config, score: 0 })),
    ),
  ).toEqual([]);
});

test("rungs are known beforehand, and are those that are run", () => {
  const budget = { field: "steps", from: 50, eta: 3 };
  expect(rungsOf({ trials: 16, budget })).toEqual([
    { trials: 16, budget: 50 },
    { trials: 5, budget: 150 },
    { trials: 1, budget: 450 },
  ]);
  const sweep = sweepDefinition.parse({
    title: "t",
    kind: "distill",
    config: {},
    axes: { learningRate: { from: 1, to: 2 } },
    method: "halving",
    trials: 16,
    budget,
    objective: { number: "KL", goal: "least" },
  });
  let rung = firstTrials(sweep);
  for (const { trials, budget: steps } of rungsOf({ trials: 16, budget })) {
    expect([rung.length, rung[0]?.steps]).toEqual([trials, steps]);
    rung = nextRung(
      sweep,
      rung.map((config, i) => ({ config, score: i })),
    );
  }
  expect(rung).toEqual([]);
});
