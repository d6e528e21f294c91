import { expect, test } from "vitest";
import { createRng } from "../random.ts";
import { leastSquares, leverage } from "./least-squares.ts";

test("the fit leaves residuals that no term explains, and a prior counts as the observations it is worth", () => {
  const rng = createRng(1);
  const observations = Array.from({ length: 50 }, () => {
    const terms = [rng.normal(), rng.normal() + 1, rng.normal()];
    const value = 2 * (terms[0] as number) - (terms[1] as number) + 0.5 * (terms[2] as number) + 0.1 * rng.normal();
    return { terms, value, weight: 0.5 + rng.uniform() };
  });
  const fit = leastSquares(observations, [0, 0, 0], 0);
  for (const i of [0, 1, 2]) {
    const residual = (o: (typeof observations)[number]): number =>
      o.value - o.terms.reduce((t, v, j) => t + v * (fit.coefficients[j] as number), 0);
    expect(observations.reduce((t, o) => t + o.weight * (o.terms[i] as number) * residual(o), 0)).toBeCloseTo(0, 9);
  }
  // One term alone has a closed form.
  const one = leastSquares(
    [
      { terms: [2], value: 3, weight: 1 },
      { terms: [1], value: 5, weight: 4 },
    ],
    [1],
    2,
  );
  // Σwx² = 8 and k/n = 1, so M = 16; Σwx(y − x) = 2·1 + 4·4 = 18.
  expect(one.coefficients[0]).toBeCloseTo(1 + 18 / 16, 12);
  expect(leverage(one, [3])).toBeCloseTo(9 / 16, 12);
});

test("terms that cannot be told apart and terms that never occur stay with the prior", () => {
  const observations = [1, 2, 3].map((x) => ({ terms: [x, x, 0], value: 4 * x, weight: 1 }));
  const { coefficients } = leastSquares(observations, [1, 1, 7], 0.01);
  expect((coefficients[0] as number) + (coefficients[1] as number)).toBeCloseTo(4, 1);
  expect(coefficients[0]).toBeCloseTo(coefficients[1] as number, 9);
  expect(coefficients[2]).toBe(7);
});
