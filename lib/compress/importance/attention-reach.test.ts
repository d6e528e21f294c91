import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { attentionReach } from "./attention-reach.ts";

/** A head that puts all its weight on one key a query. */
function pointing(ids: number[], keyOf: (t: number) => number) {
  const n = ids.length;
  const weights = new Float32Array(n * n);
  for (let t = 0; t < n; t++) weights[t * n + keyOf(t)] = 1;
  return { ids, weights, positions: n };
}

const ids = [1, 3, 4, 7, 5, 3, 4, 6];

test("a head that looks two back has a distance of two, no entropy, and one bucket", () => {
  const found = attentionReach([pointing(ids, (t) => Math.max(0, t - 2))], null, 3);
  // Query 1 has no key two back and looks one back.
  expect(found).toMatchObject({ distance: 13 / 7, entropy: 0, queries: 7 });
  expect(found?.distances.map((d) => [d.from, d.to, d.share])).toEqual([
    [0, 0, 0],
    [1, 1, 1 / 7],
    [2, 3, 6 / 7],
    [4, 7, 0],
  ]);
  // Keys 1 and 5 hold token 3; keys 0 are left out.
  expect(found?.tokens.map((t) => [t.id, t.share])).toEqual([
    [3, 2 / 7],
    [4, 1 / 7],
    [5, 1 / 7],
  ]);
});

test("even attention is what is given as even, with a window too", () => {
  const n = ids.length;
  for (const window of [null, 3]) {
    const weights = new Float32Array(n * n);
    for (let t = 0; t < n; t++) {
      const from = window === null ? 0 : Math.max(0, t - window + 1);
      for (let j = from; j <= t; j++) weights[t * n + j] = 1 / (t - from + 1);
    }
    const found = attentionReach([{ ids, weights, positions: n }], window, 9);
    expect(found?.distance).toBeCloseTo(found?.evenDistance ?? Number.NaN, 6);
    expect(found?.entropy).toBeCloseTo(found?.evenEntropy ?? Number.NaN, 6);
    for (const s of [...(found?.distances ?? []), ...(found?.tokens ?? [])]) expect(s.share).toBeCloseTo(s.evenly, 6);
  }
});

test("shares of distances add up to 1 and agree with sums over the whole matrix", () => {
  const rng = createRng(5);
  const n = 20;
  const many = Array.from({ length: n }, () => Math.floor(5 * rng.uniform()));
  const weights = new Float32Array(n * n);
  for (let t = 0; t < n; t++) {
    const raw = Array.from({ length: t + 1 }, () => rng.uniform());
    const total = raw.reduce((a, b) => a + b, 0);
    for (const [j, v] of raw.entries()) weights[t * n + j] = v / total;
  }
  const found = attentionReach([{ ids: many, weights, positions: n }], null, 5);
  expect(found?.distances.reduce((a, d) => a + d.share, 0)).toBeCloseTo(1, 6);
  const over = (of: (t: number, j: number) => number): number => {
    let sum = 0;
    for (let t = 1; t < n; t++) for (let j = 0; j <= t; j++) sum += (weights[t * n + j] ?? 0) * of(t, j);
    return sum / (n - 1);
  };
  expect(found?.distance).toBeCloseTo(
    over((t, j) => t - j),
    6,
  );
  expect(found?.entropy).toBeCloseTo(
    over((t, j) => -Math.log2(weights[t * n + j] ?? 1)),
    6,
  );
  for (const { id, share } of found?.tokens ?? [])
    expect(share).toBeCloseTo(
      over((_, j) => (j > 0 && many[j] === id ? 1 : 0)),
      6,
    );
});

test("nothing is said of sequences of one token", () => {
  expect(attentionReach([pointing([4], () => 0)], null, 3)).toBeNull();
});
