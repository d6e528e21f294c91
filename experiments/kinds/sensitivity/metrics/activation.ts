/** @file Activation as a metric (`lib/compress/importance/activation.ts`). */
import { activationImportance, activationNorm } from "../../../../lib/compress/importance/activation.ts";
import { channelsOf } from "./channels.ts";
import { channelUnits, type Metric } from "./metric.ts";

export const activationMetric: Metric<"activation"> = {
  id: "activation",
  name: "Activation",
  meaning: "size of its output, mean |activation|",
  unit: "mean size",
  units: channelUnits,
  needs: "inputs",
  targets: ["size"],
  measure(unit, given) {
    const { ranges, statistics } = channelsOf(unit, given);
    return statistics.map((s) => Math.hypot(...ranges.map(([from, to]) => activationNorm(s, from, to))));
  },
  score: activationImportance,
};
