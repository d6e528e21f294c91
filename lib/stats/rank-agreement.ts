/**
 * @file How far two rankings of the same units agree, and how far sampling noise would let them.
 *
 *   Spearman   ρ = Pearson of midranks
 *   ceiling    2ρ / (1 + ρ), ρ between the scores of two halves of the sequences (Spearman and Brown)
 *
 * Reference: Spearman 1910 and Brown 1910 for the ceiling. Correlations of a
 * list without any spread do not exist and are NaN. Not included: p-values, rank-biased overlap.
 */
import { numberAt } from "../elements.ts";
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
  Array.from({ length: values.length }, (_, i) => i).sort((i, j) => numberAt(values, i) - numberAt(values, j));

/** Ranks from 1, ties sharing the mean of their ranks. Throws `numeric/non-finite`. */
export function midranks(values: Numbers): Float64Array {
  requireFinite(values);
  const order = ascending(values);
  const ranks = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[numberAt(order, to)] === values[numberAt(order, from)]) to++;
    for (let k = from; k < to; k++) ranks[numberAt(order, k)] = (from + 1 + to) / 2;
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
    meanA += numberAt(a, i) / n;
    meanB += numberAt(b, i) / n;
  }
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < n; i++) {
    const da = numberAt(a, i) - meanA;
    const db = numberAt(b, i) - meanB;
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  if (aa === 0 || bb === 0) return Number.NaN;
  return Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb)));
}

export const spearman = (a: Numbers, b: Numbers): number => pearson(midranks(a), midranks(b));

/** Reliability of twice the data from the correlation between its halves: 2ρ / (1 + ρ). */
export const spearmanBrown = (rho: number): number => (rho <= -1 ? -1 : (2 * rho) / (1 + rho));

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
    perSequence.map((row) => members.reduce((t, s) => t + numberAt(row, s), 0) / members.length);
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
