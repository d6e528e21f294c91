/**
 * @file The difference of two models measured on the same sequences, with an error that knows they were the same.
 *
 *   Δ = Σ_s (y_s − x_s) / Σ_s n_s,  SE² = S/(S − 1) · Σ_s (y_s − x_s − Δ n_s)² / (Σ_s n_s)²
 *
 * y_s and x_s are sums over sequence s (say nats), n_s its tokens; sequences of one cluster (say a document) are
 * added up first. Tokens of a sequence are not independent, so sequences are counted, not tokens.
 * Reference: the delta method for a ratio; Miller 2024, "Adding error bars to evals", for clusters.
 */
import { itemAt, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { z95 } from "./proportion.ts";
import { ratioAndError } from "./ratio.ts";

export interface PairedOptions {
  /** n_s; 1 each when left out, which makes Δ the plain mean. */
  readonly weights?: ArrayLike<number> | undefined;
  /** The cluster of each sequence; each its own when left out. */
  readonly clusters?: readonly (string | number)[] | undefined;
  /** |z| up to which a difference counts as noise. */
  readonly threshold?: number | undefined;
}

export interface PairedDifference {
  /** Candidate less base, per unit of weight. */
  readonly mean: number;
  /** NaN for a single cluster: unknown. */
  readonly standardError: number;
  readonly z: number;
  /** Also true where the error is unknown. */
  readonly withinNoise: boolean;
  readonly clusters: number;
}

/** Sums per sequence of either model, in the same order. Throws `input/invalid`, `input/empty`, `numeric/non-finite`. */
export function pairedDifference(
  base: ArrayLike<number>,
  candidate: ArrayLike<number>,
  options: PairedOptions = {},
): PairedDifference {
  const { weights, clusters, threshold = z95 } = options;
  const n = base.length;
  for (const [what, list] of Object.entries({ candidate, weights, clusters })) {
    if (list && list.length !== n) {
      throw new EspalierError("input/invalid", `${n} base sequences but ${list.length} ${what}`, {
        hint: "Compare models on the same sequences, in the same order.",
      });
    }
  }
  if (n === 0) throw new EspalierError("input/empty", "no sequences to compare");
  const difference = new Map<string | number, number>();
  const weight = new Map<string | number, number>();
  for (let s = 0; s < n; s++) {
    const d = numberAt(candidate, s) - numberAt(base, s);
    if (!Number.isFinite(d)) {
      throw new EspalierError("numeric/non-finite", `sequence ${s}: base ${base[s]}, candidate ${candidate[s]}`);
    }
    const key = clusters ? itemAt(clusters, s) : s;
    difference.set(key, (difference.get(key) ?? 0) + d);
    weight.set(key, (weight.get(key) ?? 0) + (weights ? numberAt(weights, s) : 1));
  }
  const { mean, standardError } = ratioAndError([...difference.values()], [...weight.values()]);
  const z = mean === 0 ? 0 : mean / standardError;
  return { mean, standardError, z, withinNoise: !(Math.abs(z) > threshold), clusters: difference.size };
}
