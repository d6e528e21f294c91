/** @file First-order Taylor as a metric (`lib/compress/importance/taylor.ts`). */
import { meanAndError } from "../../../../lib/stats/ratio.ts";
import { unitKinds } from "../../../../lib/units.ts";
import type { Metric } from "./metric.ts";

export const taylorMetric: Metric<"taylor"> = {
  id: "taylor",
  name: "Taylor",
  meaning: "mean |∂loss/∂gate|, nats per token",
  unit: "nats per token",
  units: unitKinds,
  needs: "gradients",
  targets: ["loss", "size"],
  measure: (unit, gradients) => gradients(unit),
  score(perSequence) {
    const { mean, standardError } = meanAndError(perSequence.map(Math.abs));
    return { value: mean, standardError, predicted: -meanAndError(perSequence).mean };
  },
};
