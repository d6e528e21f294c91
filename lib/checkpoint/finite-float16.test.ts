import { expect, test } from "vitest";
import { fromFloat16Bits } from "../float16.ts";
import { finiteFloat16 } from "./finite-float16.ts";

test("the last value that rounds to 65504 is written, the next one is refused with its place", () => {
  const below = Math.fround(65_519.99);
  expect([...finiteFloat16(Float32Array.of(below, -below), "w")].map(fromFloat16Bits)).toEqual([65504, -65504]);
  for (const wrong of [65_520, -65_520, 1e9, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => finiteFloat16(Float32Array.of(0, wrong), "w")).toThrow(/value 1 of w is .*; fp16 ends at 65504/);
});
