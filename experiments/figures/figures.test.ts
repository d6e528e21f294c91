/** @file What figures draw, whoever draws them. */
import { expect, test } from "vitest";
import type { UnitValue } from "../kinds/sensitivity/sensitivity.ts";
import { type DrawnPoint, figureTable } from "./figure.ts";
import { headFigure } from "./head-figure.ts";
import { pointsTable, tradeoffChart } from "./static-tradeoff.ts";
import { tradeoffFigure } from "./tradeoff-figure.ts";

const point = (
  label: string,
  sizeBytes: number,
  kl: number,
  accuracy: number | null,
  onFront: boolean,
): DrawnPoint => ({
  model: label,
  label,
  sizeBytes,
  bitsPerWeight: 4,
  kl: { mean: kl, standardError: kl / 4 },
  agreement: { mean: 0.9, standardError: 0.01 },
  accuracy:
    accuracy === null
      ? null
      : {
          value: accuracy,
          items: 100,
          interval: { low: accuracy - 0.1, high: accuracy + 0.1 },
          keptOfBase: accuracy / 0.8,
          pAgainstBase: 1,
        },
  onFront,
});

const points = (hasQuestions: boolean): DrawnPoint[] => [
  point("base", 2e8, 0, hasQuestions ? 0.8 : null, true),
  point("four", 6e7, 0.02, hasQuestions ? 0.78 : null, true),
  point("eight", 1.2e8, 0.03, hasQuestions ? 0.7 : null, false),
];

const drawn = (svg: string): number[] => [...svg.matchAll(/<circle[^>]* cy="([^"]*)"/g)].map(([, y]) => Number(y));

test("a trade-off without questions is drawn by KL, with finite numbers and without the base", () => {
  const data = { measure: "accuracy" as const, points: points(false), winner: "four", fp16Bytes: 2e8 };
  expect(tradeoffFigure(data)).toMatchObject({ measure: "kl", winner: { label: "four" } });
  const svg = tradeoffChart(data, null);
  expect(svg).not.toMatch(/NaN|Infinity/);
  expect(drawn(svg)).toHaveLength(2);
  expect(svg).toContain(">100<");
  expect(pointsTable(data)).toContain("four ◂ winner");
});

test("by accuracy the base is a point, and more right answers stand higher", () => {
  const svg = tradeoffChart({ measure: "accuracy", points: points(true), winner: null }, 0.95);
  const [four = 0, eight = 0, base = 0] = drawn(svg);
  expect(base).toBeLessThan(four);
  expect(four).toBeLessThan(eight);
  expect(svg).toContain("95 % of the base");
});

test("nothing to draw is no drawing", () => {
  expect(tradeoffChart({ measure: "kl", points: [point("base", 1, 0, null, true)], winner: null }, null)).toBe("");
});

test("heads are shown by leave-one-out where it is there, else by what was measured; other units have no grid", () => {
  const unit = (name: string, metric: UnitValue["metric"], value: number): UnitValue => ({
    unit: name,
    metric,
    value,
    standardError: 0.1,
  });
  const both = [unit("L0.H0", "taylor", 9), unit("L0.H1", "leave-one-out", 0.1), unit("L0.H0", "leave-one-out", 1)];
  expect(headFigure({ units: both })).toMatchObject({ metric: "leave-one-out", largest: 1, noise: 1 });
  expect(headFigure({ units: both.slice(0, 1) })).toMatchObject({ metric: "taylor", largest: 9 });
  const layers = {
    figure: "importance" as const,
    runId: "r",
    protocol: "p",
    sequences: 1,
    units: [unit("L0", "taylor", 2)],
  };
  expect(headFigure(layers)).toMatchObject({ metric: null, grid: [] });
  expect(figureTable(layers).rows).toEqual([["L0", "taylor", 2, 0.1]]);
});
