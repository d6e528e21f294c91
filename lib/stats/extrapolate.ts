/**
 * @file Where a falling curve is headed, with an interval, when its tail is a power law; null when it is not.
 *
 *   log y_b = α + β log x_b + ε_b over blocks b of the tail,   expected at X: exp(α̂ + β̂ log X)
 *   interval: ± t_{n−2} · s · √(1/n + (log X − x̄)² / S_xx)      (of the mean, not of one noisy step)
 *
 * Steps are averaged in blocks first, because neighbouring steps are not independent. The fit is over the last half of the
 * curve. There is no answer when there are too few points, when the curve does not fall, when the tail bends (a quadratic term is
 * significant at 1 %), or when the end is more than twice as far as the curve has come. Not included: schedules; a curve whose
 * learning rate decays ends lower than its tail says.
 * Reference: Draper and Smith, Applied Regression Analysis, §1.4; Hestness et al. 2017 for power laws of loss.
 */
import { numberAt } from "../elements.ts";
import { studentQuantile } from "./student-t.ts";

export interface Extrapolation {
  readonly from: { x: number; y: number };
  /** From the last point to the end, ten of them. */
  readonly x: number[];
  readonly y: number[];
  readonly low: number[];
  readonly high: number[];
}

const BLOCKS = 24;
const LEAST_POINTS = 4 * BLOCKS;
/** 1 % two-sided of t with 21 degrees of freedom, for the quadratic term. */
const BENDS = studentQuantile(BLOCKS - 3, 0.99);

/** `x` rising and positive, `y` per x; `end` beyond the last x. */
export function extrapolate(x: ArrayLike<number>, y: ArrayLike<number>, end: number): Extrapolation | null {
  const last = x.length - 1;
  const lastX = x[last] ?? 0;
  if (!(end > lastX) || end > 3 * lastX) return null;
  let from = 0;
  while (from < x.length && numberAt(x, from) < lastX / 2) from++;
  if (x.length - from < LEAST_POINTS) return null;
  const u: number[] = [];
  const v: number[] = [];
  for (let b = 0; b < BLOCKS; b++) {
    const [low, high] = [b, b + 1].map((k) => from + Math.floor((k * (x.length - from)) / BLOCKS)) as [number, number];
    let [sx, sy] = [0, 0];
    for (let i = low; i < high; i++) {
      const value = numberAt(y, i);
      if (!(value > 0) || !Number.isFinite(value)) return null;
      sx += Math.log(numberAt(x, i));
      sy += Math.log(value);
    }
    u.push(sx / (high - low));
    v.push(sy / (high - low));
  }
  const n = BLOCKS;
  const meanU = u.reduce((s, a) => s + a, 0) / n;
  const meanV = v.reduce((s, a) => s + a, 0) / n;
  const sxx = u.reduce((s, a) => s + (a - meanU) ** 2, 0);
  const slope = u.reduce((s, a, i) => s + (a - meanU) * (numberAt(v, i) - meanV), 0) / sxx;
  const residual = u.map((a, i) => numberAt(v, i) - meanV - slope * (a - meanU));
  const sse = residual.reduce((s, r) => s + r * r, 0);
  const error = Math.sqrt(sse / (n - 2));
  if (slope >= 0 || Math.abs(slope) < studentQuantile(n - 2) * (error / Math.sqrt(sxx)) || bends(u, residual))
    return null;
  const t = studentQuantile(n - 2);
  const at = (target: number): { y: number; low: number; high: number } => {
    const d = Math.log(target) - meanU;
    const middle = meanV + slope * d;
    const half = t * error * Math.sqrt(1 / n + (d * d) / sxx);
    return { y: Math.exp(middle), low: Math.exp(middle - half), high: Math.exp(middle + half) };
  };
  const xs = Array.from({ length: 11 }, (_, i) => lastX + ((end - lastX) * i) / 10);
  const points = xs.map(at);
  return {
    from: { x: lastX, y: points[0]?.y ?? Number.NaN },
    x: xs,
    y: points.map((p) => p.y),
    low: points.map((p) => p.low),
    high: points.map((p) => p.high),
  };
}

/** Whether a quadratic term explains the residuals of the line beyond chance. */
function bends(u: readonly number[], residual: readonly number[]): boolean {
  const n = u.length;
  const mean = u.reduce((s, a) => s + a, 0) / n;
  const c = u.map((a) => a - mean);
  const s2 = c.reduce((s, a) => s + a * a, 0);
  const s3 = c.reduce((s, a) => s + a ** 3, 0);
  // The part of u² that a line does not explain.
  const q = c.map((a) => a * a - s2 / n - (s3 / s2) * a);
  const sqq = q.reduce((s, a) => s + a * a, 0);
  const slope = q.reduce((s, a, i) => s + a * numberAt(residual, i), 0) / sqq;
  const sse = residual.reduce((s, r, i) => s + (r - slope * numberAt(q, i)) ** 2, 0);
  return Math.abs(slope) > BENDS * Math.sqrt(sse / (n - 3) / sqq);
}
