/**
 * @file Which neurons and layers to remove.
 *
 * References: Muralidharan et al. (Minitron, 2024) for neurons by score; Men et al. (ShortGPT,
 * 2024) for layers. Neurons go in chunks of a multiple m, so that the width of every layer stays a
 * multiple of it (wide vectors, tables over rows):
 *
 *   free   per layer, neurons in ascending order of score are cut into chunks of m; the chunks with the least mean score
 *          anywhere go until ⌈r · neurons⌉ are gone
 *   even   every layer keeps ⌊(1 − r) F / m⌋ · m, its best
 *
 * A layer keeps at least m neurons and a quarter of its width. Not included: choices that account
 * for interactions.
 */

import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";

export const neuronModes = ["free", "even"] as const;
export type NeuronMode = (typeof neuronModes)[number];

/** Neurons to drop by layer, ascending. */
export type NeuronSelection = readonly (readonly number[])[];

const LEAST_SHARE = 0.25;

export interface NeuronOptions {
  readonly mode: NeuronMode;
  /** The remaining width of every layer is a multiple of this, unless nothing is removed. */
  readonly multiple: number;
  /** Scores are comparable within a layer only: each layer's are shifted and scaled to mean 0, deviation 1. */
  readonly standardize: boolean;
}

export const neuronCount = (arch: DecoderArchitecture): number => arch.layers.reduce((n, l) => n + l.neurons, 0);

/** `scores` (layers, neurons). Throws `input/invalid`, `prune/empty-layer` when the share cannot be reached. */
export function selectNeurons(
  arch: DecoderArchitecture,
  scores: readonly ArrayLike<number>[],
  share: number,
  { mode, multiple, standardize }: NeuronOptions,
): NeuronSelection {
  if (!(share > 0 && share < 1))
    throw new EspalierError("input/invalid", `the share of neurons must lie between 0 and 1, found ${share}`);
  if (!(Number.isInteger(multiple) && multiple >= 1))
    throw new EspalierError("input/invalid", `a multiple of neurons must be a positive integer, found ${multiple}`);
  const ranked = arch.layers.map((layer, l) => ascending(scores[l] ?? [], layer.neurons, l));
  const drop: number[][] = arch.layers.map(() => []);
  const refuse = (most: number): never => {
    throw new EspalierError(
      "prune/empty-layer",
      `a share of ${share} of the neurons cannot go: every layer keeps a quarter and at least ${multiple}, so at most ${most} of ${neuronCount(arch)} can`,
      { hint: "Lower --neurons, or --neuron-multiple." },
    );
  };
  if (mode === "even") {
    for (const [l, order] of ranked.entries()) {
      const keep = Math.floor(((1 - share) * order.length + 1e-9) / multiple) * multiple;
      if (keep < least(order.length, multiple)) refuse(mostOf(arch, multiple));
      drop[l] = order.slice(0, order.length - keep);
    }
    return drop.map((d) => d.sort((a, b) => a - b));
  }
  const target = Math.ceil(share * neuronCount(arch) - 1e-9);
  const chunks = ranked.flatMap((order, l) => {
    const own = standardize ? standardized(scores[l] ?? []) : (scores[l] ?? []);
    const found: { layer: number; neurons: number[]; score: number; last: number }[] = [];
    // The first chunk brings the layer to a multiple.
    for (let at = 0, size = order.length % multiple || multiple; at < order.length; at += size, size = multiple) {
      const neurons = order.slice(at, at + size);
      const score = neurons.reduce((t, n) => t + numberAt(own, n), 0) / neurons.length;
      found.push({ layer: l, neurons, score, last: at + neurons.length });
    }
    return found;
  });
  chunks.sort((a, b) => a.score - b.score || a.layer - b.layer || a.last - b.last);
  let gone = 0;
  for (const { layer, neurons, last } of chunks) {
    if (gone >= target) break;
    const width = arch.layers[layer]?.neurons ?? 0;
    const own = drop[layer];
    // The means of successive chunks ascend, so chunks of one layer are taken in order.
    if (!own || width - last < least(width, multiple)) continue;
    own.push(...neurons);
    gone += neurons.length;
  }
  if (gone < target) refuse(gone);
  return drop.map((d) => d.sort((a, b) => a - b));
}

const least = (width: number, multiple: number): number => Math.max(multiple, Math.ceil(LEAST_SHARE * width));

const mostOf = (arch: DecoderArchitecture, multiple: number): number =>
  arch.layers.reduce((n, l) => n + Math.max(0, l.neurons - least(l.neurons, multiple)), 0);

function ascending(scores: ArrayLike<number>, neurons: number, layer: number): number[] {
  for (let n = 0; n < neurons; n++) {
    if (!Number.isFinite(scores[n]))
      throw new EspalierError("numeric/non-finite", `the score of L${layer}.N${n} is ${scores[n]}`);
  }
  return Array.from({ length: neurons }, (_, n) => n).sort(
    (a, b) => numberAt(scores, a) - numberAt(scores, b) || a - b,
  );
}

function standardized(scores: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(scores);
  const mean = values.reduce((t, v) => t + v, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((t, v) => t + (v - mean) ** 2, 0) / values.length);
  return values.map((v) => (deviation > 0 ? (v - mean) / deviation : 0));
}

/** The `count` layers with the least scores, ascending. Throws `prune/empty-layer` when none would be left. */
export function selectLayers(scores: readonly number[], count: number): number[] {
  if (!(Number.isInteger(count) && count >= 1))
    throw new EspalierError("input/invalid", `the number of layers to drop must be a positive integer, found ${count}`);
  if (count >= scores.length) {
    throw new EspalierError("prune/empty-layer", `${count} of ${scores.length} layers cannot go: one must stay`, {
      hint: "Lower --layers.",
    });
  }
  const bad = scores.findIndex((s) => !Number.isFinite(s));
  if (bad >= 0) throw new EspalierError("numeric/non-finite", `the score of L${bad} is ${scores[bad]}`);
  return scores
    .map((score, layer) => ({ score, layer }))
    .sort((a, b) => a.score - b.score || a.layer - b.layer)
    .slice(0, count)
    .map((s) => s.layer)
    .sort((a, b) => a - b);
}
