/**
 * @file Prunes a model to a number of parameters: chooses jointly among heads, KV groups, neurons
 * and layers, and refits the rest to compensate.
 *
 * A round estimates the loss of every step of every layer, takes the cheapest set
 * (`size-target.ts`), cuts and fits (`compensate.ts`). The next round estimates again on the
 * smaller model, so that interactions are seen. Estimates of each kind are scaled by the measured
 * loss of closing whole halves of some layers. The loss is measured on held-out text before and
 * after fitting.
 */

import { leaveOneOut } from "../../../lib/compress/importance/leave-one-out.ts";
import { compensate } from "../../../lib/compress/prune/compensate.ts";
import { type KeptLayer, keptAfter } from "../../../lib/compress/prune/kept.ts";
import { Products } from "../../../lib/compress/prune/products.ts";
import { type LayerRemovals, layerRemovals } from "../../../lib/compress/prune/removals.ts";
import { secondOrder } from "../../../lib/compress/prune/second-order.ts";
import { chooseForSize } from "../../../lib/compress/prune/size-target.ts";
import { pruneModel } from "../../../lib/compress/prune/slice.ts";
import { DecoderRunner } from "../../../lib/decoder/runner.ts";
import { type DecoderWeights, parameterCount } from "../../../lib/decoder/weights.ts";
import { itemAt } from "../../../lib/elements.ts";
import { BesideBase } from "../../../lib/eval/beside-base.ts";
import type { TokenSequence } from "../../../lib/eval/sequences.ts";
import { summarizeLosses } from "../../../lib/eval/summary.ts";
import type { BlockHalf } from "../../../lib/train/half-gradients.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import type { CalibrationText } from "../../splits.ts";

interface Measured {
  readonly perplexity: number;
  readonly kl: number;
}

type ByHalf = Readonly<Record<BlockHalf, number>>;

export interface SizedReport {
  /** Parameters asked for. */
  readonly target: number;
  readonly protocol: string;
  /** Of the model at hand, on the held-out text. */
  readonly basePerplexity: number;
  readonly rounds: {
    readonly parameters: number;
    /** The ratio of measured losses of whole halves to their estimates. */
    readonly factors: ByHalf;
    /** Estimated losses of all that goes in this round, nats per token. */
    readonly expected: ByHalf;
    readonly cut: Measured;
    /** Null where nothing was fitted. */
    readonly fitted: Measured | null;
  }[];
  /** By layer of the model at hand: what is left, what that saves, and what it was estimated to lose. */
  readonly layers: {
    readonly layer: number;
    readonly heads: number;
    readonly groups: number;
    readonly neurons: number;
    readonly savedParameters: number;
    readonly expected: ByHalf;
  }[];
}

export interface SizeRequest {
  readonly target: number;
  readonly rounds: number;
  readonly multiple: number;
  readonly compensate: boolean;
}

/** Sequences of the calibration text that estimates are made on at most; fitting takes all. */
const ESTIMATE_TOKENS = 4096;
/** Layers of which whole halves are closed to scale the estimates, and the tokens of that. */
const PROBED_LAYERS = 4;
const PROBE_TOKENS = 1024;

const halves = ["attention", "mlp"] as const satisfies readonly BlockHalf[];

