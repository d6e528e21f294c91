/**
 * @file Fits the parameters of the cost model to measured times, staying near the known values
 * where the times say little.
 *
 *   min_θ Σ_i ( log t(w_i; θ) − log m_i )² / σ²  +  Σ_k ( log θ_k − log θ⁰_k )² / τ_k²
 *
 * by Levenberg and Marquardt's damped Gauss–Newton steps on log θ, derivatives by differences. σ is
 * the relative error assumed for a report, τ how far (in e-folds) a parameter may move from its
 * prior. Parameters that no report depends on keep their prior. Deterministic: reports in any order
 * give the same numbers.
 */
import { itemAt, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { type Device, deviceById } from "./devices.ts";
import { type CostParameters, callTime, parameterNames } from "./model.ts";
import type { Workload } from "./workload.ts";

export interface Report {
  readonly id: string;
  /** Of the device table, or a device of the caller's. */
  readonly device: string;
  readonly workload: Workload;
  readonly measuredMs: number;
}

export interface RefitOptions {
  readonly prior: CostParameters;
  /** Default: every parameter may move by a factor of 2 at one τ. */
  readonly tau?: number;
  /** Relative error of a report; default 0.1. */
  readonly sigma?: number;
  readonly device?: (id: string) => Device | undefined;
}

export interface Fit {
  readonly parameters: CostParameters;
  /** Modelled over measured, by report. */
  readonly ratios: ReadonlyMap<string, number>;
  readonly steps: number;
}

/** Half of the figures lie within this factor of the modelled value, either way: the median of
 * max(r, 1 / r). */
export function typicalFactor(ratios: readonly number[]): number {
  const errors = ratios.map((r) => Math.abs(Math.log(r))).sort((a, b) => a - b);
  return Math.exp(errors[Math.floor(errors.length / 2)] ?? 0);
}

const STEP = 1e-5;
const MAX_STEPS = 200;

/** Throws `input/invalid` for a time that is not positive or an unknown device. */
export function refit(reports: readonly Report[], options: RefitOptions): Fit {
  const { prior, tau = Math.LN2, sigma = 0.1 } = options;
  const known = reports
    .map((r) => ({ ...r, on: options.device?.(r.device) ?? deviceById(r.device) }))
    .map(({ on, ...r }) => {
      if (!on) throw new EspalierError("input/invalid", `report ${r.id} names the unknown device ${r.device}`);
      if (!(r.measuredMs > 0 && Number.isFinite(r.measuredMs)))
        throw new EspalierError("input/invalid", `report ${r.id} says ${r.measuredMs} ms`, {
          hint: "A time is a positive number.",
        });
      return { ...r, on };
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const start = parameterNames.map((n) => Math.log(prior[n]));
  const parametersAt = (x: readonly number[]): CostParameters => {
    const p = { ...prior } as Record<keyof CostParameters, number>;
    for (const [i, n] of parameterNames.entries()) p[n] = Math.exp(numberAt(x, i));
    return p;
  };
  const residuals = (x: readonly number[]): number[] => {
    const p = parametersAt(x);
    const data = known.map((r) => Math.log(callTime(r.workload, r.on, p).totalMs / r.measuredMs) / sigma);
    return [...data, ...x.map((v, i) => (v - numberAt(start, i)) / tau)];
  };
  const squares = (r: readonly number[]): number => r.reduce((n, v) => n + v * v, 0);

  let x = [...start];
  let r = residuals(x);
  let damping = 1e-3;
  let steps = 0;
  for (; steps < MAX_STEPS; steps++) {
    const columns = x.map((v, i) => {
      const moved = residuals(x.with(i, v + STEP));
      return moved.map((m, j) => (m - numberAt(r, j)) / STEP);
    });
    const gradient = columns.map((c) => c.reduce((n, v, j) => n + v * numberAt(r, j), 0));
    const normal = columns.map((a) => columns.map((b) => a.reduce((n, v, j) => n + v * numberAt(b, j), 0)));
    for (const [i, row] of normal.entries()) row[i] = numberAt(row, i) * (1 + damping);
    const move = solve(normal, gradient);
    const next = x.map((v, i) => v - numberAt(move, i));
    const after = residuals(next);
    const [before, then] = [squares(r), squares(after)];
    if (then <= before) {
      x = next;
      r = after;
      damping = Math.max(1e-9, damping / 10);
      if (before - then < 1e-12 * (1 + before)) break;
    } else {
      damping *= 10;
      if (damping > 1e9) break;
    }
  }
  const parameters = parametersAt(x);
  return {
    parameters,
    ratios: new Map(known.map((k) => [k.id, callTime(k.workload, k.on, parameters).totalMs / k.measuredMs])),
    steps,
  };
}

/** a x = b for a symmetric positive definite matrix, by Gaussian elimination with pivots. */
function solve(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const n = b.length;
  const m = a.map((row, i) => [...row, numberAt(b, i)]);
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let i = c + 1; i < n; i++) if (Math.abs(m[i]?.[c] ?? 0) > Math.abs(m[pivot]?.[c] ?? 0)) pivot = i;
    [m[c], m[pivot]] = [itemAt(m, pivot), itemAt(m, c)];
    const row = itemAt(m, c);
    for (let i = c + 1; i < n; i++) {
      const other = itemAt(m, i);
      const factor = numberAt(other, c) / numberAt(row, c);
      for (let j = c; j <= n; j++) other[j] = numberAt(other, j) - factor * numberAt(row, j);
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    const row = itemAt(m, i);
    let sum = numberAt(row, n);
    for (let j = i + 1; j < n; j++) sum -= numberAt(row, j) * numberAt(x, j);
    x[i] = sum / numberAt(row, i);
  }
  return x;
}
