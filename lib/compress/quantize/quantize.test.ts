import fc from "fast-check";
import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../decode.ts";
import { EXACT_LIMIT, kmeans1d } from "./kmeans-1d.ts";
import { palettize } from "./palettize.ts";
import { quantizeAffine } from "./round-to-nearest.ts";

const cost = (x: ArrayLike<number>, centres: ArrayLike<number>, w?: ArrayLike<number>): number => {
  let total = 0;
  for (let i = 0; i < x.length; i++) {
    let best = Number.POSITIVE_INFINITY;
    for (let c = 0; c < centres.length; c++) best = Math.min(best, ((x[i] as number) - (centres[c] as number)) ** 2);
    total += best * (w?.[i] ?? 1);
  }
  return total;
};

/** Every way to cut sorted points into k runs, each at its weighted mean. */
function bruteForce(x: number[], w: number[], k: number): number {
  const order = x.map((_, i) => i).sort((a, b) => (x[a] as number) - (x[b] as number));
  const xs = order.map((i) => x[i] as number);
  const ws = order.map((i) => w[i] as number);
  const runCost = (from: number, to: number): number => {
    const weight = ws.slice(from, to).reduce((a, b) => a + b, 0);
    const mean = xs.slice(from, to).reduce((t, v, i) => t + v * (ws[from + i] as number), 0) / weight;
    return xs.slice(from, to).reduce((t, v, i) => t + (ws[from + i] as number) * (v - mean) ** 2, 0);
  };
  const best = (from: number, left: number): number => {
    if (left === 1) return runCost(from, xs.length);
    let least = Number.POSITIVE_INFINITY;
    for (let to = from + 1; to <= xs.length - left + 1; to++)
      least = Math.min(least, runCost(from, to) + best(to, left - 1));
    return least;
  };
  return best(0, Math.min(k, xs.length));
}

test("the dynamic program finds the optimum of every small problem", () => {
  const value = fc.integer({ min: -40, max: 40 }).map((v) => v / 4);
  const problem = fc.tuple(
    fc.array(fc.tuple(value, fc.integer({ min: 1, max: 9 })), { minLength: 1, maxLength: 9 }),
    fc.integer({ min: 1, max: 4 }),
  );
  fc.assert(
    fc.property(problem, ([points, k]) => {
      const x = points.map((p) => p[0]);
      const w = points.map((p) => p[1]);
      const found = kmeans1d(Float32Array.from(x), k, Float32Array.from(w));
      expect(found.length).toBeLessThanOrEqual(k);
      expect(cost(x, found, w)).toBeCloseTo(bruteForce(x, w, k), 6);
    }),
    { numRuns: 300 },
  );
});

test("the histogram path comes within a thousandth of the exact one", () => {
  const rng = createRng(1);
  const many = Float32Array.from({ length: 3 * EXACT_LIMIT }, () => rng.normal());
  const few = many.slice(0, EXACT_LIMIT);
  const perturbed = Float32Array.from(
    { length: 2 * EXACT_LIMIT },
    (_, i) => (few[i >> 1] as number) * (1 + (i & 1) * 1e-6),
  );
  const exact = cost(few, kmeans1d(few, 16));
  expect(cost(perturbed, kmeans1d(perturbed, 16)) / 2).toBeLessThan(exact * 1.001);
  expect(kmeans1d(many, 256)).toHaveLength(256);
});

// Signal to noise of 1-D codebooks in dB: the fitted table of a published check on 200 000 samples, here within half a dB.
const gaussian = { 2: 9.3, 3: 14.6, 4: 20.2, 6: 31.9, 8: 43.6 } as const;

test.each([2, 3, 4, 6, 8] as const)(
  "%i-bit palettes of a Gaussian reach the known signal to noise, above any uniform grid",
  (bits) => {
    const rng = createRng(2);
    const w = Float32Array.from({ length: 400 * 500 }, () => rng.normal());
    const power = w.reduce((t, v) => t + v * v, 0);
    const error = (decoded: Float32Array): number => w.reduce((t, v, i) => t + (v - (decoded[i] as number)) ** 2, 0);
    const palette = error(decodeWeight(palettize(w, [400, 500], { bits, rowsPerTable: 400 })));
    expect(Math.abs(10 * Math.log10(power / palette) - gaussian[bits])).toBeLessThan(0.5);
    // The best clipped uniform grid with as many levels.
    let uniform = Number.POSITIVE_INFINITY;
    const most = w.reduce((t, v) => Math.max(t, Math.abs(v)), 0);
    for (let clip = 0.2; clip <= 1; clip += 0.02) {
      const stepSize = (2 * clip * most) / (2 ** bits - 1);
      const levels = Float32Array.from(
        w,
        (v) => Math.min(2 ** bits - 1, Math.max(0, Math.round((v + clip * most) / stepSize))) * stepSize - clip * most,
      );
      uniform = Math.min(uniform, error(levels));
    }
    expect(palette).toBeLessThanOrEqual(uniform);
  },
);

