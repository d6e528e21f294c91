/** @file Leave-one-out as a metric: the truth that others approximate (`lib/compress/importance/leave-one-out.ts`). */
import { meanAndError } from "../../../../lib/stats/ratio.ts";
import { unitKinds } from "../../../../lib/units.ts";
import type { Metric } from "./metric.ts";

export const leaveOneOutMetric: Metric<"leave-one-out"> = {
  id: "leave-one-out",
  name: "Leave-one-out, zeroed",
  meaning: "change in loss when removed, nats per token",
  unit: "nats per token",
  units: unitKinds,
  needs: "losses",
  targets: ["loss"],
  measure: (unit, changes) => changes(unit),
  score(perSequence) {
    const { mean, standardError } = meanAndError(perSequence);
    return { value: mean, standardError };
  },
};
