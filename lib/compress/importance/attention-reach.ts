/**
 * @file How far back a head looks, how narrowly, and at which tokens.
 *
 * References: Clark et al., "What Does BERT Look At?" (2019) for the entropy of a head's attention; Vig and Belinkov, "Analyzing
 * the Structure of Attention in a Transformer Language Model" (2019) for its mean distance.
 *
 *   distance  mean_t Σ_j p(t, j) · (t − j)                  entropy  mean_t −Σ_j p(t, j) · log₂ p(t, j), bits
 *   share of distances a … b   mean_t Σ_{a ≤ t−j ≤ b} p(t, j)     share of a token v   mean_t Σ_{j ≥ 1, x_j = v} p(t, j)
 *
 * Each comes with its value for attention spread evenly over the visible keys. Query 0 is excluded, because it has only one key;
 * of tokens, key 0 is excluded too, because a head that looks there looks at the place.
 */
import { f32At, numberAt } from "../../elements.ts";
import type { AttendedSequence } from "./attention-patterns.ts";

export interface Share {
  /** 0 to 1. */
  readonly share: number;
  readonly evenly: number;
}

export interface AttentionReach {
  /** Tokens back, on average. */
  readonly distance: number;
  readonly evenDistance: number;
  /** Bits. */
  readonly entropy: number;
  readonly evenEntropy: number;
  /** 0, 1, 2–3, 4–7, 8–15 and so on tokens back; up to the farthest there is. */
  readonly distances: readonly (Share & { readonly from: number; readonly to: number })[];
  /** The tokens that get most, largest first. */
  readonly tokens: readonly (Share & { readonly id: number })[];
  /** Queries that were counted. */
  readonly queries: number;
}

/** 0 for 0, 1 for 1, 2 for 2–3, 3 for 4–7. */
const bucketOf = (distance: number): number => (distance === 0 ? 0 : 1 + Math.floor(Math.log2(distance)));

/** `window` is the number of keys a query sees, itself included, or null for all. Null when no query has two keys. */
export function attentionReach(
  sequences: Iterable<AttendedSequence>,
  window: number | null,
  mostTokens: number,
): AttentionReach | null {
  const sums = { distance: 0, evenDistance: 0, entropy: 0, evenEntropy: 0 };
  const buckets: { share: number; evenly: number }[] = [];
  const tokens = new Map<number, { share: number; evenly: number }>();
  let queries = 0;
  for (const { ids, weights, positions } of sequences) {
    for (let t = 1; t < positions; t++) {
      const from = window === null ? 0 : Math.max(0, t - window + 1);
      const even = 1 / (t - from + 1);
      queries++;
      sums.evenDistance += (t - from) / 2;
      sums.evenEntropy -= Math.log2(even);
      for (let j = from; j <= t; j++) {
        const p = f32At(weights, t * positions + j);
        sums.distance += p * (t - j);
        if (p > 0) sums.entropy -= p * Math.log2(p);
        const at = bucketOf(t - j);
        while (buckets.length <= at) buckets.push({ share: 0, evenly: 0 });
        const bucket = buckets[at];
        if (bucket) {
          bucket.share += p;
          bucket.evenly += even;
        }
        if (j === 0) continue;
        const id = numberAt(ids, j);
        const own = tokens.get(id) ?? { share: 0, evenly: 0 };
        own.share += p;
        own.evenly += even;
        tokens.set(id, own);
      }
    }
  }
  if (queries === 0) return null;
  const mean = ({ share, evenly }: Share): Share => ({ share: share / queries, evenly: evenly / queries });
  return {
    distance: sums.distance / queries,
    evenDistance: sums.evenDistance / queries,
    entropy: sums.entropy / queries,
    evenEntropy: sums.evenEntropy / queries,
    distances: buckets.map((b, at) => ({
      from: at === 0 ? 0 : 2 ** (at - 1),
      to: at === 0 ? 0 : 2 ** at - 1,
      ...mean(b),
    })),
    tokens: [...tokens]
      .map(([id, sum]) => ({ id, ...mean(sum) }))
      .sort((a, b) => b.share - a.share || a.id - b.id)
      .slice(0, mostTokens),
    queries,
  };
}
