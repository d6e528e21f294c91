/**
 * @file Decoding speed on a phone, modelled from what a selection keeps; see lib/cost for the model and what it rests on.
 */
import { modelledTokensPerSecond } from "../../lib/cost/architecture-workload.ts";
import { deviceById } from "../../lib/cost/devices.ts";
import type { CostParameters } from "../../lib/cost/model.ts";
import type { Kept } from "./cost.ts";
import type { Anatomy } from "./grid-units.ts";

export interface Speed {
  /** Tokens per second. */
  readonly base: number;
  readonly now: number;
  readonly note: string;
}

const DEVICE = "a17-pro";
const CONTEXT = 256;
const choice = { bitsPerWeight: 6, scheme: "palette", channelsPerTable: 16 } as const;

/** `fitted` holds parameters refitted to reports, by device. Null when the device is not known. */
export function modelledSpeed(
  anatomy: Anatomy,
  kept: readonly Kept[],
  fitted: Readonly<Record<string, CostParameters>> = {},
): Speed | null {
  const device = deviceById(DEVICE);
  if (!device) return null;
  const context = Math.min(CONTEXT, anatomy.maxPositions);
  const of = (layers: Anatomy["layers"]): number =>
    modelledTokensPerSecond(
      { hidden: anatomy.hidden, vocab: anatomy.vocab, layers },
      { ...choice, context },
      device,
      fitted[DEVICE],
    );
  const left = anatomy.layers.flatMap((layer, l) => {
    const k = kept[l];
    if (!k) return [layer];
    // Nothing of it left: the layer is not run.
    if (k.heads + k.neurons === 0) return [];
    return [{ ...layer, queryHeads: k.heads, kvGroups: k.groups, neurons: k.neurons }];
  });
  return {
    base: of(anatomy.layers),
    now: of(left),
    note: `${device.name}, decode at ${context}, 6-bit palettes of 16 channels${fitted[DEVICE] ? ", refitted to reports" : ""}.`,
  };
}
