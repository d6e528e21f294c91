/**
 * @file What to remove to reach a number of parameters at the least expected loss.
 *
 * Every layer is one unit of a multiple-choice knapsack whose choices are all pairs of steps of its attention and its MLP
 * (`removals.ts`), plus its removal as a whole. Expected losses add up, each kind times a factor
 * fitted to measured effects. If the knapsack removes too much, neurons of the last chunk are
 * restored, a multiple at a time.
 */

import { type DecoderArchitecture, kvReaders, layerTensorShapes } from "../../decoder/architecture.ts";
import { parameterCount } from "../../decoder/weights.ts";
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { elementCount } from "../../mil/types.ts";
import type { BlockHalf } from "../../train/half-gradients.ts";
import { allocate } from "../allocate/knapsack.ts";
import { type PruneSelection, refuseLayer } from "./prune-selection.ts";
import { attentionParameters, type LayerRemovals } from "./removals.ts";
import { slicedArchitecture } from "./slice.ts";

export interface SizeChoice {
  readonly selection: PruneSelection;
  /** Expected loss in nats per token, by layer and half. */
  readonly expected: readonly Readonly<Record<BlockHalf, number>>[];
}

interface LayerChoice {
  readonly attention: number | null;
  readonly mlp: number | null;
  readonly parameters: number;
  readonly loss: Record<BlockHalf, number>;
}

/** Throws `prune/empty-layer` when more than `target` parameters remain after removing everything
 * that can go. */
export function chooseForSize(
  arch: DecoderArchitecture,
  removals: readonly LayerRemovals[],
  target: number,
  multiple: number,
  factors: Readonly<Record<BlockHalf, number>>,
): SizeChoice {
  const choices = arch.layers.map((_, l) => layerChoices(arch, l, itemAt(removals, l), factors));
  const outside = parameterCount(arch) - choices.reduce((n, own) => n + itemAt(own, 0).parameters, 0);
  const solution = allocate(
    choices.map((own) => own.map((c) => ({ sizeBytes: c.parameters, cost: c.loss.attention + c.loss.mlp }))),
    target - outside,
  );
  const { choices: picked } = solution;
  if (!picked) {
    throw new EspalierError(
      "prune/empty-layer",
      `${target} parameters cannot be reached: without all that can go, ${outside + solution.sizeBytes} are left`,
      { hint: "Ask for more parameters: the embedding and one head and one multiple of neurons of a layer stay." },
    );
  }
  const chosen = picked.map((c, l) => choices[l]?.[c] as LayerChoice);
  // One layer stays.
  const selection = {
    heads: chosen.map((c, l) => [...(removals[l]?.attention[c.attention ?? 0]?.gone ?? [])]),
    neurons: chosen.map((c, l) => [...(removals[l]?.mlp[c.mlp ?? 0]?.gone ?? [])]),
    layers: chosen.flatMap((c, l) => (c.attention === null ? [l] : [])),
  };
  giveBack(arch, selection, target, multiple);
  const sorted = (list: readonly (readonly number[])[]): number[][] => list.map((d) => [...d].sort((a, b) => a - b));
  return {
    selection: { heads: sorted(selection.heads), neurons: sorted(selection.neurons), layers: selection.layers },
    expected: chosen.map((c) => c.loss),
  };
}

function layerChoices(
  arch: DecoderArchitecture,
  l: number,
  removals: LayerRemovals,
  factors: Readonly<Record<BlockHalf, number>>,
): LayerChoice[] {
  const layer = arch.layers[l];
  if (!layer) return [];
  const all = Object.values(layerTensorShapes(arch, layer)).reduce((n, shape) => n + elementCount(shape), 0);
  const whole = attentionParameters(arch, layer, []);
  const choices = removals.attention.flatMap((a, attention) =>
    removals.mlp.map((m, mlp): LayerChoice => {
      const saved = whole - attentionParameters(arch, layer, a.gone) + 3 * arch.hidden * m.gone.length;
      const loss = { attention: a.loss * factors.attention, mlp: m.loss * factors.mlp };
      return { attention, mlp, parameters: all - saved, loss };
    }),
  );
  if (canGo(arch, l)) {
    const loss = {
      attention: removals.whole.attention * factors.attention,
      mlp: removals.whole.mlp * factors.mlp,
    };
    choices.push({ attention: null, mlp: null, parameters: 0, loss });
  }
  return choices;
}

/** The first and last layers stay, so that a model always remains. */
function canGo(arch: DecoderArchitecture, l: number): boolean {
  if (l === 0 || l === arch.layers.length - 1 || kvReaders(arch, l).some((reader) => reader !== l)) return false;
  try {
    refuseLayer(arch, l, new Set([l]));
    return true;
  } catch {
    return false;
  }
}

/** Restores the neurons removed last, a multiple at a time, while the target still holds. */
function giveBack(
  arch: DecoderArchitecture,
  selection: { heads: number[][]; neurons: number[][]; layers: number[] },
  target: number,
  multiple: number,
): void {
  let room = target - parameterCount(slicedArchitecture(arch, selection));
  const each = 3 * arch.hidden * multiple;
  const layers = selection.neurons.map((own, l) => ({ l, own })).filter((n) => !selection.layers.includes(n.l));
  layers.sort((a, b) => b.own.length - a.own.length);
  for (const { own } of layers) {
    while (room >= each && own.length >= multiple) {
      own.splice(own.length - multiple, multiple);
      room -= each;
    }
  }
}
