/**
 * @file How far two rankings of the same units agree, and how far sampling noise would let them.
 *
 *   Spearman   ρ = Pearson of midranks
 *   Kendall    τ_b = (C − D) / √((n₀ − n₁)(n₀ − n₂)), n₀ = n(n − 1)/2, n₁ and n₂ pairs tied in either list
 *   ceiling    2ρ / (1 + ρ), ρ between the scores of two halves of the sequences (Spearman and Brown)
 *
 * Reference: Knight 1966 for τ_b in O(n log n); Spearman 1910 and Brown 1910 for the ceiling. Correlations of a
 * list without any spread do not exist and are NaN. Left out: p-values, rank-biased overlap.
 */
import { EspalierError } from "../errors.ts";
import type { Rng } from "../random.ts";

type Numbers = ArrayLike<number>;

function requireSameLength(a: Numbers, b: Numbers): void {
  if (a.length !== b.length) {
    throw new EspalierError("input/invalid", `rank agreement of lists of ${a.length} and ${b.length} scores`, {
      hint: "Score the same units, in the same order, in both lists.",
    });
  }
}

function requireFinite(values: Numbers): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new EspalierError("numeric/non-finite", `score ${i} of ${values.length} is ${values[i]}; it has no rank`);
    }
  }
}

const ascending = (values: Numbers): number[] =>
  Array.from({ length: values.length }, (_, i) => i).sort((i, j) => (values[i] as number) - (values[j] as number));

/** Ranks from 1, ties sharing the mean of their ranks. Throws `numeric/non-finite`. */
export function midranks(values: Numbers): Float64Array {
  requireFinite(values);
  const order = ascending(values);
  const ranks = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to++;
    for (let k = from; k < to; k++) ranks[order[k] as number] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

/** Linear correlation; NaN when either list has no spread. */
export function pearson(a: Numbers, b: Numbers): number {
  requireSameLength(a, b);
  const n = a.length;
  let meanA = 0;
  let meanB = 0;
  for (let i = 0; i < n; i++) {
    meanA += (a[i] as number) / n;
    meanB += (b[i] as number) / n;
  }
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < n; i++) {
    const da = (a[i] as number) - meanA;
    const db = (b[i] as number) - meanB;
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  if (aa === 0 || bb === 0) return Number.NaN;
  return Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb)));
}

export const spearman = (a: Numbers, b: Numbers): number => pearson(midranks(a), midranks(b));

/** Pairs out of order in `list`, which comes back sorted (merge sort). */
function countInversions(list: Float64Array): number {
  let from: Float64Array = list;
  let to: Float64Array = new Float64Array(list.length);
  let inversions = 0;
  for (let width = 1; width < list.length; width *= 2) {
    for (let lo = 0; lo < list.length; lo += 2 * width) {
      const mid = Math.min(lo + width, list.length);
      const hi = Math.min(lo + 2 * width, list.length);
      let i = lo;
      let j = mid;
      for (let k = lo; k < hi; k++) {
        if (i < mid && (j >= hi || (from[i] as number) <= (from[j] as number))) {
          to[k] = from[i++] as number;
        } else {
          inversions += mid - i;
          to[k] = from[j++] as number;
        }
      }
    }
    [from, to] = [to, from];
  }
  if (from !== list) list.set(from);
  return inversions;
}

/** Pairs with equal keys among neighbours in an order that puts equal keys together. */
function tiedPairs(n: number, sameAsBefore: (i: number) => boolean): number {
  let pairs = 0;
  let run = 1;
  for (let i = 1; i <= n; i++) {
    if (i < n && sameAsBefore(i)) {
      run++;
    } else {
      pairs += (run * (run - 1)) / 2;
      run = 1;
    }
  }
  return pairs;
}

