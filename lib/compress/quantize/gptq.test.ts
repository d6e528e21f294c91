import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { CompressedWeight } from "../../weights/weight.ts";
import { storeCalibrated } from "./calibrated.ts";
import { upperUnitFactor } from "./error-feedback.ts";
import { gptq } from "./gptq.ts";
import type { MatrixProduct } from "./matrix-products.ts";
import { finish } from "./steps.ts";
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

/** The definition of a product, in double precision. */
const product: MatrixProduct = async (a, b, inner, columns) => {
  const out = new Float32Array((a.length / inner) * columns);
  for (let i = 0; i < out.length; i++) {
    let v = 0;
    for (let k = 0; k < inner; k++)
      v += (a[Math.floor(i / columns) * inner + k] as number) * (b[k * columns + (i % columns)] as number);
    out[i] = v;
  }
  return out;
};

/** Σ_r ρ_r (w_r − ŵ_r) H (w_r − ŵ_r)ᵀ. */
function outputError(values: Float32Array, stored: CompressedWeight, gram: Float64Array, rho?: Float32Array): number {
  const [rows, n] = stored.shape as [number, number];
  const decoded = decodeWeight(stored);
  let total = 0;
  for (let r = 0; r < rows; r++) {
    const d = Array.from({ length: n }, (_, c) => (values[r * n + c] as number) - (decoded[r * n + c] as number));
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        total += (rho?.[r] ?? 1) * (d[i] as number) * (gram[i * n + j] as number) * (d[j] as number);
  }
  return total;
}

test.each([1, 5, 48, 49, 130])("H of %i columns is (I + F) D (I + F)ᵀ with F strictly upper triangular", (n) => {
  const { gram } = problem(1, 1, n);
  for (let i = 0; i < n; i++) gram[i * (n + 1)] = 1.1 * (gram[i * (n + 1)] as number);
  const u = finish(upperUnitFactor(gram, n)) as Float32Array;
  // D follows from the last column on: H_kk = Σ_{m≥k} u_km² d_m.
  const d = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    let v = gram[k * (n + 1)] as number;
    for (let m = k + 1; m < n; m++) v -= (u[k * n + m] as number) ** 2 * (d[m] as number);
    d[k] = v;
  }
  const size = Math.max(...gram.map(Math.abs));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let v = 0;
      for (let m = Math.max(i, j); m < n; m++)
        v += (u[i * n + m] as number) * (d[m] as number) * (u[j * n + m] as number);
      expect(Math.abs(v - (gram[i * n + j] as number)) / size).toBeLessThan(1e-5);
      if (j < i) expect(u[i * n + j]).toBe(0);
    }
    expect(u[i * (n + 1)]).toBe(1);
  }
});

