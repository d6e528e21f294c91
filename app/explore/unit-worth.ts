/** @file What units are worth by one metric, out of all that has been measured: the newest run that has it. */
import { metricIds, metricOf, type SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { spearman } from "../../lib/stats/rank-agreement.ts";
import { findUnit, type UnitKind } from "../../lib/units.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import type { GridKind } from "./grid-units.ts";

export interface UnitWorth {
  readonly value: number;
  readonly standardError: number;
  /** Not measured by the metric but estimated by Taylor; the error holds what such estimates were off where both are known. */
  readonly isEstimate?: true;
}

export type Worth = ReadonlyMap<string, UnitWorth>;

/** A change of loss, or the metric's own size. */
export type Target = "loss" | "size";

export interface Measured {
  readonly worth: Worth;
  /** Null when nothing has been measured. */
  readonly source: Importance | null;
  /** A run that measures this now. */
  readonly running: Importance | null;
}

/** Whether the grid of a kind shows a unit: layers come with their two halves. */
function isOfKind(unit: string, kind: UnitKind): boolean {
  const own = findUnit(unit)?.kind;
  return own === kind || (kind === "layers" && (own === "attention" || own === "mlp"));
}

export const metricName = (id: SensitivityMetric): string => metricOf(id).name;

export const isMetric = (name: string | null): name is SensitivityMetric => metricIds.some((id) => id === name);

export const targetsOf = (id: SensitivityMetric): readonly Target[] => metricOf(id).targets;

export function measured(
  all: readonly Importance[],
  metric: SensitivityMetric,
  kind: UnitKind,
  target: Target,
): Measured {
  const of = (i: Importance): Map<string, UnitWorth> => {
    const found = new Map<string, UnitWorth>();
    for (const u of i.units) {
      if (u.metric !== metric || !isOfKind(u.unit, kind)) continue;
      const isPredicted = target === "loss" && u.predicted !== undefined;
      found.set(u.unit, {
        value: isPredicted ? (u.predicted ?? u.value) : u.value,
        standardError: isPredicted ? (u.predictedError ?? u.standardError) : u.standardError,
      });
    }
    return found;
  };
  const running =
    all.find(
      (i) => i.state !== "succeeded" && i.state !== "lost" && i.metrics.includes(metric) && i.kinds.includes(kind),
    ) ?? null;
  // A later run of a few units does not hide an earlier one of all.
  let best: { worth: Map<string, UnitWorth>; source: Importance } | null = null;
  for (const source of all) {
    const worth = of(source);
    if (worth.size > (best?.worth.size ?? 0)) best = { worth, source };
  }
  if (metric !== "leave-one-out") return { worth: best?.worth ?? new Map(), source: best?.source ?? null, running };
  const estimates = measured(all, "taylor", kind, "loss");
  return {
    worth: withEstimates(best?.worth ?? new Map(), estimates.worth),
    source: best?.source ?? estimates.source,
    running,
  };
}

/** What Taylor predicts for units that are not measured, with how far such predictions were off for those that are. */
function withEstimates(own: ReadonlyMap<string, UnitWorth>, estimates: Worth): Worth {
  const missing = [...estimates].filter(([unit]) => !own.has(unit));
  if (missing.length === 0) return own;
  const misses = [...own].flatMap(([unit, w]) => {
    const estimate = estimates.get(unit);
    return estimate ? [(w.value - estimate.value) ** 2] : [];
  });
  const square = misses.length > 0 ? misses.reduce((a, b) => a + b, 0) / misses.length : 0;
  return new Map([
    ...own,
    ...missing.map(([unit, { value, standardError }]): [string, UnitWorth] => [
      unit,
      { value, standardError: Math.sqrt(standardError ** 2 + square), isEstimate: true },
    ]),
  ]);
}

/** Units that the metric itself was measured for. */
export const measuredCount = (worth: Worth): number => [...worth.values()].filter((w) => !w.isEstimate).length;

/** Metrics measured for a kind, in the order of their table. */
export const metricsMeasured = (all: readonly Importance[], kind: GridKind): SensitivityMetric[] =>
  metricIds.filter((metric) => all.some((i) => i.units.some((u) => u.metric === metric && isOfKind(u.unit, kind))));

/** Units that both were measured for. */
const inBoth = (a: Worth, b: Worth): string[] =>
  [...a].flatMap(([u, w]) => (!w.isEstimate && b.has(u) && !b.get(u)?.isEstimate ? [u] : []));

/** Spearman's ρ over the units both have; null for fewer than three, or without spread. */
export function agreement(a: Worth, b: Worth): { rho: number; units: number } | null {
  const both = inBoth(a, b);
  if (both.length < 3) return null;
  const rho = spearman(
    both.map((u) => a.get(u)?.value ?? 0),
    both.map((u) => b.get(u)?.value ?? 0),
  );
  return Number.isFinite(rho) ? { rho, units: both.length } : null;
}

/** 1 for the largest. */
export function rankOf(worth: Worth, unit: string): number | null {
  const own = worth.get(unit);
  if (!own) return null;
  return 1 + [...worth.values()].filter((w) => w.value > own.value).length;
}

export interface Disagreement {
  readonly unit: string;
  readonly a: UnitWorth;
  readonly b: UnitWorth;
  /** Ranks apart, positive where the second puts it higher. */
  readonly ranks: number;
}

/** Units whose place in the two rankings differs most. */
export function disagreements(a: Worth, b: Worth, most: number): Disagreement[] {
  const both = inBoth(a, b);
  const ranks = (w: Worth): Map<string, number> =>
    new Map([...both].sort((x, y) => (w.get(x)?.value ?? 0) - (w.get(y)?.value ?? 0)).map((u, i) => [u, i]));
  const [ra, rb] = [ranks(a), ranks(b)];
  return both
    .flatMap((unit) => {
      const [x, y] = [a.get(unit), b.get(unit)];
      return x && y ? [{ unit, a: x, b: y, ranks: (rb.get(unit) ?? 0) - (ra.get(unit) ?? 0) }] : [];
    })
    .filter((d) => d.ranks !== 0)
    .sort((x, y) => Math.abs(y.ranks) - Math.abs(x.ranks))
    .slice(0, most);
}

export interface Scale {
  /** Multiplies values before they are shown. */
  readonly times: number;
  readonly unit: string;
  readonly isSigned: boolean;
}

const superscript = (n: number): string =>
  String(n)
    .replace("-", "⁻")
    .replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(d)] ?? d);

/** Losses in 10⁻³ nats per token; other values in a power of a thousand that leaves one to three digits. */
export function scaleOf(worth: Worth, metric: SensitivityMetric, target: Target): Scale {
  if (target === "loss") return { times: 1000, unit: "10⁻³ nats per token", isSigned: true };
  const max = Math.max(0, ...[...worth.values()].map((w) => Math.abs(w.value)));
  const power = max > 0 ? 3 * Math.floor(Math.log10(max) / 3 + 1e-9) : 0;
  return {
    times: 10 ** -power,
    unit: `${power === 0 ? "" : `10${superscript(power)} `}${metricOf(metric).unit}`,
    isSigned: false,
  };
}
