/**
 * @file Wilson's score interval of a proportion such as an accuracy.
 *
 *   (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)
 *
 * Reference: Wilson 1927. Unlike p̂ ± z·SE it stays inside [0, 1] and has width at p̂ = 0 and 1.
 */
import { EspalierError } from "../errors.ts";

/** The quantile of a standard normal that leaves 2.5 % above. */
export const z95 = 1.959963984540054;

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Interval of `successes` out of `trials`; `z` is 1.96 for 95 %. Throws `input/invalid`. */
export function wilsonInterval(successes: number, trials: number, z = z95): Interval {
  if (!(trials > 0 && successes >= 0 && successes <= trials)) {
    throw new EspalierError("input/invalid", `a proportion of ${successes} out of ${trials}`);
  }
  const p = successes / trials;
  const z2 = (z * z) / trials;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = (z / (1 + z2)) * Math.sqrt((p * (1 - p)) / trials + z2 / (4 * trials));
  return {
    low: successes === 0 ? 0 : centre - half,
    high: successes === trials ? 1 : centre + half,
  };
}
