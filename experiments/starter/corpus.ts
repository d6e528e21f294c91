/** @file The starter's text: training tokens without end, held-out documents and questions, each from its own stream. */
import { createRng } from "../../lib/random.ts";
import { type BpeModel, bpeEncoder, trainBpe } from "./bpe.ts";
import { heldOutDocument, heldOutQuestion, type QuestionItem, trainingDocument } from "./corpus/document.ts";

export const SEED = 20;
export const VOCAB = 1024;
export const BOS = 2;
export const EOS = 1;
export const SEPARATOR = "<|endoftext|>";

export type Split = "calibrate" | "select" | "report";

export function trainTokenizer(documents = 6000): BpeModel {
  const rng = createRng(SEED, "tokenizer");
  return trainBpe(
    Array.from({ length: documents }, () => trainingDocument(rng)),
    VOCAB,
  );
}

/** Held-out documents of one split; splits are disjoint streams. */
export function heldOutDocuments(split: Split, count: number): string[] {
  const rng = createRng(SEED, `held out ${split}`);
  return Array.from({ length: count }, () => heldOutDocument(rng));
}

export function heldOutQuestions(split: Split, count: number): QuestionItem[] {
  const rng = createRng(SEED, `questions ${split}`);
  return Array.from({ length: count }, () => heldOutQuestion(rng));
}

/** `<bos> document <eos>` back to back, `count` tokens, from the stream of `seed`. */
export function trainingTokens(model: BpeModel, seed: number, count: number): Int32Array {
  const rng = createRng(seed, "training text");
  const encode = bpeEncoder(model);
  const out = new Int32Array(count);
  let at = 0;
  while (at < count) {
    for (const id of [BOS, ...encode(trainingDocument(rng)), EOS]) if (at < count) out[at++] = id;
  }
  return out;
}
