/**
 * @file Which units to measure first: those of which a cheap estimate says least whether they may go.
 *
 * Reference: Kalyanakrishnan et al., "PAC Subset Selection in Stochastic Multi-armed Bandits" (2012): samples go to the arms next to
 * the border of the subset that is sought.
 *
 *   p_u = −mean_s g_u,s;   τ between the m-th and the next p in ascending order;   doubt_u = √(se_u² + (mean_s |g_u,s|)²) / |p_u − τ|
 *
 * g is the gradient of the loss with respect to the unit's gate. The second part of the error stands for what first order
 * leaves out: taking a unit away is a step of the size of its own effect. A unit far from the border on either side is
 * decided and not measured. Left out: rounds, in which what was measured moves the border.
 */
import { meanAndError } from "../../stats/ratio.ts";

/** Indices of at most `count` units, most in doubt first; `share` of the units may go. `gradients` by unit and sequence. */
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
