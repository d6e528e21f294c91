import { expect, test } from "vitest";
import { studentT } from "./student-t.ts";

// Published tables of the two-sided quantiles.
test.each([
  [1, 0.95, 12.7062],
  [2, 0.95, 4.3027],
  [5, 0.95, 2.5706],
  [10, 0.95, 2.2281],
  [30, 0.95, 2.0423],
  [120, 0.95, 1.9799],
  [4, 0.99, 4.6041],
  [9, 0.8, 1.383],
])("%i degrees of freedom at %d: %d", (df, confidence, t) => {
  expect(studentT(df, confidence)).toBeCloseTo(t, 3);
});

test("nonsense is refused", () => {
  expect(() => studentT(0)).toThrow(/degrees of freedom/);
  expect(() => studentT(3, 1)).toThrow(/degrees of freedom/);
});
