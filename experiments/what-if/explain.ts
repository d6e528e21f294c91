/** @file Explains one unit: what a head attends to, on a sentence and on the text, and which
 * predictions get worse without the unit. */

import { throwIfCancelled } from "../../lib/cancel.ts";
import {
  type AttendedSequence,
  attentionPatterns,
  type PatternScore,
  strongestExamples,
} from "../../lib/compress/importance/attention-patterns.ts";
import { type AttentionReach, attentionReach } from "../../lib/compress/importance/attention-reach.ts";
import type { Stream } from "../../lib/decoder/stream.ts";
import { f32At, i32At, itemAt, numberAt } from "../../lib/elements.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { PrefixStreams } from "../../lib/eval/prefix-streams.ts";
import { type PaddedBatch, scoredRange, type TokenSequence } from "../../lib/eval/sequences.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { tokenText } from "../../lib/tokenizer/token-text.ts";
import { parseUnit } from "../../lib/units.ts";
import type { OpenModel } from "../model-session.ts";
import { closedBy, gatesFor, isGone } from "./closed-gates.ts";

/** Tokens of a sentence at most; the pattern has their square. */
const MOST_TOKENS = 256;
const EXAMPLES = 8;
const TOKENS = 10;
/** Tokens shown around an example. */
const AROUND = 24;

export interface AttentionPattern {
  readonly unit: string;
  readonly tokens: string[];
  /** Row t is over the keys of query t, (tokens, tokens); each adds up to 1. */
  readonly weights: number[][];
}

export interface UnitExplanation {
  readonly unit: string;
  /** Heads alone. */
  readonly patterns: PatternScore[] | null;
  /** Heads alone: how far back it looks, how narrowly, and at which tokens. */
  readonly reach: HeadReach | null;
  /** Heads alone: where it attends most, a stretch of text with the indices of query and key in it. */
  readonly examples: { tokens: string[]; query: number; key: number; weight: number }[] | null;
  /** The tokens whose loss rises most without it, with what came before. */
  readonly breaks: { before: string[]; token: string; baseNll: number; nll: number }[];
}

export interface HeadReach extends Omit<AttentionReach, "tokens"> {
  readonly tokens: { token: string; share: number; evenly: number }[];
}

/** Throws `prune/unknown-unit` for a name that is not a head of the model. */
function headOf(model: OpenModel, unit: string): { layer: number; head: number } {
  const { kind, layer, index } = parseUnit(unit);
  if (kind !== "heads")
    throw new EspalierError("prune/unknown-unit", `${unit} is not a query head; only heads have attention`, {
      hint: "Name a head, such as L3.H5.",
    });
  closedBy(model.weights.arch, [unit]);
  return { layer, head: index };
}

const textOf = (model: OpenModel, id: number): string => tokenText(model.tokenizer, id);

/** The attention of one head on a sentence. Throws `input/empty`, `input/invalid` when it is too long. */
export async function attentionOn(model: OpenModel, prompt: string, unit: string): Promise<AttentionPattern> {
  const { layer, head } = headOf(model, unit);
  const ids = promptIds(model.tokenizer, prompt);
  const most = Math.min(MOST_TOKENS, model.weights.arch.maxPositions);
  if (ids.length > most) {
    throw new EspalierError("input/invalid", `the sentence has ${ids.length} tokens, at most ${most} can be shown`, {
      hint: "Give a shorter sentence.",
    });
  }
  // Lengths in steps, so that typing compiles few programs; causal attention does not see what is behind.
  const length = Math.min(most, Math.ceil(ids.length / 32) * 32);
  const padded = Int32Array.from({ length }, (_, i) => ids[i] ?? 0);
  let x = await model.runner.embed(padded, { batch: 1, length });
  for (let l = 0; l < layer; l++) x = await model.runner.block(l, x);
  const { probabilities } = await model.runner.part("attention", layer, x, { taps: ["probabilities"] as const });
  const p = float32Data(probabilities);
  const weights = ids.map((_, t) => {
    const from = (head * length + t) * length;
    return Array.from(p.subarray(from, from + ids.length));
  });
  return { unit, tokens: ids.map((id) => textOf(model, id)), weights };
}

export async function explainUnit(
  model: OpenModel,
  prefix: PrefixStreams,
  unit: string,
  signal?: AbortSignal,
): Promise<UnitExplanation> {
  const isHead = parseUnit(unit).kind === "heads";
  const attended = isHead ? await attendedSequences(model, prefix, unit, signal) : null;
  return {
    unit,
    patterns: attended && patternsOf(model, attended, unit),
    reach: attended && reachOf(model, attended, unit),
    examples: attended && examplesOf(model, attended),
    breaks: await breaksOf(model, prefix, unit, signal),
  };
}

