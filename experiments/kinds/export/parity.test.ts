import { expect, test } from "vitest";
import { withinOneStep } from "./parity.ts";

test("a tie is what lies within one step of fp16: 1/64 between 16 and 32, 1/1024 between 1 and 2", () => {
  expect([...withinOneStep(Float32Array.of(18.8, 18.79, 18.78, 3), 0).keys()]).toEqual([1]);
  expect([...withinOneStep(Float32Array.of(1.5, 1.4995, 1.498), 0).keys()]).toEqual([1]);
  expect(withinOneStep(Float32Array.of(-20, -20.01, -20.02), 0).get(1)).toBeCloseTo(0.01, 5);
  expect(withinOneStep(Float32Array.of(0, 1), 1).size).toBe(0);
});
