/** @file Every rule, in the order of findings: first faults that prevent reading a package, last
 * possible improvements. */
import type { LintRule } from "../rule.ts";
import { attentionRules } from "./attention-rules.ts";
import { fileRules } from "./files.ts";
import { functionRules } from "./functions.ts";
import { interfaceRules } from "./interface.ts";
import { placementRules } from "./placement-rules.ts";
import { precisionRules } from "./precision.ts";
import { rangeRules } from "./range-rules.ts";
import { shapeRules } from "./shapes.ts";
import { stateRules } from "./state-rules.ts";
import { weightRules } from "./weights-rules.ts";

export const rules: readonly LintRule[] = [
  ...fileRules,
  ...interfaceRules,
  ...stateRules,
  ...rangeRules,
  ...precisionRules,
  ...shapeRules,
  ...weightRules,
  ...attentionRules,
  ...placementRules,
  ...functionRules,
];
