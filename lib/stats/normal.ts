/**
 * @file The normal distribution's tail: the probability of a difference this large if there is no
 * real one.
 *
 *   p = 2 · (1 − Φ(|z|)) = erfc(|z| / √2)
 *
 * erfc by the Chebyshev fit in Press et al., Numerical Recipes, §6.2: relative error below 1.2 · 10⁻⁷ everywhere.
 */

const coefficients = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
  0.17087277,
];

/** Of x ≥ 0. */
function erfc(x: number): number {
  const t = 1 / (1 + 0.5 * x);
  let polynomial = 0;
  for (const c of [...coefficients].reverse()) polynomial = polynomial * t + c;
  return t * Math.exp(-x * x + polynomial);
}

/** Two-sided p-value of a standard score; NaN for NaN. */
export const twoSidedP = (z: number): number => erfc(Math.abs(z) / Math.SQRT2);