/** Kendall's τ_b in O(n log n); NaN when either list has no spread. */
export function kendallTauB(a: Numbers, b: Numbers): number {
  requireSameLength(a, b);
  requireFinite(a);
  requireFinite(b);
  const n = a.length;
  const order = Array.from({ length: n }, (_, i) => i).sort(
    (i, j) => (a[i] as number) - (a[j] as number) || (b[i] as number) - (b[j] as number),
  );
  const at = (list: Numbers, k: number): number => list[order[k] as number] as number;
  const tiedA = tiedPairs(n, (k) => at(a, k) === at(a, k - 1));
  const tiedBoth = tiedPairs(n, (k) => at(a, k) === at(a, k - 1) && at(b, k) === at(b, k - 1));
  const second = Float64Array.from(order, (i) => b[i] as number);
  const discordant = countInversions(second);
  const tiedB = tiedPairs(n, (k) => second[k] === second[k - 1]);
  const pairs = (n * (n - 1)) / 2;
  const concordant = pairs - tiedA - tiedB + tiedBoth - discordant;
  const scale = Math.sqrt((pairs - tiedA) * (pairs - tiedB));
  return scale === 0 ? Number.NaN : (concordant - discordant) / scale;
}

/** The positions of the `count` lowest scores; ties go to the earlier position. */
function lowest(values: Numbers, count: number): Set<number> {
  return new Set(ascending(values).slice(0, count));
}

/** |A ∩ B| / |A ∪ B| of the lowest `share` (0 to 1, at least one unit) of each list: would both prune the same? */
export function jaccardOfLowest(a: Numbers, b: Numbers, share: number): number {
  requireSameLength(a, b);
  requireFinite(a);
  requireFinite(b);
  if (!(share > 0 && share <= 1) || a.length === 0) {
    throw new EspalierError("input/invalid", `the lowest share ${share} of ${a.length} units`, {
      hint: "Give a share above 0 and at most 1, of at least one unit.",
    });
  }
  const count = Math.max(1, Math.round(share * a.length));
  const inA = lowest(a, count);
  let shared = 0;
  for (const i of lowest(b, count)) if (inA.has(i)) shared++;
  return shared / (2 * count - shared);
}

/** Reliability of twice the data from the correlation between its halves: 2ρ / (1 + ρ). */
export const spearmanBrown = (rho: number): number => (rho <= -1 ? -1 : (2 * rho) / (1 + rho));

/** ρ_xy / √(ρ_xx ρ_yy): the correlation without the noise in either; NaN where a reliability is not positive. */
export const disattenuate = (rho: number, reliabilityA: number, reliabilityB: number): number =>
  reliabilityA > 0 && reliabilityB > 0 ? rho / Math.sqrt(reliabilityA * reliabilityB) : Number.NaN;

export interface NoiseCeilingOptions {
  /** Draws random halves; without it the halves are the even and the odd sequences. */
  readonly rng?: Rng | undefined;
  /** Random halvings to average over. */
  readonly splits?: number | undefined;
}

/**
 * The reliability of a ranking by mean score: how well it would agree with itself on fresh sequences.
 * `perSequence` is (units, sequences); NaN with fewer than 2 sequences or without spread between units.
 */
export function noiseCeiling(perSequence: readonly Numbers[], options: NoiseCeilingOptions = {}): number {
  const sequences = perSequence[0]?.length ?? 0;
  for (const [u, row] of perSequence.entries()) {
    if (row.length !== sequences) {
      throw new EspalierError("input/invalid", `unit ${u} has ${row.length} sequences, unit 0 has ${sequences}`);
    }
  }
  if (sequences < 2) return Number.NaN;
  const { rng, splits = 20 } = options;
  const all = Array.from({ length: sequences }, (_, s) => s);
  const means = (members: readonly number[]): number[] =>
    perSequence.map((row) => members.reduce((t, s) => t + (row[s] as number), 0) / members.length);
  const half = Math.floor(sequences / 2);
  let total = 0;
  const rounds = rng ? splits : 1;
  for (let r = 0; r < rounds; r++) {
    const order = rng ? rng.shuffle(all) : [...all.filter((s) => s % 2 === 0), ...all.filter((s) => s % 2 === 1)];
    const cut = rng ? half : sequences - half;
    total += spearmanBrown(spearman(means(order.slice(0, cut)), means(order.slice(cut))));
  }
  return total / rounds;
}
