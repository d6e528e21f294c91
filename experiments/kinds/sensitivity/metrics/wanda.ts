/** @file Wanda as a metric (`lib/compress/importance/wanda.ts`). */
import { wandaScore } from "../../../../lib/compress/importance/wanda.ts";
import { meanAndError } from "../../../../lib/stats/ratio.ts";
import { channelsOf } from "./channels.ts";
import { channelUnits, type Metric } from "./metric.ts";

export const wandaMetric: Metric<"wanda"> = {
  id: "wanda",
  name: "Wanda",
  meaning: "size of its inputs times weights",
  unit: "activation × weight",
  units: channelUnits,
  needs: "inputs",
  targets: ["size"],
  measure(unit, given) {
    const { of, ranges, statistics } = channelsOf(unit, given);
    const sums = given.columnSums(`L${unit.layer}_${of}`);
    return statistics.map((s) => ranges.reduce((t, [from, to]) => t + wandaScore(s, sums, from, to), 0));
  },
  score(perSequence) {
    const { mean, standardError } = meanAndError(perSequence);
    return { value: mean, standardError };
  },
};
