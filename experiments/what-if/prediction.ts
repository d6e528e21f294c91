/**
 * @file What a selection will be measured at, before it is measured: the sum of single effects, corrected by selections that
 * were.
 *
 *   A = Σ_{u ∈ S} Δ_u,  D = Σ_{u ∈ S} KL_u,  s = |S| / n;   Δ(S) ≈ b · A + c · D · s²,  Var = σ² ((D s)² + τ²)
 *
 * Units stand in for one another, so removing many costs more than the sum of single effects says, the more so the more go, and
 * even where single effects cancel: hence the second term, in divergences, which never do. b, c and σ are fitted by weighted
 * least squares to selections drawn once for a model and text: half at random, half from the units that seem to matter least,
 * which is what people drop. τ is a tenth of the median D s. The interval is that of a new measurement on this text. Left out:
 * which units stand in for which. How the form was chosen: docs/decisions/0008-what-if-prediction.md.
 */
import type { Rng } from "../../lib/random.ts";
import { studentQuantile } from "../../lib/stats/student-t.ts";

export interface MeasuredSelection {
  /** A. */
  readonly additive: number;
  /** D. */
  readonly divergence: number;
  /** |S| / n. */
  readonly share: number;
  /** Δ(S). */
  readonly measured: number;
}

export interface Calibration {
  readonly additiveWeight: number;
  readonly interactionWeight: number;
  /** σ². */
  readonly variance: number;
  /** τ. */
  readonly floor: number;
  /** (XᵀWX)⁻¹, row-major. */
  readonly inverse: readonly [number, number, number, number];
  readonly selections: number;
}

export interface SelectionPrediction {
  /** Σ of single effects, nats per token. */
  readonly additive: number;
  readonly value: number;
  /** Of 95 %. */
  readonly low: number;
  readonly high: number;
  /** Selections that were measured to correct the sum by. */
  readonly selections: number;
}

const sizeOf = (divergence: number, share: number): number => divergence * share;

/** At least four selections. */
export function calibrate(selections: readonly MeasuredSelection[]): Calibration {
  const sizes = selections.map((s) => sizeOf(s.divergence, s.share)).sort((a, b) => a - b);
  const floor = Math.max(1e-9, 0.1 * (sizes[Math.floor(sizes.length / 2)] ?? 0));
  const rows = selections.map(({ additive, divergence, share, measured }) => ({
    x: additive,
    z: divergence * share * share,
    y: measured,
    w: 1 / (sizeOf(divergence, share) ** 2 + floor * floor),
  }));
  const sum = (of: (r: (typeof rows)[number]) => number): number => rows.reduce((t, r) => t + r.w * of(r), 0);
  const [xx, xz, zz] = [sum((r) => r.x * r.x), sum((r) => r.x * r.z), sum((r) => r.z * r.z)];
  const [xy, zy] = [sum((r) => r.x * r.y), sum((r) => r.z * r.y)];
  const determinant = xx * zz - xz * xz;
  // Selections of one size cannot tell b from c.
  const flat = !(determinant > 1e-12 * xx * zz);
  const inverse: Calibration["inverse"] = flat
    ? [xx > 0 ? 1 / xx : 0, 0, 0, 0]
    : [zz / determinant, -xz / determinant, -xz / determinant, xx / determinant];
  const b = inverse[0] * xy + inverse[1] * zy;
  const c = inverse[2] * xy + inverse[3] * zy;
  return {
    additiveWeight: b,
    interactionWeight: c,
    variance: sum((r) => (r.y - b * r.x - c * r.z) ** 2) / Math.max(1, rows.length - 2),
    floor,
    inverse,
    selections: rows.length,
  };
}

export function predictSelection(
  calibration: Calibration,
  { additive, divergence, share }: Omit<MeasuredSelection, "measured">,
): SelectionPrediction {
  const { additiveWeight: b, interactionWeight: c, variance, floor, inverse, selections } = calibration;
  const z = divergence * share * share;
  const value = b * additive + c * z;
  const [p, q, r, s] = inverse;
  const leverage = p * additive * additive + (q + r) * additive * z + s * z * z;
  const spread = Math.sqrt(variance * (sizeOf(divergence, share) ** 2 + floor * floor + leverage));
  const half = share > 0 ? studentQuantile(Math.max(1, selections - 2)) * spread : 0;
  return { additive, value, low: value - half, high: value + half, selections };
}

/** Selections to measure: sizes from one unit to half of them. `effects` (units) are single effects. */
export function drawSelections(effects: readonly number[], count: number, rng: Rng): number[][] {
  const n = effects.length;
  const all = effects.map((_, i) => i);
  const rank = new Float64Array(n);
  for (const [r, i] of [...all].sort((a, b) => (effects[a] as number) - (effects[b] as number)).entries())
    rank[i] = r / n;
  return Array.from({ length: count }, (_, k) => {
    const size = Math.max(1, Math.round(n * (0.02 + 0.48 * rng.uniform())));
    const order =
      k % 2 === 0
        ? rng.shuffle(all)
        : [...all]
            .map((i) => ({ i, key: (rank[i] as number) + 0.15 * rng.normal() }))
            .sort((a, b) => a.key - b.key)
            .map((o) => o.i);
    return order.slice(0, size);
  });
}
