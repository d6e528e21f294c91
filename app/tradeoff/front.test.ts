import { describe, expect, test } from "vitest";
import { stepBudget } from "../parts/budget.ts";
import { capsulesOf, firstBudget, frontOf, offeredWithin, walk } from "./front.ts";
import { measures, type Point, sizes } from "./measures.ts";

/** A point whose divergence by sequence is `kl` a token; sequences of ten tokens. */
function point(model: string, sizeBytes: number, kl: readonly number[], more: Partial<Point> = {}): Point {
  const mean = kl.reduce((t, v) => t + v, 0) / kl.length;
  return {
    model,
    hash: model,
    isBase: false,
    sizeBytes,
    parameters: 1000,
    bitsPerWeight: sizeBytes / 125,
    kl: { mean, standardError: 0.01 },
    agreement: { mean: 0.9, standardError: 0.01 },
    nllPerToken: 1,
    perplexity: Math.E,
    accuracy: null,
    made: null,
    paired: {
      tokens: kl.map(() => 10),
      nll: kl.map(() => 10),
      kl: kl.map((v) => 10 * v),
      agreed: kl.map(() => 9),
      right: null,
    },
    madeBy: [],
    speed: null,
    package: null,
    reported: [],
    measuredBy: { runId: "run_x", kind: "evaluate", seconds: 1 },
    reference: null,
    ...more,
  };
}

const { kl } = measures;
const { bytes } = sizes;
const base = point("base", 4e6, [0, 0, 0, 0], { isBase: true });
const small = point("small", 0.5e6, [0.5, 0.6, 0.4, 0.5]);
const middle = point("middle", 1e6, [0.1, 0.3, 0.2, 0.2]);
/** A hair better than `middle`, and no test can say so. */
const twin = point("twin", 1.1e6, [0.3, 0.1, 0.18, 0.21]);
const worse = point("worse", 1.5e6, [0.9, 0.8, 0.9, 0.8]);
const large = point("large", 2e6, [0.01, 0.02, 0.01, 0.02]);
const all = [large, worse, base, twin, small, middle];
const front = frontOf(all, bytes, kl);

describe("the front", () => {
  test("holds what nothing beats, by size, and never the base", () => {
    expect(front.map((p) => p.model)).toEqual(["small", "middle", "twin", "large"]);
  });
  test("turns round for a measure of which more is better, and leaves out what was not asked", () => {
    const asked = (p: Point, value: number): Point => ({ ...p, accuracy: { value, items: 10, low: 0, high: 1 } });
    const points = [asked(small, 0.9), asked(middle, 0.8), asked(large, 0.95), twin];
    expect(frontOf(points, bytes, measures.accuracy).map((p) => p.model)).toEqual(["small", "large"]);
  });
  test("is walked to its ends, also from beside it", () => {
    expect(walk(front, small, bytes, 1)?.model).toBe("middle");
    expect(walk(front, small, bytes, -1)?.model).toBe("small");
    expect(walk(front, large, bytes, 1)?.model).toBe("large");
    expect(walk(front, worse, bytes, 1)?.model).toBe("large");
    expect(walk(front, worse, bytes, -1)?.model).toBe("twin");
    expect(walk(front, null, bytes, 1)?.model).toBe("small");
    expect(walk([], null, bytes, 1)).toBeNull();
  });
});

describe("capsules", () => {
  const capsules = capsulesOf(all, front, bytes, kl);
  test("hold the larger points a paired test cannot tell from the smallest", () => {
    expect(capsules.map((c) => c.points.map((p) => p.model))).toEqual([["middle", "twin"]]);
    expect(capsules[0]?.leastP).toBeGreaterThan(0.05);
  });
  test("know pairs: two whose error bars overlap are told apart when every sequence agrees", () => {
    const noisy = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2];
    const a = point("a", 1e6, noisy);
    const b = point(
      "b",
      1.1e6,
      noisy.map((v, i) => v - 0.02 - 0.001 * (i % 2)),
    );
    expect(capsulesOf([a, b], frontOf([a, b], bytes, kl), bytes, kl)).toEqual([]);
  });
  test("say nothing without losses by sequence", () => {
    const bare = all.map((p) => ({ ...p, paired: null }));
    expect(capsulesOf(bare, frontOf(bare, bytes, kl), bytes, kl)).toEqual([]);
  });
  test("the smallest of the best within the budget is offered", () => {
    expect(offeredWithin(front, capsules, bytes, 1.2)?.model).toBe("middle");
    expect(offeredWithin(front, [], bytes, 1.2)?.model).toBe("twin");
    expect(offeredWithin(front, capsules, bytes, 0.7)?.model).toBe("small");
    expect(offeredWithin(front, capsules, bytes, 0.4)).toBeNull();
  });
});

describe("the budget", () => {
  test("moves by a per cent, never stands still, and comes back", () => {
    expect(stepBudget(0.6, 1)).toBeCloseTo(0.606, 10);
    expect(stepBudget(0.6, 10)).toBeCloseTo(0.6628, 10);
    for (const v of [0.00123, 0.6, 4.5, 123_456]) {
      expect(stepBudget(v, 1)).toBeGreaterThan(v);
      expect(stepBudget(v, -1)).toBeLessThan(v);
      expect(Math.abs(stepBudget(stepBudget(v, 1), -1) / v - 1)).toBeLessThan(0.001);
    }
  });
  test("starts in the middle of a logarithmic axis", () => {
    expect(firstBudget(all, bytes, null)).toBeCloseTo(Math.sqrt(0.5 * 4), 2);
    expect(firstBudget(all, bytes, "gone")).toBeCloseTo(Math.sqrt(0.5 * 4), 2);
  });
  test("or where the winner fits", () => {
    expect(firstBudget(all, bytes, "middle")).toBeCloseTo(1.01, 3);
  });
});
