/**
 * @file Which units to measure first: those for which a cheap estimate is least certain whether
 * they may be removed.
 *
 * Reference: Kalyanakrishnan et al., "PAC Subset Selection in Stochastic Multi-armed Bandits"
 * (2012): samples go to the arms nearest the border of the subset.
 *
 *   p_u = −mean_s g_u,s;   τ between the m-th and the next p in ascending order;   doubt_u = √(se_u² + (mean_s |g_u,s|)²) / |p_u − τ|
 *
 * g is the gradient of the loss with respect to the unit's gate. The second part of the error
 * covers higher orders: removing a unit is a step as large as its own effect. A unit far from the
 * border on either side is decided without measuring it. Not included: rounds in which measurements
 * move the border.
 */
import { meanAndError } from "../../stats/ratio.ts";

/** Indices of at most `count` units, the most uncertain first; `share` of the units may be removed.
 * `gradients` by unit and sequence. */
export function mostInDoubt(gradients: readonly (readonly number[])[], share: number, count: number): number[] {
  const estimates = gradients.map((values) => {
    const { mean, standardError } = meanAndError(values);
    const size = meanAndError(values.map(Math.abs)).mean;
    return { value: -mean, error: Math.hypot(values.length > 1 ? standardError : 0, size) };
  });
  const ascending = estimates.map((e) => e.value).sort((a, b) => a - b);
  const going = Math.max(1, Math.min(ascending.length - 1, Math.round(share * ascending.length)));
  const border = ((ascending[going - 1] ?? 0) + (ascending[going] ?? ascending[going - 1] ?? 0)) / 2;
  const distance = estimates.map((e) => Math.abs(e.value - border) / Math.max(e.error, Number.MIN_VALUE));
  return [...distance.keys()].sort((a, b) => (distance[a] ?? 0) - (distance[b] ?? 0)).slice(0, count);
}
