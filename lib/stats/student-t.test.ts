import { expect, test } from "vitest";
import { studentQuantile, studentTwoSidedP } from "./student-t.ts";

// Published table of the two-sided 5 % points (Fisher and Yates).
test.each([
  [1, 12.706],
  [2, 4.303],
  [4, 2.776],
  [10, 2.228],
  [30, 2.042],
  [120, 1.98],
  [1e6, 1.96],
])("the 95 %% point of t with %i degrees of freedom is %f", (degrees, t) => {
  expect(studentQuantile(degrees)).toBeCloseTo(t, 3);
});

test("one degree of freedom is Cauchy, two have a closed form, many are normal", () => {
  for (const t of [0, 0.3, 1, 2.5, 8]) {
    expect(studentTwoSidedP(t, 1)).toBeCloseTo(1 - (2 / Math.PI) * Math.atan(t), 12);
    expect(studentTwoSidedP(-t, 2)).toBeCloseTo(1 - t / Math.sqrt(2 + t * t), 12);
  }
  expect(studentTwoSidedP(1.959963984540054, 1e8)).toBeCloseTo(0.05, 6);
  expect(() => studentTwoSidedP(1, 0)).toThrow("degrees of freedom");
});
