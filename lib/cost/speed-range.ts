/**
 * @file How far a modelled speed may be off, from the held-out figures of the same chip, or of all
 * chips if it has few.
 *
 *   r_i = modelled ms / published ms of a held-out figure;   speed · min r … speed · max r
 *
 * It is the range of errors seen so far, not a confidence interval: no chip has more than a handful
 * of published figures.
 */
import { deviceById } from "./devices.ts";
import { callTime } from "./model.ts";
import { publishedParameters } from "./parameters.ts";
import { publishedFigures } from "./published.ts";

/** With fewer figures than this, a chip's own say too little. */
export const ENOUGH_FIGURES = 3;

export interface HeldOut {
  readonly id: string;
  readonly device: string;
  /** Modelled over published time. */
  readonly ratio: number;
}

export const heldOutFigures: readonly HeldOut[] = publishedFigures.flatMap(
  ({ use, id, device, workload, measuredMs }) => {
    const chip = deviceById(device);
    return use === "check" && chip
      ? [{ id, device, ratio: callTime(workload, chip, publishedParameters).totalMs / measuredMs }]
      : [];
  },
);

export interface SpeedRange {
  /** Factors on a modelled speed. */
  readonly low: number;
  readonly high: number;
  /** Held-out figures it rests on, and whether they are all of this chip. */
  readonly figures: number;
  readonly isOfChip: boolean;
}

export function speedRange(device: string): SpeedRange {
  const own = heldOutFigures.filter((f) => f.device === device);
  const isOfChip = own.length >= ENOUGH_FIGURES;
  const used = isOfChip ? own : heldOutFigures;
  const ratios = used.map((f) => f.ratio);
  // The range always includes the modelled value, however the held-out figures fall.
  return { low: Math.min(1, ...ratios), high: Math.max(1, ...ratios), figures: used.length, isOfChip };
}
