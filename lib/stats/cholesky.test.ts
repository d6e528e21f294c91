import { expect, test } from "vitest";
import { createRng } from "../random.ts";
import { cholesky, inverseOfCholesky, solveCholesky } from "./cholesky.ts";

const n = 7;
const rng = createRng(3);
const x = Float64Array.from({ length: 20 * n }, () => rng.normal());
const a = Float64Array.from({ length: n * n }, (_, i) => {
  let sum = 0;
  for (let t = 0; t < 20; t++) sum += (x[t * n + Math.floor(i / n)] as number) * (x[t * n + (i % n)] as number);
  return sum;
});
const product = (p: ArrayLike<number>, q: ArrayLike<number>, columns: number): number[] =>
  Array.from({ length: (p.length / n) * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < n; k++)
      sum += (p[Math.floor(i / columns) * n + k] as number) * (q[k * columns + (i % columns)] as number);
    return sum;
  });

test("the factor, its inverse and its solutions multiply back", () => {
  const l = cholesky(a, n) as Float64Array;
  const lt = Float64Array.from({ length: n * n }, (_, i) => l[(i % n) * n + Math.floor(i / n)] as number);
  for (const [i, v] of product(l, lt, n).entries()) expect(v).toBeCloseTo(a[i] as number, 10);
  const unit = product(a, inverseOfCholesky(l, n), n);
  for (const [i, v] of unit.entries()) expect(v).toBeCloseTo(i % (n + 1) === 0 ? 1 : 0, 10);
  const b = Float64Array.from({ length: n * 3 }, () => rng.normal());
  const solution = b.slice();
  solveCholesky(l, n, solution, 3);
  for (const [i, v] of product(a, solution, 3).entries()) expect(v).toBeCloseTo(b[i] as number, 10);
});

test("what is not positive definite has no factor", () => {
  expect(cholesky(Float64Array.of(1, 2, 2, 1), 2)).toBeNull();
  expect(cholesky(Float64Array.of(Number.NaN, 0, 0, 1), 2)).toBeNull();
});
