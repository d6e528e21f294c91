/**
 * @file What a head attends to, in a few numbers.
 *
 * References: Olsson et al., "In-context Learning and Induction Heads" (2022) for induction (prefix matching); Clark et al., "What
 * Does BERT Look At?" (2019) for delimiters and neighbours; Xiao et al., "Efficient Streaming Language Models with Attention
 * Sinks" (2024) for the first token.
 *
 *   previous   mean_t p(t, t−1)              first    mean_t p(t, 0)          self   mean_t p(t, t)
 *   delimiter  mean_t Σ_{j: x_j a delimiter} p(t, j)
 *   duplicate  mean over t whose token came before: Σ_{j<t, x_j = x_t} p(t, j)
 *   induction  the same with p(t, j+1): what followed then
 *
 * Each comes with its value for attention spread evenly over the visible keys. Position 0 is
 * excluded, because it has only one key.
 */
import { f32At, numberAt } from "../../elements.ts";

export const patternNames = ["previous", "first", "self", "delimiter", "duplicate", "induction"] as const;
export type PatternName = (typeof patternNames)[number];

export interface PatternScore {
  readonly pattern: PatternName;
  /** Share of attention, 0 to 1; NaN where no position qualifies. */
  readonly score: number;
  readonly evenly: number;
  /** Positions that qualify. */
  readonly positions: number;
}

export interface AttendedSequence {
  readonly ids: ArrayLike<number>;
  /** p (positions, positions) of one head, rows over keys. */
  readonly weights: Float32Array;
  readonly positions: number;
}

/** Scores over sequences; `window` is the number of keys a query sees, itself included, or null for
 * all. */
export function attentionPatterns(
  sequences: Iterable<AttendedSequence>,
  isDelimiter: (id: number) => boolean,
  window: number | null,
): PatternScore[] {
  const sums = new Map(patternNames.map((name) => [name, { score: 0, evenly: 0, positions: 0 }]));
  for (const { ids, weights, positions } of sequences) {
    for (let t = 1; t < positions; t++) {
      const from = window === null ? 0 : Math.max(0, t - window + 1);
      const visible = t - from + 1;
      const keys: Record<PatternName, number[] | null> = {
        previous: [t - 1],
        first: [0],
        self: [t],
        delimiter: [],
        duplicate: null,
        induction: null,
      };
      for (let j = from; j <= t; j++) {
        if (isDelimiter(numberAt(ids, j))) keys.delimiter?.push(j);
        if (j < t && ids[j] === ids[t]) {
          keys.duplicate = [...(keys.duplicate ?? []), j];
          keys.induction = [...(keys.induction ?? []), j + 1];
        }
      }
      for (const name of patternNames) {
        const own = keys[name];
        const sum = sums.get(name);
        if (!own || !sum) continue;
        sum.positions++;
        for (const j of own) {
          if (j < from) continue;
          sum.score += f32At(weights, t * positions + j);
          sum.evenly += 1 / visible;
        }
      }
    }
  }
  return patternNames.map((pattern) => {
    const { score, evenly, positions } = sums.get(pattern) ?? { score: 0, evenly: 0, positions: 0 };
    return { pattern, score: score / positions, evenly: evenly / positions, positions };
  });
}

export interface AttentionExample {
  readonly sequence: number;
  readonly query: number;
  readonly key: number;
  readonly weight: number;
}

/** The largest weights on a key that is neither the query itself nor the first token, at most one for each query token. */
export function strongestExamples(sequences: Iterable<AttendedSequence>, count: number): AttentionExample[] {
  const best = new Map<number, AttentionExample>();
  let sequence = 0;
  for (const { ids, weights, positions } of sequences) {
    for (let query = 2; query < positions; query++) {
      for (let key = 1; key < query; key++) {
        const w = f32At(weights, query * positions + key);
        const id = numberAt(ids, query);
        if (w > (best.get(id)?.weight ?? 0)) best.set(id, { sequence, query, key, weight: w });
      }
    }
    sequence++;
  }
  return [...best.values()].sort((a, b) => b.weight - a.weight).slice(0, count);
}
