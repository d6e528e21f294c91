import { expect, test } from "vitest";
import { attentionPatterns, strongestExamples } from "./attention-patterns.ts";

/** A head that puts all its weight on one key a query. */
function pointing(ids: number[], keyOf: (t: number) => number) {
  const n = ids.length;
  const weights = new Float32Array(n * n);
  for (let t = 0; t < n; t++) weights[t * n + keyOf(t)] = 1;
  return { ids, weights, positions: n };
}

// 7 is a delimiter; 3 and 4 come twice, 4 after 3 both times.
const ids = [1, 3, 4, 7, 5, 3, 4, 6];
const scores = (keyOf: (t: number) => number, window: number | null = null) =>
  Object.fromEntries(
    attentionPatterns([pointing(ids, keyOf)], (id) => id === 7, window).map((p) => [p.pattern, p.score]),
  );

test("each pattern is told from the others", () => {
  expect(scores((t) => Math.max(0, t - 1))).toMatchObject({ previous: 1, self: 0, induction: 0, duplicate: 0 });
  expect(scores(() => 0)).toMatchObject({ first: 1, self: 0, delimiter: 0 });
  expect(scores((t) => t)).toMatchObject({ self: 1, previous: 0 });
  expect(scores((t) => Math.min(t, 3)).delimiter).toBeCloseTo(5 / 7, 12);
  // Position 5 repeats 1, position 6 repeats 2: what followed then is at 2 and 3.
  expect(scores((t) => (t === 5 ? 2 : t === 6 ? 3 : t))).toMatchObject({ induction: 1, duplicate: 0 });
  expect(scores((t) => (t === 5 ? 1 : t === 6 ? 2 : t))).toMatchObject({ induction: 0, duplicate: 1 });
});

test("even attention scores what is given as even, with a window too", () => {
  const n = ids.length;
  for (const window of [null, 3]) {
    const weights = new Float32Array(n * n);
    for (let t = 0; t < n; t++) {
      const from = window === null ? 0 : Math.max(0, t - window + 1);
      for (let j = from; j <= t; j++) weights[t * n + j] = 1 / (t - from + 1);
    }
    for (const p of attentionPatterns([{ ids, weights, positions: n }], (id) => id === 7, window)) {
      if (p.positions > 0) expect(p.score).toBeCloseTo(p.evenly, 6);
    }
  }
});

test("what never occurs has no score", () => {
  const found = attentionPatterns([pointing([1, 2, 3], (t) => t)], () => false, null);
  expect(found.find((p) => p.pattern === "induction")).toMatchObject({ positions: 0, score: Number.NaN });
});

test("examples are the strongest, one for each token, and never trivial", () => {
  const found = strongestExamples([pointing(ids, (t) => Math.max(0, t - 2)), pointing([1, 9, 9, 9], (t) => t)], 3);
  expect(found).toHaveLength(3);
  for (const e of found) expect(e).toMatchObject({ sequence: 0, weight: 1, key: e.query - 2 });
  expect(new Set(found.map((e) => ids[e.query])).size).toBe(3);
});
