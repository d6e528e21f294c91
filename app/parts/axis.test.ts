import { expect, test } from "vitest";
import { logAxis, logTicks, signedRootAxis } from "./axis.ts";

test("log ticks are 1, 2, 5 where there is room, powers of ten where not", () => {
  expect(logTicks(0.4, 4)).toEqual([0.5, 1, 2]);
  expect(logTicks(0.001, 1000)).toEqual([0.001, 0.01, 0.1, 1, 10, 100, 1000]);
});

test("a pixel read back is the value that was drawn there", () => {
  const axis = logAxis([0.01, 10], [0, 300]);
  expect(axis.invert(axis(0.37))).toBeCloseTo(0.37, 9);
  const root = signedRootAxis([-4, 180], [0, 500]);
  for (const v of [-4, -0.3, 0, 2.4, 180]) expect(root.invert(root(v))).toBeCloseTo(v, 9);
  expect(root(0)).toBeGreaterThan(root(-4));
  expect(root.ticks).toContain(0);
});
