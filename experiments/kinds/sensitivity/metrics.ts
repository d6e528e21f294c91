/** @file The list of metrics for the importance of a unit. */
import type { UnitKind } from "../../../lib/units.ts";
import { activationMetric } from "./metrics/activation.ts";
import { blockInfluenceMetric } from "./metrics/block-influence.ts";
import { fisherMetric } from "./metrics/fisher.ts";
import { leaveOneOutMetric } from "./metrics/leave-one-out.ts";
import type { Metric } from "./metrics/metric.ts";
import { taylorMetric } from "./metrics/taylor.ts";
import { wandaMetric } from "./metrics/wanda.ts";

export const metrics = [
  leaveOneOutMetric,
  taylorMetric,
  fisherMetric,
  activationMetric,
  wandaMetric,
  blockInfluenceMetric,
] as const;

export type SensitivityMetric = (typeof metrics)[number]["id"];
export const metricIds: readonly SensitivityMetric[] = metrics.map((m) => m.id);

/** Those defined for a kind of unit. */
export const metricsFor = (kind: UnitKind): SensitivityMetric[] =>
  metrics.filter((m) => m.units.includes(kind)).map((m) => m.id);

export function metricOf(id: SensitivityMetric): Metric<SensitivityMetric> {
  const found = metrics.find((m) => m.id === id);
  if (!found) throw new TypeError(`there is no metric ${id}`);
  return found;
}
