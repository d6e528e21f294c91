import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { gptq, outputError, upperOfInverse } from "./gptq.ts";
import { storeAs, type Width } from "./width.ts";

const granularity = { rowsPerTable: 8, groupSize: 16, asymmetric: false, keepExtremes: false };

/** Weights (rows, n) and Σ x xᵀ of correlated inputs with channels of very different size. */
function problem(seed: number, rows: number, n: number, correlated = true) {
  const rng = createRng(seed, "gptq");
  const w = Float32Array.from({ length: rows * n }, () => rng.normal());
  const mix = Float64Array.from({ length: n * n }, () => rng.normal() / Math.sqrt(n));
  const size = Array.from({ length: n }, () => Math.exp(rng.normal()));
  const gram = new Float64Array(n * n);
  for (let t = 0; t < 8 * n; t++) {
    const z = Array.from({ length: n }, () => rng.normal());
    const x = z.map((v, i) => {
      if (!correlated) return v;
      let total = v;
      for (let k = 0; k < n; k++) total += 2 * (mix[i * n + k] as number) * (z[k] as number);
      return total * (size[i] as number);
    });
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) gram[i * n + j] = (gram[i * n + j] as number) + (x[i] as number) * (x[j] as number);
  }
  return { w, gram };
}

test("U is the upper factor of the inverse", () => {
  const { gram } = problem(1, 1, 12);
  const u = upperOfInverse(gram, 12) as Float64Array;
  // H Uᵀ U is the identity.
  for (let i = 0; i < 12; i++) {
    for (let j = 0; j < 12; j++) {
      let v = 0;
      for (let k = 0; k < 12; k++) {
        let utu = 0;
        for (let m = 0; m < 12; m++) utu += (u[m * 12 + k] as number) * (u[m * 12 + j] as number);
        v += (gram[i * 12 + k] as number) * utu;
      }
      expect(v).toBeCloseTo(i === j ? 1 : 0, 6);
      if (j < i) expect(u[i * 12 + j]).toBe(0);
    }
  }
  expect(upperOfInverse(Float64Array.of(1, 2, 2, 1), 2)).toBeNull();
});

/** The definition: after each column, the rest minimises the error given what is fixed, by solving for it anew. */
function naive(values: Float32Array, nearest: CompressedWeight, gram: Float64Array): Float32Array {
  const [rows, n] = nearest.shape as [number, number];
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (gram[i * n + i] as number) / n;
  const h = gram.map((v, i) => (i % (n + 1) === 0 ? v + 0.01 * mean : v));
  const order = Array.from({ length: n }, (_, c) => c).sort(
    (a, b) => (gram[b * n + b] as number) - (gram[a * n + a] as number),
  );
  const out = new Float32Array(rows * n);
  const tables = nearest.kind === "palette" ? nearest.tables : new Float32Array();
  const entries = nearest.kind === "palette" ? 2 ** nearest.bits : 0;
  for (let r = 0; r < rows; r++) {
    const w = [...values.subarray(r * n, (r + 1) * n)];
    const target = [...w];
    const table = tables.subarray(Math.floor(r / 8) * entries, (Math.floor(r / 8) + 1) * entries);
    for (const [at, c] of order.entries()) {
      const q = table.reduce(
        (best, e) => (Math.abs((w[c] as number) - e) < Math.abs((w[c] as number) - best) ? e : best),
        table[0] as number,
      );
      w[c] = q;
      out[r * n + c] = q;
      // The rest R, given that all others are fixed: H_RR (w_R − t_R) = −H_RF (w_F − t_F).
      const rest = order.slice(at + 1);
      const fixed = order.slice(0, at + 1);
      const a = rest.map((i) => rest.map((j) => h[i * n + j] as number));
      const b = rest.map(
        (i) => -fixed.reduce((t, j) => t + (h[i * n + j] as number) * ((w[j] as number) - (target[j] as number)), 0),
      );
      const x = solve(a, b);
      for (const [k, i] of rest.entries()) w[i] = (target[i] as number) + (x[k] as number);
    }
  }
  return out;
}

/** Gauss with pivots. */
function solve(a: number[][], b: number[]): number[] {
  const m = a.map((row, i) => [...row, b[i] as number]);
  const n = b.length;
  const at = (i: number, j: number): number => m[i]?.[j] as number;
  for (let c = 0; c < n; c++) {
    let p = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(at(r, c)) > Math.abs(at(p, c))) p = r;
    [m[c], m[p]] = [m[p] as number[], m[c] as number[]];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const f = at(r, c) / at(c, c);
      m[r] = (m[r] as number[]).map((v, j) => v - f * at(c, j));
    }
  }
  return m.map((row, i) => (row[n] as number) / at(i, i));
}

test("codes are those of solving for the remaining columns anew after each", () => {
  const { w, gram } = problem(2, 8, 14);
  const nearest = storeAs("palette2", w, [8, 14], granularity);
  const found = decodeWeight(gptq(w, nearest, gram));
  expect([...found]).toEqual([...naive(w, nearest, gram)]);
});

test.each(["affine4", "affine8", "palette2", "palette3", "palette4"] as Width[])(
  "%s: the error of outputs falls well below that of the nearest codes",
  (width) => {
    const { w, gram } = problem(3, 16, 64);
    const nearest = storeAs(width, w, [16, 64], granularity);
    const found = gptq(w, nearest, gram);
    expect(outputError(w, found, gram)).toBeLessThan(0.75 * outputError(w, nearest, gram));
    expect(found.kind).toBe(nearest.kind);
    if (found.kind === "affine" && found.bits === 4) {
      for (const c of found.codes) expect(Math.abs(c + 0.5)).toBeLessThanOrEqual(7.5);
    }
  },
);

test.each(["affine4", "palette3"] as Width[])(
  "%s: inputs that have nothing to do with each other leave the nearest codes",
  (width) => {
    const { w } = problem(4, 8, 32);
    const diagonal = new Float64Array(32 * 32);
    for (let i = 0; i < 32; i++) diagonal[i * 33] = 1 + i;
    const nearest = storeAs(width, w, [8, 32], granularity);
    expect([...decodeWeight(gptq(w, nearest, diagonal))]).toEqual([...decodeWeight(nearest)]);
  },
);

test("inputs that are always 0 do no harm, and no input at all changes nothing", () => {
  const { w, gram } = problem(5, 8, 32);
  for (let i = 0; i < 32; i++) {
    gram[i * 32 + 3] = 0;
    gram[3 * 32 + i] = 0;
  }
  const nearest = storeAs("affine4", w, [8, 32], granularity);
  const found = gptq(w, nearest, gram);
  expect(decodeWeight(found).every(Number.isFinite)).toBe(true);
  expect(outputError(w, found, gram)).toBeLessThan(outputError(w, nearest, gram));
  expect(gptq(w, nearest, new Float64Array(32 * 32))).toBe(nearest);
  expect(() => gptq(w, nearest, new Float64Array(4))).toThrow(/do not fit/);
});
