import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRng } from "../random.ts";
import { mcnemar, mcnemarExact } from "./mcnemar.ts";
import { pairedDifference } from "./paired-difference.ts";
import { wilsonInterval, z95 } from "./proportion.ts";

describe("paired difference", () => {
  it("is the mean and error of the differences when every sequence weighs the same", () => {
    const base = [1, 2, 3, 4];
    const candidate = [1.5, 2, 4, 4.5];
    const d = pairedDifference(base, candidate);
    // differences .5 0 1 .5: mean .5, s² = .5 / 3
    expect(d.mean).toBeCloseTo(0.5, 12);
    expect(d.standardError).toBeCloseTo(Math.sqrt(0.5 / 3 / 4), 12);
    expect(d.z).toBeCloseTo(0.5 / Math.sqrt(0.5 / 12), 12);
    expect(d.withinNoise).toBe(false);
  });

  it("does not count copies of a cluster as evidence", () => {
    const base = [1, 2, 3, 4];
    const candidate = [1.5, 2, 4, 4.5];
    const twice = pairedDifference([...base, ...base], [...candidate, ...candidate], {
      clusters: ["a", "b", "c", "d", "a", "b", "c", "d"],
    });
    expect(twice.clusters).toBe(4);
    const once = pairedDifference(base, candidate);
    expect(twice.mean).toBeCloseTo(once.mean, 12);
    expect(twice.standardError).toBeCloseTo(once.standardError, 12);
  });

  it("covers the truth as often as it says", () => {
    const rng = createRng(3, "coverage");
    let inside = 0;
    for (let run = 0; run < 400; run++) {
      const weights = Array.from({ length: 60 }, () => 20 + rng.integer(80));
      const base = weights.map((w) => w * (3 + rng.normal()));
      const candidate = base.map((b, s) => b + weights[s]! * (0.1 + 0.05 * rng.normal()));
      const d = pairedDifference(base, candidate, { weights });
      if (Math.abs(d.mean - 0.1) <= z95 * d.standardError) inside++;
    }
    expect(inside / 400).toBeGreaterThan(0.91);
    expect(inside / 400).toBeLessThan(0.98);
  });

  it("calls equal models and a single sequence noise", () => {
    expect(pairedDifference([1, 2], [1, 2])).toMatchObject({ mean: 0, z: 0, withinNoise: true });
    expect(pairedDifference([1], [5])).toMatchObject({ mean: 4, withinNoise: true });
    expect(() => pairedDifference([1, 2], [1])).toThrow(/2 base sequences but 1 candidate/);
    expect(() => pairedDifference([], [])).toThrow(/no sequences/);
    expect(() => pairedDifference([1], [Number.NaN])).toThrow(/sequence 0/);
  });
});

describe("McNemar", () => {
  it("is 1 without discordant items and exact for small counts", () => {
    expect(mcnemarExact(0, 0)).toBe(1);
    expect(mcnemarExact(3, 3)).toBe(1);
    expect(mcnemarExact(0, 5)).toBeCloseTo(2 / 32, 15);
    // R: binom.test(2, 12)$p.value
    expect(mcnemarExact(2, 10)).toBeCloseTo(0.03857421875, 14);
    expect(mcnemarExact(59, 6)).toBeCloseTo(mcnemarExact(6, 59), 18);
  });

  it("equals the sum of binomials in whole numbers", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 30 }), (b, c) => {
        let term = 1n;
        let sum = 0n;
        for (let k = 0; k <= Math.min(b, c); k++) {
          if (k > 0) term = (term * BigInt(b + c - k + 1)) / BigInt(k);
          sum += term;
        }
        expect(mcnemarExact(b, c)).toBeCloseTo(Math.min(1, (2 * Number(sum)) / 2 ** (b + c)), 11);
      }),
    );
  });

  it("stays finite with thousands of items", () => {
    const p = mcnemarExact(5000, 5200);
    // normal approximation with continuity: z = (200 − 1) / √10200
    expect(p).toBeCloseTo(0.0488, 3);
  });

  it("counts the four cells", () => {
    const r = mcnemar([true, true, false, false, false], [true, false, true, true, false]);
    expect(r).toMatchObject({ bothRight: 1, onlyBase: 1, onlyCandidate: 2, bothWrong: 1 });
    expect(r.difference).toBeCloseTo(0.2, 15);
    expect(r.p).toBe(1);
  });
});

describe("Wilson interval", () => {
  it("matches published values", () => {
    // Newcombe 1998, Statistics in Medicine 17, table I, method 3.
    const published: [number, number, number, number][] = [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [1, 29, 0.0061, 0.1718],
    ];
    for (const [successes, trials, low, high] of published) {
      const found = wilsonInterval(successes, trials);
      expect(found.low).toBeCloseTo(low, 4);
      expect(found.high).toBeCloseTo(high, 4);
    }
  });

  it("holds the proportion and stays between 0 and 1", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, share) => {
        const k = Math.round(n * share);
        const { low, high } = wilsonInterval(k, n);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(k / n);
        expect(high).toBeGreaterThanOrEqual(k / n);
      }),
    );
  });
});