async function attendedSequences(
  model: OpenModel,
  prefix: PrefixStreams,
  unit: string,
  signal: AbortSignal | undefined,
): Promise<AttendedSequence[]> {
  const { layer, head } = headOf(model, unit);
  const heads = model.weights.arch.layers[layer]?.queryHeads ?? 0;
  const found: AttendedSequence[] = [];
  for (const [b, batch] of prefix.batches.entries()) {
    throwIfCancelled(signal);
    const { length } = batch.shape;
    const x = await prefix.stream(b, layer);
    const { probabilities } = await model.runner.part("attention", layer, x, { taps: ["probabilities"] as const });
    const p = float32Data(probabilities);
    for (const [row, index] of batch.rows.entries()) {
      const { ids } = itemAt(prefix.sequences, index);
      const positions = Math.min(length, ids.length - 1);
      const weights = new Float32Array(positions * positions);
      for (let t = 0; t < positions; t++) {
        const from = ((row * heads + head) * length + t) * length;
        weights.set(p.subarray(from, from + positions), t * positions);
      }
      found.push({ ids, weights, positions });
    }
  }
  return found;
}

function patternsOf(model: OpenModel, attended: readonly AttendedSequence[], unit: string): PatternScore[] {
  const { layer } = headOf(model, unit);
  const known = new Map<number, boolean>();
  const isDelimiter = (id: number): boolean => {
    let found = known.get(id);
    if (found === undefined) {
      const text = textOf(model, id);
      found = text !== "" && /^[\s\p{P}]+$/u.test(text);
      known.set(id, found);
    }
    return found;
  };
  const scores = attentionPatterns(attended, isDelimiter, model.weights.arch.layers[layer]?.window ?? null);
  // A pattern the text gives no occasion for is left out.
  return scores.filter((s) => s.positions > 0);
}

function reachOf(model: OpenModel, attended: readonly AttendedSequence[], unit: string): HeadReach | null {
  const { layer } = headOf(model, unit);
  const found = attentionReach(attended, model.weights.arch.layers[layer]?.window ?? null, TOKENS);
  return (
    found && {
      ...found,
      tokens: found.tokens.map(({ id, share, evenly }) => ({ token: textOf(model, id), share, evenly })),
    }
  );
}

function examplesOf(model: OpenModel, attended: readonly AttendedSequence[]) {
  return strongestExamples(attended, EXAMPLES).map(({ sequence, query, key, weight }) => {
    const ids = attended[sequence]?.ids ?? [];
    const from = Math.max(0, Math.min(key - 2, query - AROUND));
    const shown = Array.from({ length: query - from + 1 }, (_, i) => textOf(model, numberAt(ids, from + i)));
    return { tokens: shown, query: query - from, key: key - from, weight };
  });
}

async function breaksOf(
  model: OpenModel,
  prefix: PrefixStreams,
  unit: string,
  signal: AbortSignal | undefined,
): Promise<UnitExplanation["breaks"]> {
  const { arch } = model.weights;
  const closed = closedBy(arch, [unit]);
  const { layer } = parseUnit(unit);
  const own = closed[layer];
  if (!own) return [];
  const found: { sequence: TokenSequence; at: number; baseNll: number; nll: number }[] = [];
  for (const [b, batch] of prefix.batches.entries()) {
    throwIfCancelled(signal);
    const entering = await prefix.stream(b, layer);
    const gates = gatesFor(arch, layer, own, batch.shape.batch);
    const through = isGone(arch, layer, own) ? entering : await model.runner.block(layer, entering, gates);
    const without = await nllOf(model, await model.runner.blocks(through, layer + 1), batch);
    const base = await nllOf(model, await prefix.stream(b, arch.layers.length), batch);
    for (const [row, index] of batch.rows.entries()) {
      const sequence = itemAt(prefix.sequences, index);
      const { from, to } = scoredRange(sequence, row, batch.shape.length);
      for (let i = from; i < to; i++) {
        const at = i - row * batch.shape.length + 1;
        found.push({ sequence, at, baseNll: f32At(base, i), nll: f32At(without, i) });
      }
    }
  }
  return found
    .sort((x, y) => y.nll - y.baseNll - (x.nll - x.baseNll))
    .slice(0, EXAMPLES)
    .map(({ sequence: { ids }, at, baseNll, nll }) => ({
      before: Array.from(ids.subarray(Math.max(0, at - AROUND), at), (id) => textOf(model, id)),
      token: textOf(model, i32At(ids, at)),
      baseNll,
      nll,
    }));
}

const nllOf = async (model: OpenModel, x: Stream, batch: PaddedBatch): Promise<Float32Array> =>
  (await model.runner.loss(x, batch.targets)).nll;
