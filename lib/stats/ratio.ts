/** @file A mean, and a ratio of two sums, each with its standard error. */

/** The mean and its standard error s/√n, with s over n − 1; an error of 0 for one value is honest only as "unknown", so it is NaN. */
export function meanAndError(values: readonly number[]): { mean: number; standardError: number } {
  const n = values.length;
  const mean = values.reduce((t, v) => t + v, 0) / n;
  if (n < 2) return { mean, standardError: Number.NaN };
  const variance = values.reduce((t, v) => t + (v - mean) ** 2, 0) / (n - 1);
  return { mean, standardError: Math.sqrt(variance / n) };
}

/**
 * A ratio of sums Σy / Σx with its standard error clustered by sequence (delta method):
 * SE² = n / (n − 1) · Σ (y − r x)² / (Σx)²
 */
export function ratioAndError(y: readonly number[], x: readonly number[]): { mean: number; standardError: number } {
  const totalX = x.reduce((t, v) => t + v, 0);
  const mean = y.reduce((t, v) => t + v, 0) / totalX;
  const n = y.length;
  if (n < 2) return { mean, standardError: Number.NaN };
  const residual = y.reduce((t, v, i) => t + (v - mean * (x[i] ?? 0)) ** 2, 0);
  return { mean, standardError: Math.sqrt((n / (n - 1)) * residual) / totalX };
}
