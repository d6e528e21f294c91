/**
 * @file Golden vectors: the outputs a package must give on a device, written next to it.
 *
 * Expected logits are those of the fp32 decoder with the weights as they ship (codes decoded, the rest rounded to fp16), so
 * that a difference is the device's arithmetic and not the compression. Per position the best `topK` tokens, their logits and
 * log Σ exp over the whole vocabulary, which is enough for the KL over the listed tokens and the rest taken as one. The greedy
 * continuation stands with the margin between its best two logits: where a device chooses otherwise at a margin below twice
 * the tolerance, the two were as good as tied.
 */

import { z } from "zod";
import { throwIfCancelled } from "../../../lib/cancel.ts";
import { argmax, type StepModel } from "../../../lib/decoder/generate.ts";
import { f32At, numberAt } from "../../../lib/elements.ts";
import { EspalierError } from "../../../lib/errors.ts";

export const GOLDEN_FORMAT = "espalier-golden/1";

const token = z.number().int().min(0);
const position = z.strictObject({
  /** Index into prompt and greedy continuation, of the token that was fed. */
  position: z.number().int().min(0),
  tokens: z.array(token).min(1).max(256),
  logits: z.array(z.number()).min(1).max(256),
  logSumExp: z.number(),
});
export type GoldenPosition = z.infer<typeof position>;

export const goldenSchema = z.strictObject({
  format: z.literal(GOLDEN_FORMAT),
  vocab: z.number().int().min(1),
  /** Logits may differ by so much. */
  tolerance: z.number().positive(),
  sequences: z
    .array(
      z.strictObject({
        name: z.string(),
        prompt: z.array(token).min(1),
        greedy: z.array(token),
        /** Best less second-best logit, where each greedy token was chosen. */
        margins: z.array(z.number().min(0)),
        positions: z.array(position).min(1),
      }),
    )
    .min(1)
    .max(64),
  /** Each names the functions it runs and the sequence it runs them on. */
  cases: z
    .array(
      z.strictObject({
        name: z.string(),
        decode: z.string(),
        /** Whole chunks of the prompt go through this one first; null: everything through `decode`. */
        prefill: z.string().nullable(),
        context: z.number().int().min(1),
        sequence: z.number().int().min(0),
      }),
    )
    .min(1)
    .max(64),
});
export type Golden = z.infer<typeof goldenSchema>;
export type GoldenSequence = Golden["sequences"][number];
export type GoldenCase = Golden["cases"][number];

/** Greedy tokens in the vectors of an export. */
export const GOLDEN_TOKENS = 32;

/**
 * The beginning of a text, long enough that the widest prefill has a whole chunk and a padded one after it, as far as the
 * smallest context leaves room for the greedy tokens.
 */
export function goldenPrompt(
  text: readonly number[],
  functions: readonly { readonly context: number; readonly width: number }[],
): number[] {
  const smallest = Math.min(...functions.map((f) => f.context));
  const widest = Math.max(...functions.map((f) => f.width));
  return text.slice(0, Math.max(1, Math.min(widest + 5, smallest - GOLDEN_TOKENS, Math.ceil(smallest * 0.75))));
}

export interface GoldenOptions {
  readonly prompt: readonly number[];
  readonly greedyTokens: number;
  readonly topK: number;
  /** Of the largest |logit|. */
  readonly relativeTolerance: number;
  /** What the package can be run by: a decode function, and the prefill that fills the same state. */
  readonly functions: readonly { decode: string; prefill: string | null; context: number }[];
  readonly signal?: AbortSignal | undefined;
}

/** Throws `input/invalid` when the prompt leaves the reference no room for a single greedy token. */
export async function goldenVectors(reference: StepModel, options: GoldenOptions): Promise<Golden> {
  const { prompt, functions, topK } = options;
  const smallest = Math.min(reference.context, ...functions.map((f) => f.context));
  const greedyTokens = Math.min(options.greedyTokens, smallest - prompt.length);
  if (prompt.length === 0 || greedyTokens < 1)
    throw new EspalierError(
      "input/invalid",
      `${prompt.length} prompt tokens leave no room for golden vectors in a context of ${smallest}`,
      { hint: "Raise --context." },
    );
  const session = reference.open();
  const positions: GoldenPosition[] = [];
  const greedy: number[] = [];
  const margins: number[] = [];
  let largest = 0;
  try {
    for (let at = 0; at < prompt.length + greedyTokens - 1; at++) {
      throwIfCancelled(options.signal);
      const fed = prompt[at] ?? numberAt(greedy, at - prompt.length);
      const logits = await session.feed([fed], at);
      for (const z of logits) largest = Math.max(largest, Math.abs(z));
      const found = topOf(logits, at, Math.max(2, topK));
      positions.push({
        ...found,
        tokens: found.tokens.slice(0, topK),
        logits: found.logits.slice(0, topK),
      });
      if (at < prompt.length - 1) continue;
      greedy.push(argmax(logits));
      margins.push(short(numberAt(found.logits, 0) - (found.logits[1] ?? numberAt(found.logits, 0))));
    }
  } finally {
    session.dispose();
  }
  return {
    format: GOLDEN_FORMAT,
    vocab: reference.vocab,
    tolerance: short(Math.max(options.relativeTolerance * largest, 1e-3)),
    sequences: [{ name: "held-out", prompt: [...prompt], greedy, margins, positions }],
    cases: functions.flatMap(({ decode, prefill, context }) => [
      { name: `${decode} at ${context}`, decode, prefill: null, context, sequence: 0 },
      ...(prefill === null
        ? []
        : [{ name: `${prefill}, then ${decode} at ${context}`, decode, prefill, context, sequence: 0 }]),
    ]),
  };
}

/** Seven digits: more than fp32 tells apart. */
const short = (x: number): number => Number(x.toPrecision(8));

function topOf(logits: Float32Array, at: number, k: number): GoldenPosition {
  const tokens = largestOf(logits, k);
  const top = f32At(logits, numberAt(tokens, 0));
  let sum = 0;
  for (const z of logits) sum += Math.exp(z - top);
  return {
    position: at,
    tokens,
    logits: tokens.map((t) => short(f32At(logits, t))),
    logSumExp: short(top + Math.log(sum)),
  };
}

/** The indices of the `k` largest values, in falling order; of equal ones the first. */
function largestOf(values: Float32Array, k: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const v = f32At(values, i);
    if (found.length === k && v <= f32At(values, numberAt(found, k - 1))) continue;
    let at = found.length;
    while (at > 0 && f32At(values, numberAt(found, at - 1)) < v) at--;
    found.splice(at, 0, i);
    if (found.length > k) found.pop();
  }
  return found;
}
