import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { paretoFront, staircase, winnerUnderLoss, winnerUnderSize } from "./pareto.ts";

const points = fc.array(
  fc.record({ sizeBytes: fc.integer({ min: 1, max: 12 }), loss: fc.integer({ min: 0, max: 12 }) }),
  { maxLength: 30 },
);
type Point = { sizeBytes: number; loss: number };
const beats = (q: Point, p: Point): boolean =>
  q.sizeBytes <= p.sizeBytes && q.loss <= p.loss && (q.sizeBytes < p.sizeBytes || q.loss < p.loss);
const key = (p: Point): string => `${p.sizeBytes} ${p.loss}`;

describe("Pareto front", () => {
  it("equals the brute-force definition", () => {
    fc.assert(
      fc.property(points, (all) => {
        const expected = new Set(all.filter((p) => !all.some((q) => beats(q, p))).map(key));
        const front = paretoFront(all);
        expect(new Set(front.map(key))).toEqual(expected);
        expect(front.length).toBe(expected.size);
        for (let i = 1; i < front.length; i++) {
          expect(front[i]!.sizeBytes).toBeGreaterThan(front[i - 1]!.sizeBytes);
          expect(front[i]!.loss).toBeLessThan(front[i - 1]!.loss);
        }
      }),
    );
  });

  it("the winner under a size is the least loss that fits", () => {
    fc.assert(
      fc.property(points, fc.integer({ min: 0, max: 13 }), (all, budget) => {
        const fits = all.filter((p) => p.sizeBytes <= budget);
        const found = winnerUnderSize(all, budget);
        if (fits.length === 0) expect(found).toBeNull();
        else expect(found?.winner.loss).toBe(Math.min(...fits.map((p) => p.loss)));
      }),
    );
  });

  it("the winner under a loss is the smallest that is good enough", () => {
    fc.assert(
      fc.property(points, fc.integer({ min: 0, max: 13 }), (all, budget) => {
        const good = all.filter((p) => p.loss <= budget);
        const found = winnerUnderLoss(all, budget);
        if (good.length === 0) expect(found).toBeNull();
        else expect(found?.winner.sizeBytes).toBe(Math.min(...good.map((p) => p.sizeBytes)));
      }),
    );
  });

  it("names the points an error bar leaves open", () => {
    const a = { sizeBytes: 10, loss: 2, standardError: 0.1 };
    const b = { sizeBytes: 8, loss: 2.2, standardError: 0.1 };
    const c = { sizeBytes: 6, loss: 3, standardError: 0.1 };
    expect(winnerUnderSize([a, b, c], 10)).toEqual({ winner: a, contenders: [b] });
    // b is 2.2 ± 0.196: not certainly under 2.3, but possibly.
    expect(winnerUnderLoss([a, b, c], 2.3)).toEqual({ winner: a, contenders: [b] });
    expect(winnerUnderLoss([a, b, c], 2.4)).toEqual({ winner: b, contenders: [] });
  });

  it("the staircase is level, then falls, at each point", () => {
    expect(
      staircase([
        { sizeBytes: 1, loss: 5 },
        { sizeBytes: 3, loss: 2 },
      ]),
    ).toEqual([
      { sizeBytes: 1, loss: 5 },
      { sizeBytes: 3, loss: 5 },
      { sizeBytes: 3, loss: 2 },
    ]);
  });

  it("refuses a point without a finite loss", () => {
    expect(() => paretoFront([{ sizeBytes: 1, loss: Number.NaN }])).toThrow(/point 0/);
  });
});
