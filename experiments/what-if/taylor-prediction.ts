/**
 * @file Predicts the measured effect of a selection: first-order Taylor, corrected by measured
 * selections.
 *
 *   A = Σ_{u ∈ S} −g_u,  D = Σ_{u ∈ S} |g_u|,  s = |S| / n;   Δ(S) ≈ b A + c D + d D s,  Var = σ² ((D s)² + τ²)
 *
 * g_u is the gradient of the loss with respect to the gate of unit u (`taylor.ts`), which one pass gives for all units; D takes
 * its size by sequence, so that it does not cancel. Taking a unit away is a large step, so it costs more than its gradient says
 * even alone (c); and units stand in for one another, so it costs the more, the more go (d). Without measured selections b is 1,
 * c and d are 0, and there is no interval. Then they and σ are fitted by weighted least squares to selections drawn for a
 * model and text: half at random, half from the units that seem to matter least, which is what people drop. τ is a tenth of the
 * median D s. The interval is that of a new measurement on this text; where only some of its sequences were looked at, it is
 * wider by what the others may say. Not included: which units replace one another. How the form was
 * chosen: docs/decisions/0008-what-if-prediction.md.
 */
import { f64At, numberAt } from "../../lib/elements.ts";
import type { Rng } from "../../lib/random.ts";
import { type LeastSquaresFit, leastSquares, leverage } from "../../lib/stats/least-squares.ts";
import { studentQuantile } from "../../lib/stats/student-t.ts";

export interface SelectionSize {
  /** A. */
  readonly additive: number;
  /** D. */
  readonly size: number;
  /** |S| / n. */
  readonly share: number;
}

export interface MeasuredSelection extends SelectionSize {
  /** Δ(S). */
  readonly measured: number;
}

export interface Calibration {
  /** Of b, c and d. */
  readonly fit: LeastSquaresFit;
  /** τ. */
  readonly floor: number;
  readonly selections: number;
}

const termsOf = ({ additive, size, share }: SelectionSize): number[] => [additive, size, size * share];
const spreadOf = ({ size, share }: SelectionSize): number => size * share;

/** Taylor alone, worth one selection. */
const TAYLOR = [1, 0, 0];

/** At least four selections. */
export function calibrate(selections: readonly MeasuredSelection[]): Calibration {
  const spreads = selections.map(spreadOf).sort((a, b) => a - b);
  const floor = Math.max(1e-9, 0.1 * (spreads[Math.floor(spreads.length / 2)] ?? 0));
  const fit = leastSquares(
    selections.map((s) => ({
      terms: termsOf(s),
      value: s.measured,
      weight: 1 / (spreadOf(s) ** 2 + floor * floor),
    })),
    TAYLOR,
    1,
  );
  return { fit, floor, selections: selections.length };
}

/** `samplingVariance`: of A, for sequences that were not looked at. */
export function predictSelection(
  { fit, floor, selections }: Calibration,
  selection: SelectionSize,
  samplingVariance = 0,
): { value: number; low: number; high: number } {
  const terms = termsOf(selection);
  const value = terms.reduce((t, x, i) => t + x * (fit.coefficients[i] ?? 0), 0);
  const spread = Math.sqrt(
    fit.variance * (spreadOf(selection) ** 2 + floor * floor + leverage(fit, terms)) +
      (fit.coefficients[0] ?? 1) ** 2 * samplingVariance,
  );
  const half = selection.share > 0 ? studentQuantile(Math.max(1, selections - terms.length)) * spread : 0;
  return { value, low: value - half, high: value + half };
}

/** Selections to measure: sizes from one unit to half of them, as many small as large. `effects` (units) are single effects. */
export function drawSelections(effects: readonly number[], count: number, rng: Rng): number[][] {
  const n = effects.length;
  const all = effects.map((_, i) => i);
  const rank = new Float64Array(n);
  for (const [r, i] of [...all].sort((a, b) => numberAt(effects, a) - numberAt(effects, b)).entries()) rank[i] = r / n;
  return Array.from({ length: count }, (_, k) => {
    const size = Math.max(1, Math.round(n * 0.5 * (2 / n) ** rng.uniform()));
    const order =
      k % 2 === 0
        ? rng.shuffle(all)
        : [...all]
            .map((i) => ({ i, key: f64At(rank, i) + 0.15 * rng.normal() }))
            .sort((a, b) => a.key - b.key)
            .map((o) => o.i);
    return order.slice(0, size);
  });
}
