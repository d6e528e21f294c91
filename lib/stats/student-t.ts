/**
 * @file Quantiles of Student's t distribution, for intervals from few observations.
 *
 *   P(T ≤ t) = 1 − ½ I_{ν/(ν+t²)}(ν/2, ½),  t ≥ 0
 *
 * I is the regularised incomplete beta function, by Lentz's continued fraction (Press et al., "Numerical Recipes", §6.4);
 * the quantile by bisection. Left out: non-integer accuracy beyond what an interval needs (about 1e-10).
 */
import { EspalierError } from "../errors.ts";

/** ln Γ by Lanczos' approximation with g = 7. */
function logGamma(x: number): number {
  const c = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  let a = c[0] as number;
  for (let i = 1; i < c.length; i++) a += (c[i] as number) / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(a);
}

/** I_x(a, b). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1));
  let h = d;
  for (let m = 1; m <= 300; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (1 + even * d);
    c = 1 + even / c;
    h *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + odd * d);
    c = 1 + odd / c;
    h *= d * c;
    if (Math.abs(d * c - 1) < 1e-14) break;
  }
  return front * h;
}

/** The t that leaves (1 − confidence) / 2 above; 12.706 for 95 % at one degree of freedom. Throws `input/invalid`. */
export function studentT(degreesOfFreedom: number, confidence = 0.95): number {
  if (!(degreesOfFreedom >= 1 && confidence > 0 && confidence < 1))
    throw new EspalierError("input/invalid", `t with ${degreesOfFreedom} degrees of freedom at ${confidence}`);
  // Both tails together.
  const tails = (t: number): number =>
    incompleteBeta(degreesOfFreedom / (degreesOfFreedom + t * t), degreesOfFreedom / 2, 0.5);
  let [low, high] = [0, 1];
  while (tails(high) > 1 - confidence) high *= 2;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (tails(middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
