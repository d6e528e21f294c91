/** @file Block influence as a metric (`lib/compress/importance/block-influence.ts`). */
import { blockInfluence, blockInfluenceScore } from "../../../../lib/compress/importance/block-influence.ts";
import type { Metric } from "./metric.ts";

export const blockInfluenceMetric: Metric<"block-influence"> = {
  id: "block-influence",
  name: "Block influence",
  meaning: "1 − cosine between the stream before and after",
  unit: "1 − cosine",
  units: ["layers"],
  needs: "inputs",
  targets: ["size"],
  measure: (unit, { layer }) => blockInfluence(layer(unit.layer)),
  score: blockInfluenceScore,
};
