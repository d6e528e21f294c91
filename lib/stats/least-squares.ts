/**
 * @file Weighted linear least squares with a prior that counts as much as a few observations.
 *
 *   β = β₀ + M⁻¹ Xᵀ W (y − X β₀),   M = Xᵀ W X + Λ,   Λ_jj = k/n (Xᵀ W X)_jj
 *
 * β₀ is what holds before anything is observed, and k how many observations it is worth; it also keeps M regular where
 * columns of X cannot be told apart. Not included: robust weights.
 */
import { numberAt } from "../elements.ts";
import { invariant } from "../errors.ts";
import { cholesky, inverseOfCholesky } from "./cholesky.ts";

export interface LeastSquaresFit {
  readonly coefficients: readonly number[]; // (terms)
  /** M⁻¹. */
  readonly inverse: readonly (readonly number[])[]; // (terms, terms)
  /** Σ w (y − xβ)² / (n − terms), of one observation at least. */
  readonly variance: number;
}

export interface Observation {
  readonly terms: readonly number[];
  readonly value: number;
  readonly weight: number;
}

/** `prior` (terms) is β₀, worth `strength` observations, k. */
export function leastSquares(
  observations: readonly Observation[],
  prior: readonly number[],
  strength: number,
): LeastSquaresFit {
  const n = prior.length;
  const gram = prior.map((_, i) =>
    prior.map((__, j) => observations.reduce((t, o) => t + o.weight * at(o, i) * at(o, j), 0)),
  );
  for (const [i, row] of gram.entries())
    row[i] = numberAt(row, i) * (1 + strength / Math.max(1, observations.length)) || 1;
  const inverse = inverted(gram);
  const rest = (o: Observation, of: readonly number[]): number => o.value - dot(o.terms, of);
  const right = prior.map((_, i) => observations.reduce((t, o) => t + o.weight * at(o, i) * rest(o, prior), 0));
  const coefficients = prior.map((p, i) => p + dot(inverse[i] ?? [], right));
  const squares = observations.reduce((t, o) => t + o.weight * rest(o, coefficients) ** 2, 0);
  return { coefficients, inverse, variance: squares / Math.max(1, observations.length - n) };
}

/** xᵀ M⁻¹ x: how much of a prediction's variance comes from the coefficients, over the variance of one observation. */
export const leverage = (fit: LeastSquaresFit, terms: readonly number[]): number =>
  dot(
    terms,
    fit.inverse.map((row) => dot(row, terms)),
  );

const at = (o: Observation, i: number): number => o.terms[i] ?? 0;
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((t, v, i) => t + v * (b[i] ?? 0), 0);

function inverted(matrix: readonly (readonly number[])[]): number[][] {
  const n = matrix.length;
  const factor = cholesky(Float64Array.from(matrix.flat()), n);
  invariant(factor, "the matrix is positive definite");
  const inverse = inverseOfCholesky(factor, n);
  return matrix.map((_, i) => [...inverse.subarray(i * n, (i + 1) * n)]);
}
