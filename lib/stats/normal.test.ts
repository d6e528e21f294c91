import { expect, test } from "vitest";
import { twoSidedP } from "./normal.ts";

test("tails are those of printed tables", () => {
  // Abramowitz and Stegun, table 26.1, and well-known critical values.
  for (const [z, p] of [
    [0, 1],
    [0.6744897501960817, 0.5],
    [1, 0.31731050786291415],
    [-1.959963984540054, 0.05],
    [3, 0.0026997960632601866],
    [6, 1.973175290075396e-9],
  ] as const)
    expect(Math.abs(twoSidedP(z) / p - 1)).toBeLessThan(1.3e-7);
  expect(twoSidedP(Number.NaN)).toBeNaN();
});
