/**
 * @file Decoding speed on a phone by what a selection keeps: the speed that the workbench shows of the whole model, times the ratio that
 * the cost model gives for what is left.
 */
import { type ArchitectureChoice, modelledTokensPerSecond } from "../../lib/cost/architecture-workload.ts";
import { deviceById } from "../../lib/cost/devices.ts";
import type { CostParameters } from "../../lib/cost/model.ts";
import type { ModelFigures } from "../../server/packages/model-figures.ts";
import type { Kept } from "./cost.ts";
import type { Anatomy } from "./grid-units.ts";

export interface Speed {
  /** Tokens per second. */
  readonly base: number;
  readonly now: number;
  readonly note: string;
}

/** `fitted` holds parameters refitted to reports, by device. Null where the whole model has no speed. */
export function modelledSpeed(
  anatomy: Anatomy,
  kept: readonly Kept[],
  whole: Pick<ModelFigures, "usualSpeed" | "bitsPerWeight"> | undefined,
  fitted: Readonly<Record<string, CostParameters>> = {},
): Speed | null {
  const usual = whole?.usualSpeed ?? null;
  const device = deviceById(usual?.chip ?? "");
  if (!whole || !usual || !device) return null;
  const { bitsPerWeight } = whole;
  const choice: ArchitectureChoice = {
    bitsPerWeight,
    scheme: bitsPerWeight < 12 ? "palette" : "fp16",
    context: usual.context,
  };
  const of = (layers: Anatomy["layers"]): number =>
    modelledTokensPerSecond(
      { hidden: anatomy.hidden, vocab: anatomy.vocab, layers },
      choice,
      device,
      fitted[device.id],
    );
  const left = anatomy.layers.flatMap((layer, l) => {
    const k = kept[l];
    if (!k) return [layer];
    // Nothing of it left: the layer is not run.
    if (k.heads + k.neurons === 0) return [];
    return [{ ...layer, queryHeads: k.heads, kvGroups: k.groups, neurons: k.neurons }];
  });
  return {
    base: usual.tokensPerSecond,
    now: usual.tokensPerSecond * (of(left) / of(anatomy.layers)),
    note: `${device.name}, decode at ${usual.context}, ${bitsPerWeight.toFixed(1)} bits per weight as now.`,
  };
}