test("what is not positive definite has no factor", () => {
  expect(finish(upperUnitFactor(Float64Array.of(1, 2, 2, 1), 2))).toBeNull();
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

test("the feedback's codes are those of solving for the remaining columns anew after each", async () => {
  const { w, gram } = problem(2, 8, 70);
  const nearest = storeAs("palette2", w, [8, 70], granularity);
  const found = decodeWeight(await gptq(w, nearest, gram, product, { rounds: 0 }));
  const expected = naive(w, nearest, gram);
  // Blocks are in single precision: a weight halfway between two entries may fall to the other one.
  const same = found.filter((v, i) => v === expected[i]).length;
  expect(same).toBeGreaterThan(0.99 * found.length);
});

test.each(["affine4", "affine8", "palette2", "palette3", "palette4"] as Width[])(
  "%s: the error of outputs falls well below that of the nearest codes, and further with every round",
  async (width) => {
    const { w, gram } = problem(3, 16, 64);
    const nearest = storeAs(width, w, [16, 64], granularity);
    const errors = [outputError(w, nearest, gram)];
    for (const rounds of [0, 1, 3]) {
      const found = await gptq(w, nearest, gram, product, { rounds, damping: 1e-4 });
      errors.push(outputError(w, found, gram));
      expect(found.kind).toBe(nearest.kind);
      if (found.kind === "affine" && found.bits === 4)
        for (const c of found.codes) expect(Math.abs(c + 0.5)).toBeLessThanOrEqual(7.5);
    }
    const [plain = 0, feedback = 0, once = 0, thrice = 0] = errors;
    expect(feedback).toBeLessThan(0.75 * plain);
    expect(once).toBeLessThan(feedback);
    expect(thrice).toBeLessThanOrEqual(once);
  },
);

test("tables end where no entry can be moved for the better: the weighted least squares of their codes", async () => {
  const { w, gram } = problem(6, 16, 24);
  const rowWeights = Float32Array.from({ length: 16 }, (_, r) => 1 + (r % 5));
  const nearest = storeAs("palette2", w, [16, 24], granularity);
  const found = await gptq(w, nearest, gram, product, { rounds: 1, rowWeights, damping: 1e-6 });
  if (found.kind !== "palette") throw new Error("a palette stays one");
  const least = outputError(w, found, gram, rowWeights);
  for (let p = 0; p < found.tables.length; p++) {
    for (const factor of [0.97, 1.03]) {
      const tables = found.tables.slice();
      tables[p] = factor * (tables[p] as number);
      expect(outputError(w, { ...found, tables }, gram, rowWeights)).toBeGreaterThan(0.999 * least);
    }
  }
  for (let p = 0; p + 1 < found.tables.length; p++)
    if (p % 4 !== 3) expect(found.tables[p + 1]).toBeGreaterThanOrEqual(found.tables[p] as number);
});

test("scales of rows stay, and rows count by their squares", async () => {
  const { w, gram } = problem(7, 16, 32);
  for (let i = 0; i < w.length; i++) w[i] = (w[i] as number) * (1 + (Math.floor(i / 32) % 4));
  const nearest = storeAs("palette3", w, [16, 32], { ...granularity, rowScales: true });
  const found = await gptq(w, nearest, gram, product);
  expect(found.kind === "scaled" && nearest.kind === "scaled" && found.rowScales).toEqual(
    nearest.kind === "scaled" && nearest.rowScales,
  );
  expect(outputError(w, found, gram)).toBeLessThan(0.75 * outputError(w, nearest, gram));
});

test.each(["affine4", "palette3"] as Width[])(
  "%s: inputs that have nothing to do with each other leave the nearest codes",
  async (width) => {
    const { w } = problem(4, 8, 32);
    const diagonal = new Float64Array(32 * 32);
    for (let i = 0; i < 32; i++) diagonal[i * 33] = 1 + i;
    const nearest = storeAs(width, w, [8, 32], granularity);
    const found = await gptq(w, nearest, diagonal, product, { rounds: 0 });
    expect([...decodeWeight(found)]).toEqual([...decodeWeight(nearest)]);
  },
);

test("inputs that are always 0 do no harm, and no input at all changes nothing", async () => {
  const { w, gram } = problem(5, 8, 32);
  for (let i = 0; i < 32; i++) {
    gram[i * 32 + 3] = 0;
    gram[3 * 32 + i] = 0;
  }
  const nearest = storeAs("affine4", w, [8, 32], granularity);
  const found = await gptq(w, nearest, gram, product);
  expect(decodeWeight(found).every(Number.isFinite)).toBe(true);
  expect(outputError(w, found, gram)).toBeLessThan(outputError(w, nearest, gram));
  expect(await gptq(w, nearest, new Float64Array(32 * 32), product)).toBe(nearest);
  await expect(gptq(w, nearest, new Float64Array(4), product)).rejects.toThrow(/do not fit/);
});

test("a calibrated palette is chosen by what inputs and rows count, and can be cancelled", async () => {
  const { w, gram } = problem(8, 16, 48);
  const rowWeights = Float32Array.from({ length: 16 }, (_, r) => (r % 8 === 0 ? 100 : 1));
  const stored = await storeCalibrated("palette2", w, [16, 48], granularity, { gram, rowWeights }, product);
  const plain = storeAs("palette2", w, [16, 48], granularity);
  expect(outputError(w, stored, gram, rowWeights)).toBeLessThan(0.6 * outputError(w, plain, gram, rowWeights));
  const cancelled = AbortSignal.abort();
  await expect(
    storeCalibrated("palette2", w, [16, 48], granularity, { gram }, product, { signal: cancelled }),
  ).rejects.toThrow(/cancelled/);
});
