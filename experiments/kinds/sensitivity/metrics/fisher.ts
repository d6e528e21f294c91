/** @file Fisher information of gates as a metric (`lib/compress/importance/fisher.ts`). */
import { fisherImportance } from "../../../../lib/compress/importance/fisher.ts";
import { unitKinds } from "../../../../lib/units.ts";
import type { Metric } from "./metric.ts";

export const fisherMetric: Metric<"fisher"> = {
  id: "fisher",
  name: "Fisher",
  meaning: "½ mean (∂loss/∂gate)², nats² per token²",
  unit: "nats² per token²",
  units: unitKinds,
  needs: "gradients",
  targets: ["size"],
  measure: (unit, gradients) => gradients(unit),
  score: fisherImportance,
};
