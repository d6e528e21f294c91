import fc from "fast-check";
import { expect, test } from "vitest";
import { roundToFloat16 } from "../../float16.ts";
import { createRng, type Rng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import { kmeans1d } from "./kmeans-1d.ts";
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

/** The least cost of k runs, every cell of the table from every cell of the row before. */
function plainProgram(x: number[], w: number[], k: number): number {
  const order = x.map((_, i) => i).sort((a, b) => (x[a] as number) - (x[b] as number));
  const n = x.length;
  const [s0, s1, s2] = [new Float64Array(n + 1), new Float64Array(n + 1), new Float64Array(n + 1)];
  for (const [at, i] of order.entries()) {
    const [xi, wi] = [x[i] as number, w[i] as number];
    s0[at + 1] = (s0[at] as number) + wi;
    s1[at + 1] = (s1[at] as number) + wi * xi;
    s2[at + 1] = (s2[at] as number) + wi * xi * xi;
  }
  const runCost = (j: number, i: number): number => {
    const weight = (s0[i] as number) - (s0[j] as number);
    const sum = (s1[i] as number) - (s1[j] as number);
    return weight > 0 ? Math.max(0, (s2[i] as number) - (s2[j] as number) - (sum * sum) / weight) : 0;
  };
  let row = Float64Array.from({ length: n + 1 }, (_, i) => runCost(0, i));
  for (let c = 2; c <= k; c++) {
    const next = new Float64Array(n + 1);
    for (let i = 0; i <= n; i++) {
      let least = Number.POSITIVE_INFINITY;
      for (let j = 0; j <= i; j++) least = Math.min(least, (row[j] as number) + runCost(j, i));
      next[i] = least;
    }
    row = next;
  }
  return row[n] as number;
}

const draw: Record<string, (rng: Rng) => number> = {
  Gaussian: (rng) => rng.normal(),
  "heavy-tailed": (rng) => rng.normal() * Math.exp(2 * rng.normal()),
  "in far clusters": (rng) => 100 * rng.integer(7) + rng.normal() * (rng.integer(2) === 0 ? 1 : 0.01),
  "evenly spaced": (rng) => rng.integer(200),
  "mostly one value": (rng) => (rng.uniform() < 0.9 ? 0 : rng.normal()),
  "on an fp16 grid": (rng) => roundToFloat16(rng.normal()),
};

test.each(Object.keys(draw))(
  "centroids are as good as the optimum for values %s, weighted or not, few and many",
  (kind) => {
    for (const [n, k] of [
      [300, 2],
      [700, 5],
      [2000, 8],
      [500, 16],
      [400, 64],
      [101, 99],
    ] as const) {
      for (const weighted of [false, true]) {
        const rng = createRng(n, kind);
        const x = Float32Array.from({ length: n }, () => draw[kind]?.(rng) ?? 0);
        const w = Float32Array.from({ length: n }, () => (weighted ? Math.round(100 * rng.uniform() ** 3) / 8 : 1));
        const found = kmeans1d(x, k, weighted ? w : undefined);
        expect(found.length).toBeLessThanOrEqual(k);
        expect([...found]).toEqual([...found].sort((a, b) => a - b));
        const least = plainProgram([...x], [...w], k);
        const spread = cost(x, [x.reduce((t, v) => t + v, 0) / n], w);
        // Beyond 64 points a cluster the boundaries end where none can move alone.
        const exact = n <= 64 * k;
        expect(cost(x, found, w)).toBeLessThanOrEqual(least * (exact ? 1 + 1e-6 : 1.001) + 1e-9 * spread);
      }
    }
  },
);

test("evenly spaced values, where one penalty serves several numbers of clusters, are split evenly", () => {
  for (let n = 2; n < 60; n++) {
    const x = Float32Array.from({ length: n }, (_, i) => i);
    for (let k = 1; k <= n; k++) {
      const found = kmeans1d(x, k);
      const [small, more] = [Math.floor(n / k), n % k];
      const runCost = (m: number): number => (m * (m * m - 1)) / 12;
      expect(found).toHaveLength(k);
      expect(cost(x, found)).toBeCloseTo(more * runCost(small + 1) + (k - more) * runCost(small), 8);
    }
  }
});

test("many values and clusters: no worse than the known optimum of a set and its near copies", () => {
  const rng = createRng(1);
  const few = Float32Array.from({ length: 600 }, () => rng.normal());
  const least = plainProgram([...few], new Array(600).fill(1), 40);
  const many = Float32Array.from({ length: 6000 }, (_, i) => (few[i % 600] as number) * (1 + 1e-6 * (i % 7)));
  expect(cost(many, kmeans1d(many, 40)) / 10).toBeLessThan(least * 1.0001);
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
    for (let clip = 0.2; clip <= 1; clip += 0.05) {
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

test.each([
  [4, 32, true],
  [4, null, true],
  [8, null, true],
  [4, 32, false],
] as const)(
  "the clip found, int%i in groups of %s, symmetric %s, is about as good as the best of forty",
  (bits, groupSize, symmetric) => {
    const rng = createRng(7);
    const columns = 192;
    const w = Float32Array.from({ length: 8 * columns }, () => rng.normal() * Math.exp(rng.normal()));
    const columnWeights = Float32Array.from({ length: columns }, () => Math.exp(rng.normal()));
    const size = groupSize ?? columns;
    const found = decodeWeight(
      quantizeAffine(w, [8, columns], { bits, groupSize, symmetric, clipSearch: true, columnWeights }),
    );
    const half = 2 ** (bits - 1);
    let [total, least] = [0, 0];
    for (let from = 0; from < w.length; from += size) {
      const part = w.subarray(from, from + size);
      const errorOf = (decode: (v: number, i: number) => number): number =>
        part.reduce(
          (t, v, i) => t + (columnWeights[(from + i) % columns] as number) * Math.abs(v - decode(v, i)) ** 2.4,
          0,
        );
      total += errorOf((_, i) => found[from + i] as number);
      const [low, high] = [Math.min(0, ...part), Math.max(0, ...part)];
      let best = Number.POSITIVE_INFINITY;
      for (let step = 0; step < 40; step++) {
        const clip = 1 - (0.7 * step) / 40;
        const scale = clip * (symmetric ? Math.max(-low / half, high / (half - 1)) : (high - low) / (2 * half - 1));
        const offset = symmetric ? 0 : Math.round((-clip * low) / scale) - half;
        const decode = (v: number): number =>
          scale * (Math.min(half - 1, Math.max(-half, Math.round(v / scale) + offset)) - offset);
        best = Math.min(best, errorOf(decode));
      }
      least += best;
    }
    expect(total).toBeLessThan(1.02 * least);
  },
);

test("what cannot be quantized is refused with its place", () => {
  const w = new Float32Array(12);
  w[7] = Number.NaN;
  expect(() => palettize(w, [3, 4], { bits: 4, rowsPerTable: 3 })).toThrow(/row 1, column 3/);
  expect(() => palettize(new Float32Array(12), [3, 4], { bits: 4, rowsPerTable: 2 })).toThrow(/do not divide/);
  expect(() =>
    quantizeAffine(new Float32Array(12), [3, 4], { bits: 4, groupSize: 3, symmetric: true, clipSearch: false }),
  ).toThrow(/do not divide/);
});
