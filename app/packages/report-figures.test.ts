import { expect, test } from "vitest";
import { decodeSpeeds, thermalStretches } from "./report-figures.ts";

const decode = (context: number, filled: number, median: number) => ({
  function: "decode",
  context,
  filled,
  perToken: { count: 3, mean: median, median, p5: median / 2, p95: median * 2 },
  hostPerToken: null,
});

test("speeds are the inverse of times: the slow tokens are the low end; the fullest cache stands for its context", () => {
  expect(decodeSpeeds({ decode: [decode(256, 200, 4), decode(64, 8, 2), decode(256, 8, 1)] })).toEqual([
    { context: 64, median: 500, low: 250, high: 1000 },
    { context: 256, median: 250, low: 125, high: 500 },
  ]);
});

test("windows of one thermal state are one stretch, and the stretches fill the whole", () => {
  const at = (atSeconds: number, thermal: "nominal" | "fair" | "serious") => ({ atSeconds, thermal });
  const found = thermalStretches([at(0, "nominal"), at(10, "nominal"), at(20, "fair"), at(30, "serious")]);
  expect(found.map((s) => [s.state, s.fromSeconds, s.share])).toEqual([
    ["nominal", 0, 0.5],
    ["fair", 20, 0.25],
    ["serious", 30, 0.25],
  ]);
  expect(thermalStretches([])).toEqual([]);
  expect(thermalStretches([at(0, "fair")])).toEqual([{ state: "fair", fromSeconds: 0, share: 1 }]);
});
