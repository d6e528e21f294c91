/**
 * @file Optimal one-dimensional k-means with weights.
 *
 * Reference: Grønlund et al., "Fast Exact k-Means, k-Medians and Bregman Divergence Clustering in 1D" (2017). On sorted
 * x, clusters are intervals: D[c][i] = min_j D[c−1][j] + cost(j, i) with cost(j, i) = Σ w x² − (Σ w x)² / Σ w from prefix
 * sums. The best j never falls as i grows, so each row is filled by divide and conquer in O(n log n).
 *
 * Above `EXACT_LIMIT` distinct values the dynamic program runs on bins of equal width and Lloyd's iterations on the values
 * themselves finish; that is no longer provably optimal, but starts from the optimum of a fine histogram.
 */

/** Distinct values up to which the result is exact. */
export const EXACT_LIMIT = 2048;
const LLOYD_ITERATIONS = 40;

interface Points {
  readonly x: Float64Array; // (n) ascending
  readonly w: Float64Array; // (n)
}

/** Prefix sums over centred points, so that squares do not cancel. */
class Prefix {
  readonly centre: number;
  private readonly w: Float64Array;
  private readonly wx: Float64Array;
  private readonly wxx: Float64Array;

  constructor({ x, w }: Points) {
    const n = x.length;
    let total = 0;
    let mean = 0;
    for (let i = 0; i < n; i++) {
      total += w[i] as number;
      mean += (w[i] as number) * (x[i] as number);
    }
    this.centre = total > 0 ? mean / total : 0;
    this.w = new Float64Array(n + 1);
    this.wx = new Float64Array(n + 1);
    this.wxx = new Float64Array(n + 1);
    for (let i = 0; i < n; i++) {
      const c = (x[i] as number) - this.centre;
      const wi = w[i] as number;
      this.w[i + 1] = (this.w[i] as number) + wi;
      this.wx[i + 1] = (this.wx[i] as number) + wi * c;
      this.wxx[i + 1] = (this.wxx[i] as number) + wi * c * c;
    }
  }

  /** Squared error of points j … i − 1 around their mean. */
  cost(j: number, i: number): number {
    const weight = (this.w[i] as number) - (this.w[j] as number);
    if (weight <= 0) return 0;
    const sum = (this.wx[i] as number) - (this.wx[j] as number);
    return Math.max(0, (this.wxx[i] as number) - (this.wxx[j] as number) - (sum * sum) / weight);
  }

  mean(j: number, i: number): number {
    const weight = (this.w[i] as number) - (this.w[j] as number);
    return weight > 0 ? this.centre + ((this.wx[i] as number) - (this.wx[j] as number)) / weight : Number.NaN;
  }
}

/** Cluster boundaries 0 = b₀ < b₁ < … < b_k = n that minimise the total cost. */
function optimalBoundaries(prefix: Prefix, n: number, k: number): Int32Array {
  let before = new Float64Array(n + 1);
  let current = new Float64Array(n + 1);
  const choice: Int32Array[] = [];
  for (let i = 0; i <= n; i++) before[i] = prefix.cost(0, i);
  for (let c = 2; c <= k; c++) {
    const chosen = new Int32Array(n + 1);
    const fill = (low: number, high: number, jLow: number, jHigh: number): void => {
      if (low > high) return;
      const i = (low + high) >> 1;
      let best = Number.POSITIVE_INFINITY;
      let bestJ = jLow;
      for (let j = Math.max(jLow, c - 1), end = Math.min(jHigh, i - 1); j <= end; j++) {
        const total = (before[j] as number) + prefix.cost(j, i);
        if (total < best) {
          best = total;
          bestJ = j;
        }
      }
      current[i] = best;
      chosen[i] = bestJ;
      fill(low, i - 1, jLow, bestJ);
      fill(i + 1, high, bestJ, jHigh);
    };
    fill(c, n, c - 1, n - 1);
    choice.push(chosen);
    [before, current] = [current, before];
  }
  const bounds = new Int32Array(k + 1);
  bounds[k] = n;
  for (let c = k; c >= 2; c--) bounds[c - 1] = choice[c - 2]?.[bounds[c] as number] ?? 0;
  return bounds;
}

