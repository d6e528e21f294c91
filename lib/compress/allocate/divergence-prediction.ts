/**
 * @file Predicts the cost of an allocation from the cost of each tensor alone, corrected by
 * measured allocations.
 *
 *   S = Σ_u ΔKL_u;   log K = a + b · log S + ε, fitted on finalists whose K was measured whole
 *
 * Errors of different tensors add up in KL to second order (references in docs/methods), but not
 * exactly: finalists show by how much. With fewer than four, or with none far apart, b is 1 and a
 * is their mean log ratio. The interval is that of a new observation (Student's t), with the
 * sampling error of S; with fewer than two finalists it holds only the sampling error, and says so.
 * Pure arithmetic, for pages.
 */
import { studentQuantile } from "../../stats/student-t.ts";

/** An allocation that was measured as a whole: predicted sum and measured divergence, nats per token. */
export interface Finalist {
  readonly predicted: number;
  readonly measured: number;
}

export interface Prediction {
  readonly value: number;
  /** Of 95 %. */
  readonly low: number;
  readonly high: number;
  /** `sampling`: the sum of single effects with the error of its sequences alone; `calibrated`: corrected by finalists. */
  readonly basis: "sampling" | "calibrated";
  readonly finalists: number;
}

/** The sum of single effects with its error, from per-sequence values (units, sequences): errors of one text are shared. */
export function additiveEffect(perSequence: readonly (readonly number[])[]): { value: number; standardError: number } {
  const n = perSequence[0]?.length ?? 0;
  const sums = Array.from({ length: n }, (_, s) => perSequence.reduce((t, row) => t + (row[s] ?? Number.NaN), 0));
  const value = n > 0 ? sums.reduce((t, v) => t + v, 0) / n : 0;
  if (n < 2) return { value, standardError: Number.NaN };
  const variance = sums.reduce((t, v) => t + (v - value) ** 2, 0) / (n - 1);
  return { value, standardError: Math.sqrt(variance / n) };
}

const LEAST_SPREAD = Math.log(4);

/** `sum` ± `standardError`, nats per token; finalists with a number that is not above 0 are
 * ignored. */
export function predictDivergence(sum: number, standardError: number, finalists: readonly Finalist[] = []): Prediction {
  const sampling = Number.isFinite(standardError) ? standardError : 0;
  const points = finalists
    .filter((f) => f.predicted > 0 && f.measured > 0)
    .map((f) => ({ x: Math.log(f.predicted), y: Math.log(f.measured) }));
  const n = points.length;
  if (n === 0 || !(sum > 0)) {
    const half = studentQuantile(30) * sampling;
    return { value: sum, low: Math.max(0, sum - half), high: sum + half, basis: "sampling", finalists: n };
  }
  const x = Math.log(sum);
  const relative = sampling / sum;
  const meanX = points.reduce((t, p) => t + p.x, 0) / n;
  const meanY = points.reduce((t, p) => t + p.y, 0) / n;
  const spreadX = points.reduce((t, p) => t + (p.x - meanX) ** 2, 0);
  const range = Math.max(...points.map((p) => p.x)) - Math.min(...points.map((p) => p.x));
  const fitsSlope = n >= 4 && range >= LEAST_SPREAD;
  const slope = fitsSlope ? points.reduce((t, p) => t + (p.x - meanX) * (p.y - meanY), 0) / spreadX : 1;
  const centre = meanY + slope * (x - meanX);
  const value = Math.exp(centre);
  if (n === 1) {
    const half = studentQuantile(30) * sampling * (value / sum);
    return { value, low: Math.max(0, value - half), high: value + half, basis: "sampling", finalists: n };
  }
  const freedom = n - (fitsSlope ? 2 : 1);
  const residual = points.reduce((t, p) => t + (p.y - meanY - slope * (p.x - meanX)) ** 2, 0) / freedom;
  const leverage = 1 + 1 / n + (fitsSlope ? (x - meanX) ** 2 / spreadX : 0);
  const half = studentQuantile(freedom) * Math.sqrt(residual * leverage + relative * relative);
  return { value, low: Math.exp(centre - half), high: Math.exp(centre + half), basis: "calibrated", finalists: n };
}
