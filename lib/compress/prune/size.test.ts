import { expect, test } from "vitest";
import { tinyIds, tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { DecoderRunner } from "../../decoder/runner.ts";
import { parameterCount } from "../../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../../eval/perplexity.ts";
import type { TokenSequence } from "../../eval/sequences.ts";
import { createRng } from "../../random.ts";
import { cholesky, solveCholesky } from "../../stats/cholesky.ts";
import { compensate, leastSquares } from "./compensate.ts";
import { Products } from "./products.ts";
import { type LayerRemovals, layerRemovals } from "./removals.ts";
import { secondOrder } from "./second-order.ts";
import { chooseForSize } from "./size-target.ts";
import { pruneModel, slicedArchitecture } from "./slice.ts";
import { Surgeon } from "./surgeon.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const products = new Products(engine);
const normals = (seed: number, count: number): Float64Array => {
  const rng = createRng(seed);
  return Float64Array.from({ length: count }, () => rng.normal());
};
/** Σ_t a_t b_tᵀ of rows. */
const moment = (a: Float64Array, b: Float64Array, rows: number): Float64Array => {
  const [n, m] = [a.length / rows, b.length / rows];
  return Float64Array.from({ length: n * m }, (_, i) => {
    let sum = 0;
    for (let t = 0; t < rows; t++) sum += (a[t * n + Math.floor(i / m)] as number) * (b[t * m + (i % m)] as number);
    return sum / rows;
  });
};
const sequences = [11, 12, 13, 14].map(
  (seed): TokenSequence => ({ id: `s${seed}`, ids: tinyIds(40, 48, seed), scoredFrom: 1, sizeBytes: 40 }),
);

test("an inverse by halves multiplies back", async () => {
  const n = 400;
  const x = normals(1, 800 * n);
  const a = Float32Array.from(moment(x, x, 800), (v, i) => v + (i % (n + 1) === 0 ? 0.05 : 0));
  const unit = await products.product(a, await products.inverse(a, n), n, n, n);
  let worst = 0;
  for (const [i, v] of unit.entries()) worst = Math.max(worst, Math.abs(v - (i % (n + 1) === 0 ? 1 : 0)));
  expect(worst).toBeLessThan(1e-3);
});

test("the surgeon loses what the best weights for the inputs that stay lose", async () => {
  const [n, outputs, damping] = [10, 4, 0.01];
  const h = moment(normals(2, 60 * n), normals(2, 60 * n), 60);
  const f = moment(normals(3, 50 * outputs), normals(3, 50 * outputs), 50);
  const w = Float32Array.from(normals(4, outputs * n));
  const damped = h.map((v, i) => (i % (n + 1) === 0 ? v * (1 + damping) : v));
  /** ½ tr(F D H Dᵀ) with D = W − W′, W′ the least squares fit on the columns that stay, solved for anew. */
  const bruteForce = (gone: readonly number[]): number => {
    const stay = Array.from({ length: n }, (_, c) => c).filter((c) => !gone.includes(c));
    const part = Float64Array.from(stay.flatMap((r) => stay.map((c) => damped[r * n + c] as number)));
    const factor = cholesky(part, stay.length) as Float64Array;
    const difference = new Float64Array(outputs * n);
    for (let o = 0; o < outputs; o++) {
      const right = Float64Array.from(stay, (r) => {
        let sum = 0;
        for (let c = 0; c < n; c++) sum += (damped[r * n + c] as number) * (w[o * n + c] as number);
        return sum;
      });
      solveCholesky(factor, stay.length, right, 1);
      for (let c = 0; c < n; c++) difference[o * n + c] = w[o * n + c] as number;
      for (const [i, c] of stay.entries())
        difference[o * n + c] = (difference[o * n + c] as number) - (right[i] as number);
    }
    let total = 0;
    for (let o = 0; o < outputs; o++)
      for (let p = 0; p < outputs; p++)
        for (let a = 0; a < n; a++)
          for (let b = 0; b < n; b++)
            total +=
              (f[o * outputs + p] as number) *
              (difference[o * n + a] as number) *
              (damped[a * n + b] as number) *
              (difference[p * n + b] as number);
    return total / 2;
  };
  const surgeon = await Surgeon.create(products, h, w, f, damping);
  for (const { column, loss } of surgeon.columnLosses()) expect(loss / bruteForce([column])).toBeCloseTo(1, 3);
  const first = await surgeon.remove([2, 7]);
  expect(first / bruteForce([2, 7])).toBeCloseTo(1, 3);
  expect((first + surgeon.loss([0, 9])) / bruteForce([2, 7, 0, 9])).toBeCloseTo(1, 3);
  const second = await surgeon.remove([0, 9]);
  expect((first + second) / bruteForce([2, 7, 0, 9])).toBeCloseTo(1, 3);
  for (const { column, loss } of surgeon.columnLosses())
    expect((first + second + loss) / bruteForce([2, 7, 0, 9, column])).toBeCloseTo(1, 3);
});

test("least squares agree with normal equations solved naively, and a large ridge keeps the weights", async () => {
  const [rows, n, outputs] = [50, 6, 3];
  const x = normals(5, rows * n);
  const goal = normals(6, rows * outputs);
  const start = Float32Array.from(normals(7, outputs * n));
  const [h, c] = [moment(x, x, rows), moment(goal, x, rows)];
  const fitted = await leastSquares(products, h, c, start, 1e-9);
  // Gradient descent on the same mean squares.
  const w = new Float64Array(outputs * n);
  for (let step = 0; step < 3000; step++) {
    for (let o = 0; o < outputs; o++) {
      const g = Array.from({ length: n }, (_, i) => {
        let sum = -(c[o * n + i] as number);
        for (let j = 0; j < n; j++) sum += (h[i * n + j] as number) * (w[o * n + j] as number);
        return sum;
      });
      for (const [i, v] of g.entries()) w[o * n + i] = (w[o * n + i] as number) - 0.2 * v;
    }
  }
  for (const [i, v] of w.entries()) expect(fitted[i]).toBeCloseTo(v, 4);
  const held = await leastSquares(products, h, c, start, 1e7);
  for (const [i, v] of start.entries()) expect(held[i]).toBeCloseTo(v, 4);
});

test.each(["llama", "granite", "olmo2", "gemma3", "gemma4"] as const)(
  "%s: a size is reached within one unit, and fitting brings the stream back",
  async (family) => {
    const weights = tinyModel(family, 8);
    const { arch } = weights;
    const moments = await secondOrder(engine, weights, sequences);
    const removals: LayerRemovals[] = [];
    for (const l of arch.layers.keys())
      removals.push(await layerRemovals(products, weights, l, moments[l] as (typeof moments)[0], 4));
    for (const { attention, mlp } of removals) {
      for (const steps of [attention, mlp])
        for (let i = 1; i < steps.length; i++)
          expect(steps[i]?.loss).toBeGreaterThanOrEqual((steps[i - 1]?.loss ?? 0) - 1e-9);
    }
    for (const share of [0.9, 0.7]) {
      const target = Math.round(share * parameterCount(arch));
      const { selection } = chooseForSize(arch, removals, target, 4, { attention: 1, mlp: 1 });
      const pruned = pruneModel(weights, selection);
      expect(pruned.arch).toEqual(slicedArchitecture(arch, selection));
      const left = parameterCount(pruned.arch);
      expect(left).toBeLessThanOrEqual(target);
      // Of a layer with twice the neurons, or one whose heads others share keys with, a unit is larger.
      expect(target - left).toBeLessThan(0.06 * parameterCount(arch));
      for (const layer of pruned.arch.layers) expect(layer.neurons % 4).toBe(0);
      const kept = [...arch.layers.keys()].filter((l) => !selection.layers.includes(l));
      const fitted = await compensate(engine, weights, pruned, kept, sequences, { ridge: 1e-3 });
      const base = new DecoderRunner(engine, weights);
      const kl = async (w: typeof weights): Promise<number> =>
        (await sequenceLosses(new DecoderRunner(engine, w), sequences, { base })).reduce((t, s) => t + (s.kl ?? 0), 0);
      expect(await kl(fitted)).toBeLessThan(0.9 * (await kl(pruned)));
    }
    expect(() => chooseForSize(arch, removals, 10, 4, { attention: 1, mlp: 1 })).toThrow(/cannot be reached/);
  },
  60_000,
);
