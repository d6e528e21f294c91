import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { fitMargins } from "./margins.ts";

const rowSums = (t: number[][]): number[] => t.map((r) => r.reduce((n, v) => n + v, 0));
const columnSums = (t: number[][]): number[] => (t[0] ?? []).map((_, c) => t.reduce((n, r) => n + (r[c] ?? 0), 0));

test("a guess that is off by a factor a row and a factor a column is put right exactly", () => {
  const rng = createRng(1);
  const truth = Array.from({ length: 5 }, () => Array.from({ length: 4 }, () => rng.uniform() + 0.1));
  const guess = truth.map((row, r) => row.map((v, c) => v * (r + 1) * 2 ** c));
  const found = fitMargins(guess, rowSums(truth), columnSums(truth));
  for (const [r, row] of found.entries())
    for (const [c, v] of row.entries()) expect(v / (truth[r]?.[c] ?? Number.NaN)).toBeCloseTo(1, 6);
});

test("totals that disagree meet in the middle, sums keep their proportions, and what is not there stays away", () => {
  const found = fitMargins(
    [
      [1, 0, 1],
      [1, 1, 1],
    ],
    [1, 3],
    [4, 8, 4],
  );
  expect(rowSums(found)[0]).toBeCloseTo(8 / 4, 6);
  expect(rowSums(found)[1]).toBeCloseTo(6, 6);
  expect(columnSums(found)).toEqual([2, 4, 2].map((v) => expect.closeTo(v, 6)));
  expect(found[0]?.[1]).toBe(0);
  expect(fitMargins([[1, 2]], [0], [0, 0])).toEqual([[0, 0]]);
});
