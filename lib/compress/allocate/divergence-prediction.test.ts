import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { additiveEffect, predictDivergence } from "./divergence-prediction.ts";

test("single effects add up by sequence, so that what a text has in common is in the error once", () => {
  const found = additiveEffect([
    [1, 2, 3],
    [2, 4, 6],
  ]);
  expect(found.value).toBe(6);
  // Sums are 3, 6, 9: deviation 3, error 3/√3.
  expect(found.standardError).toBeCloseTo(Math.sqrt(3), 12);
  expect(additiveEffect([[5]]).standardError).toBeNaN();
});

test("without finalists the interval is of sampling alone and says so", () => {
  const p = predictDivergence(0.1, 0.01);
  expect(p).toMatchObject({ value: 0.1, basis: "sampling", finalists: 0 });
  expect(p.high - p.low).toBeCloseTo(2 * 2.0423 * 0.01, 4);
  expect(predictDivergence(0, 0)).toMatchObject({ value: 0, low: 0, high: 0 });
});

test("finalists move the prediction by their ratio; a fit of a power law is found when they are far apart", () => {
  const near = predictDivergence(0.1, 0.001, [
    { predicted: 0.08, measured: 0.12 },
    { predicted: 0.1, measured: 0.15 },
  ]);
  expect(near.value).toBeCloseTo(0.15, 6);
  const law = [0.001, 0.01, 0.1, 1].map((predicted) => ({ predicted, measured: 2 * predicted ** 1.2 }));
  expect(predictDivergence(0.05, 0, law).value).toBeCloseTo(2 * 0.05 ** 1.2, 9);
});

test("intervals of 95 % hold what comes about 95 times in a hundred", () => {
  const rng = createRng(11);
  for (const n of [3, 6]) {
    let held = 0;
    const rounds = 2000;
    const draw = () => {
      const predicted = Math.exp(-6 + 4 * rng.uniform());
      return { predicted, measured: 1.4 * predicted * Math.exp(0.15 * rng.normal()) };
    };
    for (let r = 0; r < rounds; r++) {
      const next = draw();
      const p = predictDivergence(next.predicted, 0, Array.from({ length: n }, draw));
      if (p.low <= next.measured && next.measured <= p.high) held++;
    }
    expect(held / rounds).toBeGreaterThan(0.935);
    expect(held / rounds).toBeLessThan(0.965);
  }
});
