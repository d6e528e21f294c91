/**
 * @file The starter's text: training documents without end, held-out documents and questions, each from its own stream.
 *
 * Held-out text is drawn from streams that training never reads. Words and ways of speaking are shared; who did what where is
 * drawn anew for every story, from about 10¹⁰ stories, so that nothing held out can be remembered.
 */
import { createRng } from "../../lib/random.ts";
import { type BpeModel, trainBpe } from "./bpe.ts";
import { corpusDocument, type QuestionItem, questionItem } from "./corpus/document.ts";

export const SEED = 20;
export const VOCAB = 1024;
export const BOS = 2;
export const EOS = 1;
export const SEPARATOR = "<|endoftext|>";

export type Split = "calibrate" | "select" | "report";

export function trainTokenizer(documents = 6000): BpeModel {
  const rng = createRng(SEED, "tokenizer");
  return trainBpe(
    Array.from({ length: documents }, () => corpusDocument(rng)),
    VOCAB,
  );
}

/** Held-out documents of one split; splits are disjoint streams. */
export function heldOutDocuments(split: Split, count: number): string[] {
  const rng = createRng(SEED, `held out ${split}`);
  return Array.from({ length: count }, () => corpusDocument(rng));
}

export function heldOutQuestions(split: Split, count: number): QuestionItem[] {
  const rng = createRng(SEED, `questions ${split}`);
  return Array.from({ length: count }, () => questionItem(rng));
}

/** Training documents, one after the other, from the stream of `seed`. */
export function trainingDocuments(seed: number): () => string {
  const rng = createRng(seed, "training text");
  return () => corpusDocument(rng);
}