export async function pruneToSize(
  model: OpenModel,
  text: CalibrationText,
  request: SizeRequest,
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<{ weights: DecoderWeights; kept: KeptLayer[]; report: SizedReport }> {
  const { signal } = context;
  const { arch } = model.weights;
  const base = await BesideBase.compute(model.runner, text.heldOut.sequences, { signal });
  const measure = async (weights: DecoderWeights) => {
    const runner = new DecoderRunner(context.engine, weights);
    const { perplexity, kl } = summarizeLosses(await base.compare(runner, { signal }));
    await runner.dispose();
    return { perplexity, kl: kl?.mean ?? Number.NaN };
  };
  const all = parameterCount(arch);
  const rounds: SizedReport["rounds"] = [];
  const expected = arch.layers.map(() => ({ attention: 0, mlp: 0 }));
  let weights = model.weights;
  let kept: KeptLayer[] = arch.layers.map((l, layer) => ({
    layer,
    heads: Array.from({ length: l.queryHeads }, (_, i) => i),
    neurons: Array.from({ length: l.neurons }, (_, i) => i),
  }));
  for (let round = 1; round <= request.rounds; round++) {
    const share = (within: number): void => onShare((round - 1 + within) / request.rounds);
    const target =
      round === request.rounds ? request.target : Math.round(all - ((all - request.target) * round) / request.rounds);
    const { removals, factors } = await estimates(weights, text.calibrate, request.multiple, context, (s) =>
      share(s / 2),
    );
    const { selection, expected: losses } = chooseForSize(weights.arch, removals, target, request.multiple, factors);
    for (const [l, loss] of losses.entries()) {
      const own = expected[itemAt(kept, l).layer];
      if (own) for (const half of halves) own[half] += loss[half];
    }
    const cut = pruneModel(weights, selection);
    kept = keptAfter(kept, selection);
    const cutLoss = await measure(cut);
    const source = kept.map((k) => k.layer);
    weights = request.compensate
      ? await compensate(context.engine, model.weights, cut, source, text.calibrate, {
          signal,
          onProgress: (done, total) => share(0.5 + done / total / 2),
        })
      : cut;
    const fittedLoss = request.compensate ? await measure(weights) : null;
    const total = (half: BlockHalf): number => losses.reduce((n, loss) => n + loss[half], 0);
    rounds.push({
      parameters: parameterCount(weights.arch),
      factors,
      expected: { attention: total("attention"), mlp: total("mlp") },
      cut: cutLoss,
      fitted: fittedLoss,
    });
    const after = fittedLoss ? `, ${fittedLoss.perplexity.toFixed(2)} after fitting` : "";
    context.log?.(
      `round ${round} of ${request.rounds}: ${parameterCount(weights.arch)} parameters, perplexity ${cutLoss.perplexity.toFixed(2)} after cutting${after}`,
    );
  }
  return {
    weights,
    kept,
    report: {
      target: request.target,
      protocol: text.heldOut.protocol,
      basePerplexity: summarizeLosses(base.losses).perplexity,
      rounds,
      layers: arch.layers.map((_, layer) => {
        const at = kept.findIndex((k) => k.layer === layer);
        const left = weights.arch.layers[at];
        const without = { ...arch, layers: arch.layers.filter((__, l) => l !== layer) };
        const whole = all - parameterCount(without);
        const now = left ? parameterCount({ ...arch, layers: [...without.layers, left] }) - parameterCount(without) : 0;
        return {
          layer,
          heads: left?.queryHeads ?? 0,
          groups: left?.kvGroups ?? 0,
          neurons: left?.neurons ?? 0,
          savedParameters: whole - now,
          expected: expected[layer] ?? { attention: 0, mlp: 0 },
        };
      }),
    },
  };
}

/** What every step of every layer is estimated to lose, and the factor of each kind. */
async function estimates(
  weights: DecoderWeights,
  calibrate: readonly TokenSequence[],
  multiple: number,
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<{ removals: LayerRemovals[]; factors: Record<BlockHalf, number> }> {
  const { signal } = context;
  const { layers } = weights.arch;
  const moments = await secondOrder(context.engine, weights, firstTokens(calibrate, ESTIMATE_TOKENS), {
    signal,
    onProgress: (done, total) => onShare((0.5 * done) / total),
  });
  const products = new Products(context.engine);
  const removals: LayerRemovals[] = [];
  for (const l of layers.keys()) {
    removals.push(await layerRemovals(products, weights, l, itemAt(moments, l), multiple));
    onShare(0.5 + (0.4 * (l + 1)) / layers.length);
  }
  await products.dispose();
  const probed = probedLayers(layers.length);
  const units = probed.flatMap((layer) => halves.map((kind) => ({ layer, kind, index: 0 })));
  const runner = new DecoderRunner(context.engine, weights);
  const found = await leaveOneOut(runner, firstTokens(calibrate, PROBE_TOKENS), units, { signal });
  await runner.dispose();
  const factorOf = (half: BlockHalf): number => {
    const truth = found.units.flatMap((u) => (u.unit.kind === half ? [...u.perSequence] : []));
    const mean = truth.reduce((t, v) => t + v, 0) / Math.max(1, truth.length);
    const guess = probed.reduce((t, l) => t + (removals[l]?.whole[half] ?? 0), 0) / probed.length;
    // Estimates are of small changes; a factor beyond these says that the measured layers were exceptions.
    return guess > 0 ? Math.min(10, Math.max(0.1, mean / guess)) : 1;
  };
  return { removals, factors: { attention: factorOf("attention"), mlp: factorOf("mlp") } };
}

/** Spread over the depth, without the first and the last, whose halves are exceptions. */
function probedLayers(layers: number): number[] {
  const inner = Math.max(1, layers - 2);
  const count = Math.min(PROBED_LAYERS, inner);
  return [
    ...new Set(
      Array.from({ length: count }, (_, i) => Math.min(layers - 1, 1 + Math.floor(((i + 0.5) * inner) / count))),
    ),
  ];
}

/** Whole sequences until so many tokens are reached. */
function firstTokens(sequences: readonly TokenSequence[], tokens: number): TokenSequence[] {
  const found: TokenSequence[] = [];
  let left = tokens;
  for (const s of sequences) {
    if (left <= 0) break;
    found.push(s);
    left -= s.ids.length;
  }
  return found;
}
