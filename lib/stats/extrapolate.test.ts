import { expect, test } from "vitest";
import { createRng } from "../random.ts";
import { extrapolate } from "./extrapolate.ts";

const steps = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

test("the interval of a noisy power law covers its end about 95 times in a hundred", () => {
  const rng = createRng(7, "extrapolate");
  const truth = (x: number): number => 2 * x ** -0.4;
  let [covered, given] = [0, 0];
  for (let trial = 0; trial < 400; trial++) {
    const x = steps(600);
    const found = extrapolate(
      x,
      x.map((s) => truth(s) * Math.exp(0.2 * rng.normal())),
      1000,
    );
    if (!found) continue;
    given++;
    // The mean of log y is what is fitted; log-normal noise has median at the truth.
    if ((found.low.at(-1) ?? 1) <= truth(1000) && truth(1000) <= (found.high.at(-1) ?? 0)) covered++;
  }
  expect(given).toBeGreaterThan(380);
  expect(covered / given).toBeGreaterThan(0.91);
  expect(covered / given).toBeLessThan(0.99);
});

test("nothing is said where it would be a guess", () => {
  const rng = createRng(8, "extrapolate");
  const noisy = (f: (x: number) => number) => steps(600).map((x) => f(x) * Math.exp(0.05 * rng.normal()));
  const x = steps(600);
  expect(
    extrapolate(
      x,
      noisy((s) => 1 / s),
      1900,
    ),
  ).toBeNull();
  expect(
    extrapolate(
      x,
      noisy((s) => s / 600),
      1000,
    ),
  ).toBeNull();
  expect(
    extrapolate(
      x,
      noisy(() => 1),
      1000,
    ),
  ).toBeNull();
  // A curve that flattens is no power law on its tail.
  expect(
    extrapolate(
      x,
      noisy((s) => 0.05 + Math.exp(-s / 60)),
      1000,
    ),
  ).toBeNull();
  expect(
    extrapolate(
      x,
      noisy((s) => 0.3 + 0.7 * (1 - s / 600) ** 2),
      1000,
    ),
  ).toBeNull();
  expect(
    extrapolate(
      steps(60),
      steps(60).map((s) => 1 / s),
      100,
    ),
  ).toBeNull();
  expect(extrapolate(x, [...noisy((s) => 1 / s).slice(0, 599), Number.NaN], 1000)).toBeNull();
});