/**
 * At most `k` centroids, ascending, that minimise Σ w (x − nearest)². Fewer when there are fewer distinct values.
 * `values` in any order; `weights` as many, 1 when left out; a weight of 0 is ignored.
 */
export function kmeans1d(values: Float32Array, k: number, weights?: Float32Array): Float64Array {
  const points = distinctPoints(values, weights);
  const n = points.x.length;
  if (n <= k) return points.x.slice();
  const exact = new Prefix(points);
  if (n <= EXACT_LIMIT) return centroids(exact, optimalBoundaries(exact, n, k));
  const bins = binned(points, EXACT_LIMIT);
  const coarse = new Prefix(bins);
  const start = centroids(coarse, optimalBoundaries(coarse, bins.x.length, Math.min(k, bins.x.length)));
  return lloyd(points.x, exact, start);
}

function centroids(prefix: Prefix, bounds: Int32Array): Float64Array {
  return Float64Array.from({ length: bounds.length - 1 }, (_, c) =>
    prefix.mean(bounds[c] as number, bounds[c + 1] as number),
  );
}

function distinctPoints(values: Float32Array, weights: Float32Array | undefined): Points {
  if (!weights) {
    const sorted = values.slice().sort();
    const x = new Float64Array(sorted.length);
    const w = new Float64Array(sorted.length);
    let n = 0;
    for (let i = 0; i < sorted.length; i++) {
      const v = sorted[i] as number;
      if (n > 0 && x[n - 1] === v) w[n - 1] = (w[n - 1] as number) + 1;
      else {
        x[n] = v;
        w[n++] = 1;
      }
    }
    return { x: x.subarray(0, n), w: w.subarray(0, n) };
  }
  const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => (values[a] as number) - (values[b] as number));
  const x: number[] = [];
  const w: number[] = [];
  for (const i of order) {
    const wi = weights[i] as number;
    if (!(wi > 0)) continue;
    const v = values[i] as number;
    if (x.length > 0 && x.at(-1) === v) w[w.length - 1] = (w.at(-1) as number) + wi;
    else {
      x.push(v);
      w.push(wi);
    }
  }
  // All weights zero: every value counts the same.
  return x.length > 0 ? { x: Float64Array.from(x), w: Float64Array.from(w) } : distinctPoints(values, undefined);
}

/** Weighted means of at most `count` bins of equal width. */
function binned({ x, w }: Points, count: number): Points {
  const low = x[0] as number;
  const width = ((x.at(-1) as number) - low) / count;
  const sum = new Float64Array(count);
  const mass = new Float64Array(count);
  for (let i = 0; i < x.length; i++) {
    const bin = Math.min(count - 1, Math.floor(((x[i] as number) - low) / width));
    sum[bin] = (sum[bin] as number) + (w[i] as number) * (x[i] as number);
    mass[bin] = (mass[bin] as number) + (w[i] as number);
  }
  const used = Array.from({ length: count }, (_, b) => b).filter((b) => (mass[b] as number) > 0);
  return {
    x: Float64Array.from(used, (b) => (sum[b] as number) / (mass[b] as number)),
    w: Float64Array.from(used, (b) => mass[b] as number),
  };
}

/** Lloyd's iterations: boundaries halfway between centroids, centroids at the means, until nothing moves. */
function lloyd(x: Float64Array, prefix: Prefix, start: Float64Array): Float64Array {
  let centres = start;
  for (let round = 0; round < LLOYD_ITERATIONS; round++) {
    const bounds = new Int32Array(centres.length + 1);
    bounds[centres.length] = x.length;
    for (let c = 1; c < centres.length; c++) {
      bounds[c] = lowerBound(x, ((centres[c - 1] as number) + (centres[c] as number)) / 2);
    }
    let moved = false;
    const next = Float64Array.from(centres, (before, c) => {
      const mean = prefix.mean(bounds[c] as number, bounds[c + 1] as number);
      if (!Number.isFinite(mean)) return before;
      if (mean !== before) moved = true;
      return mean;
    });
    centres = next;
    if (!moved) break;
  }
  return centres;
}

/** The first index whose value is not below `limit`. */
export function lowerBound(x: ArrayLike<number>, limit: number): number {
  let low = 0;
  let high = x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((x[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