test("more bits and finer tables never hurt", () => {
  const rng = createRng(3);
  const w = Float32Array.from({ length: 32 * 96 }, () => rng.normal() * Math.exp(rng.normal()));
  const error = (bits: 1 | 2 | 3 | 4 | 6 | 8, rowsPerTable: number): number => {
    const decoded = decodeWeight(palettize(w, [32, 96], { bits, rowsPerTable }));
    return w.reduce((t, v, i) => t + (v - (decoded[i] as number)) ** 2, 0);
  };
  const byBits = ([1, 2, 3, 4, 6, 8] as const).map((b) => error(b, 8));
  expect(byBits.every((e, i) => i === 0 || e < (byBits[i - 1] as number))).toBe(true);
  expect(error(4, 4)).toBeLessThan(error(4, 32));
});

test("column weights move the table to what counts", () => {
  const rng = createRng(4);
  const w = Float32Array.from({ length: 16 * 64 }, (_, i) => rng.normal() * (i % 64 < 8 ? 0.2 : 3));
  const columnWeights = Float32Array.from({ length: 64 }, (_, c) => (c < 8 ? 1000 : 1));
  const weighted = (decoded: Float32Array): number =>
    w.reduce((t, v, i) => t + (columnWeights[i % 64] as number) * (v - (decoded[i] as number)) ** 2, 0);
  const plain = decodeWeight(palettize(w, [16, 64], { bits: 3, rowsPerTable: 16 }));
  const aware = decodeWeight(palettize(w, [16, 64], { bits: 3, rowsPerTable: 16, columnWeights }));
  expect(weighted(aware)).toBeLessThan(0.5 * weighted(plain));
});

test.each([
  [8, true],
  [8, false],
  [4, true],
  [4, false],
] as const)("affine int%i, symmetric %s: codes are the nearest and errors at most half a step", (bits, symmetric) => {
  const rng = createRng(5);
  const w = Float32Array.from({ length: 6 * 64 }, () => rng.normal() + (symmetric ? 0 : 0.5));
  const q = quantizeAffine(w, [6, 64], { bits, groupSize: 32, symmetric, clipSearch: false });
  const decoded = decodeWeight(q);
  for (const [i, v] of w.entries()) {
    const scale = q.scales[Math.floor(i / 64) * 2 + Math.floor((i % 64) / 32)] as number;
    // Half a step, and what rounding scale and result to fp16 adds at the ends of the range.
    expect(Math.abs(v - (decoded[i] as number))).toBeLessThanOrEqual(
      scale * 0.5 + 2e-3 * Math.abs(v) + scale * (symmetric ? 0.01 : 0.51),
    );
  }
});

test("the clip search lowers the error of heavy tails at four bits", () => {
  const rng = createRng(6);
  const w = Float32Array.from({ length: 8 * 256 }, () => rng.normal() * (rng.uniform() < 0.01 ? 8 : 1));
  const error = (clipSearch: boolean): number => {
    const decoded = decodeWeight(
      quantizeAffine(w, [8, 256], { bits: 4, groupSize: null, symmetric: true, clipSearch }),
    );
    return w.reduce((t, v, i) => t + Math.abs(v - (decoded[i] as number)) ** 2.4, 0);
  };
  expect(error(true)).toBeLessThan(0.8 * error(false));
});

test("what cannot be quantized is refused with its place", () => {
  const w = new Float32Array(12);
  w[7] = Number.NaN;
  expect(() => palettize(w, [3, 4], { bits: 4, rowsPerTable: 3 })).toThrow(/row 1, column 3/);
  expect(() => palettize(new Float32Array(12), [3, 4], { bits: 4, rowsPerTable: 2 })).toThrow(/do not divide/);
  expect(() =>
    quantizeAffine(new Float32Array(12), [3, 4], { bits: 4, groupSize: 3, symmetric: true, clipSearch: false }),
  ).toThrow(/do not divide/);
});
