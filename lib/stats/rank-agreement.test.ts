import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRng } from "../random.ts";
import { midranks, noiseCeiling, pearson, spearman, spearmanBrown } from "./rank-agreement.ts";

/** Two lists of one length, few distinct values so that ties are common. */
const lists = fc
  .integer({ min: 0, max: 40 })
  .chain((n) =>
    fc.tuple(...[0, 1].map(() => fc.array(fc.integer({ min: -4, max: 4 }), { minLength: n, maxLength: n }))),
  );

describe("rank agreement", () => {
  it("gives ties the mean of their ranks", () => {
    expect([...midranks([10, 20, 10, 30])]).toEqual([1.5, 3, 1.5, 4]);
  });

  it("Spearman matches published values and -1 for a reversed list", () => {
    // IQ against hours of television, n = 10, no ties: 1 − 6 · 194 / 990.
    const iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110];
    const hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17];
    expect(spearman(iq, hours)).toBeCloseTo(-29 / 165, 12);
    expect(spearman([1, 2, 3, 4], [9, 7, 5, 1])).toBe(-1);
    expect(spearman([1, 1, 1], [1, 2, 3])).toBeNaN();
  });

  it("Spearman is unchanged by any rising transformation", () => {
    fc.assert(
      fc.property(lists, ([a, b]) => {
        const cubed = a!.map((v) => v ** 3 + 1);
        expect(spearman(cubed, b!)).toEqual(spearman(a!, b!));
      }),
    );
  });

  it("the noise ceiling recovers a known reliability", () => {
    const rng = createRng(1, "ceiling");
    const sequences = 64;
    // Var of a unit's mean score: 1 true, 64 / 64 = 1 noise; reliability 1/2.
    const rows = Array.from({ length: 4000 }, () => {
      const truth = rng.normal();
      return Array.from({ length: sequences }, () => truth + 8 * rng.normal());
    });
    expect(noiseCeiling(rows)).toBeCloseTo(0.5, 1);
    expect(noiseCeiling(rows, { rng, splits: 4 })).toBeCloseTo(0.5, 1);
    const clean = rows.map((_, u) => new Array(4).fill(u));
    expect(noiseCeiling(clean)).toBe(1);
    expect(noiseCeiling([[1], [2]])).toBeNaN();
  });

  it("the correction for twice the data is its formula", () => {
    expect(spearmanBrown(0.5)).toBeCloseTo(2 / 3, 15);
  });

  it("refuses lists of different lengths and values without a rank", () => {
    expect(() => pearson([1], [1, 2])).toThrow(/1 and 2/);
    expect(() => spearman([1, Number.NaN], [1, 2])).toThrow(/score 1 of 2/);
    expect(() => midranks([1, Number.POSITIVE_INFINITY])).toThrow(/no rank/);
  });
});
