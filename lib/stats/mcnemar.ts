/**
 * @file McNemar's exact test: do two models differ in how many of the same items they answer right?
 *
 *   p = min(1, 2 · Σ_{k ≤ min(b, c)} C(b + c, k) / 2^(b + c)),  b and c the items only one of them gets right
 *
 * Reference: McNemar 1947; the binomial form is exact for any number of items. Items both get right or wrong carry
 * no information, which is why comparing the two accuracies as if independent wastes most of the evidence.
 */
import { numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";

/** Two-sided p-value of `b` items only the one and `c` items only the other gets right. */
export function mcnemarExact(b: number, c: number): number {
  if (!Number.isInteger(b) || !Number.isInteger(c) || b < 0 || c < 0) {
    throw new EspalierError("input/invalid", `discordant counts must be whole and not negative, found ${b} and ${c}`);
  }
  const n = b + c;
  let logTerm = -n * Math.LN2; // of k = 0
  let p = Math.exp(logTerm);
  for (let k = 1; k <= Math.min(b, c); k++) {
    logTerm += Math.log((n - k + 1) / k);
    p += Math.exp(logTerm);
  }
  return Math.min(1, 2 * p);
}

export interface McnemarResult {
  readonly bothRight: number;
  readonly onlyBase: number;
  readonly onlyCandidate: number;
  readonly bothWrong: number;
  /** Accuracy of the candidate less that of the base. */
  readonly difference: number;
  readonly p: number;
}

/** Right or wrong by item, the same items in the same order. Throws `input/invalid`, `input/empty`. */
export function mcnemar(base: readonly boolean[], candidate: readonly boolean[]): McnemarResult {
  if (base.length !== candidate.length) {
    throw new EspalierError(
      "input/invalid",
      `the base answered ${base.length} items, the candidate ${candidate.length}`,
    );
  }
  if (base.length === 0) throw new EspalierError("input/empty", "no items to compare");
  const counts = [0, 0, 0, 0] as [number, number, number, number];
  for (const [i, right] of base.entries()) {
    const cell = (right ? 0 : 2) + (candidate[i] ? 0 : 1);
    counts[cell] = numberAt(counts, cell) + 1;
  }
  const [bothRight, onlyBase, onlyCandidate, bothWrong] = counts;
  const difference = (onlyCandidate - onlyBase) / base.length;
  return { bothRight, onlyBase, onlyCandidate, bothWrong, difference, p: mcnemarExact(onlyBase, onlyCandidate) };
}
