/**
 * @file Student's t: how surprising a mean is when its spread was estimated from the same few values.
 *
 *   P(|T| > t) = I_x(ν/2, 1/2),  x = ν / (ν + t²)
 *
 * I is the regularized incomplete beta function by its continued fraction (Lentz). Reference: Abramowitz and Stegun 26.5.8, 26.7.1.
 * Quantiles by bisection. Not included: non-central t.
 */
import { EspalierError } from "../errors.ts";

/** Two-sided p of a t statistic with ν degrees of freedom; 1 for t = 0. Throws `input/invalid` for ν < 1. */
export function studentTwoSidedP(t: number, degrees: number): number {
  if (!(degrees >= 1)) throw new EspalierError("input/invalid", `Student's t with ${degrees} degrees of freedom`);
  if (Number.isNaN(t)) return Number.NaN;
  if (!Number.isFinite(t)) return 0;
  return incompleteBeta(degrees / (degrees + t * t), degrees / 2, 0.5);
}

/** The t that |T| exceeds with probability 1 − `level`, 0.95 by default: 12.706 for one degree of freedom, 1.96 for many. */
export function studentQuantile(degrees: number, level = 0.95): number {
  let [low, high] = [0, 1];
  while (studentTwoSidedP(high, degrees) > 1 - level) high *= 2;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (studentTwoSidedP(middle, degrees) > 1 - level) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** I_x(a, b). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  return x < (a + 1) / (a + b + 2)
    ? (front * continuedFraction(x, a, b)) / a
    : 1 - (front * continuedFraction(1 - x, b, a)) / b;
}

function continuedFraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  const away = (v: number): number => (Math.abs(v) < tiny ? tiny : v);
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let f = d;
  for (let m = 1; m <= 300; m++) {
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      f *= d * c;
    }
    if (Math.abs(d * c - 1) < 1e-15) break;
  }
  return f;
}

const lanczos = [
  676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** log Γ(z) for z ≥ 0.5, by Lanczos with g = 7. */
function logGamma(z: number): number {
  const y = z - 1;
  const sum = lanczos.reduce((s, c, i) => s + c / (y + i + 1), 0.99999999999980993);
  const t = y + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}
