/**
 * @file Trains the starter from nothing: the same trainer and engine that distill, on the corpus written here.
 *
 * Two phases share one optimizer and one schedule: rows of 160 tokens, which hold a whole document, and a last part with
 * rows of the full context, so that every position is trained. Each row begins with a document.
 */

import { initializeWeights } from "../../lib/decoder/initialize.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import type { DecoderWeights } from "../../lib/decoder/weights.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { choiceSequences, scoreChoices } from "../../lib/eval/choice-scoring.ts";
import { sharedLosses } from "../../lib/eval/shared-losses.ts";
import type { PromptCodec } from "../../lib/eval/text-codec.ts";
import { createRng } from "../../lib/random.ts";
import { newAdamWState } from "../../lib/train/adamw.ts";
import { type Batch, type StepResult, Trainer } from "../../lib/train/trainer.ts";
import { textObjective } from "../../lib/train/training-program.ts";
import { starterArchitecture } from "./architecture.ts";
import { type BpeModel, bpeEncoder } from "./bpe.ts";
import { BOS, EOS, heldOutQuestions, type Split, trainingDocuments } from "./corpus.ts";

export interface StarterTraining {
  readonly seed: number;
  readonly steps: number;
  /** Share of the steps, at the end, with rows of the full context. */
  readonly longShare: number;
  readonly peakRate: number;
}

export const starterTraining: StarterTraining = {
  seed: 20,
  steps: 1000,
  longShare: 0.12,
  peakRate: 3e-3,
};

const shortShape = { batch: 12, length: 160 };
const longShape = { batch: 8, length: starterArchitecture.maxPositions };

/** An answer is a few tokens among a hundred, but the only ones that need the passage; they count this often. */
const ANSWER_WEIGHT = 4;

/** The tokens of a document and how often each counts: `<bos> document <eos>`. */
function weighted(document: string, encode: (text: string) => number[]): { id: number; weight: number }[] {
  const plain = (text: string) => encode(text).map((id) => ({ id, weight: 1 }));
  const lines = document.split("\n").map((line, i) => {
    const at = line.indexOf("Answer:");
    const start = i === 0 ? "" : "\n";
    if (at < 0) return plain(start + line);
    // Cutting after the colon changes no token, because punctuation stands alone.
    const question = plain(start + line.slice(0, at + "Answer:".length));
    return [...question, ...encode(line.slice(at + "Answer:".length)).map((id) => ({ id, weight: ANSWER_WEIGHT }))];
  });
  return [{ id: BOS, weight: 1 }, ...lines.flat(), { id: EOS, weight: 1 }];
}

/** Rows that begin with a document and run on into the next until they are full. */
function batchSource(model: BpeModel, seed: number): (shape: { batch: number; length: number }) => Batch {
  const next = trainingDocuments(seed);
  const encode = bpeEncoder(model);
  return ({ batch, length }) => {
    const ids = new Int32Array(batch * length);
    const targets = new Int32Array(batch * length);
    const tokenWeights = new Float32Array(batch * length);
    for (let row = 0; row < batch; row++) {
      const tokens: { id: number; weight: number }[] = [];
      while (tokens.length <= length) tokens.push(...weighted(next(), encode));
      for (let i = 0; i < length; i++) {
        ids[row * length + i] = tokens[i]?.id ?? 0;
        targets[row * length + i] = tokens[i + 1]?.id ?? 0;
        tokenWeights[row * length + i] = tokens[i + 1]?.weight ?? 0;
      }
    }
    const total = tokenWeights.reduce((t, w) => t + w, 0);
    return { ids, targets, tokenWeights: tokenWeights.map((w) => w / total) };
  };
}

export async function trainStarter(
  engine: Engine,
  tokenizer: BpeModel,
  options: StarterTraining,
  onStep: (result: StepResult & { tokens: number }, weights: DecoderWeights) => Promise<void> | void,
): Promise<DecoderWeights> {
  const weights = initializeWeights(starterArchitecture, createRng(options.seed, "initial weights"));
  const next = batchSource(tokenizer, options.seed);
  const schedule = { peak: options.peakRate, warmupSteps: 100, totalSteps: options.steps, finalShare: 0.02 };
  const state = newAdamWState();
  const longFrom = Math.round(options.steps * (1 - options.longShare));
  for (const [shape, from, to] of [
    [shortShape, 0, longFrom],
    [longShape, longFrom, options.steps],
  ] as const) {
    const trainer = await Trainer.create(engine, weights, { shape, schedule, objective: textObjective, state });
    for (let i = from; i < to; i++) {
      await onStep({ ...(await trainer.step(next(shape))), tokens: shape.batch * shape.length }, weights);
    }
    await trainer.dispose();
  }
  return weights;
}

/** The trainer's own model as a tokenizer of prompts. */
export const codecOf = (model: BpeModel): PromptCodec => ({
  startId: BOS,
  addedTokens: () => ({ begin: [BOS], end: [], described: "BOS always" }),
  encode: bpeEncoder(model),
});

/** Share of held-out questions answered right. */
export async function questionAccuracy(
  engine: Engine,
  weights: DecoderWeights,
  tokenizer: BpeModel,
  split: Split,
  count: number,
): Promise<{ accuracy: number; byKind: Record<string, string> }> {
  const items = heldOutQuestions(split, count).map((q) => ({ ...q, choices: [...q.choices] }));
  const codec = codecOf(tokenizer);
  const sequences = items.flatMap((item, i) => choiceSequences(item, i, codec, starterArchitecture.maxPositions));
  const runner = new DecoderRunner(engine, weights);
  const right = scoreChoices(items, await sharedLosses(runner, sequences));
  await runner.dispose();
  const byKind: Record<string, string> = {};
  for (const kind of [...new Set(items.map((i) => i.kind ?? ""))].sort()) {
    const members = right.filter((_, i) => items[i]?.kind === kind);
    byKind[kind] = `${members.filter(Boolean).length}/${members.length}`;
  }
  return { accuracy: right.filter(Boolean).length / right.length, byKind };
}
