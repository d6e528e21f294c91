/** @file Widths that a target stores directly; others would be written in a larger form
 * (`target-weights.ts`). */
import type { Width } from "../../compress/quantize/width.ts";
import { bitsOf } from "../../compress/quantize/width.ts";
import type { Target } from "../../formats/coreml/targets.ts";

export function isStorable(width: Width, target: Target): boolean {
  if (width.startsWith("palette")) return target.paletteBits.includes(bitsOf(width));
  return width !== "affine4" || target.fileDTypes.includes("int4");
}
