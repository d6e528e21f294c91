/** @file Models whose logits are compared, or of which one teaches the other, must have one vocabulary: the same ids for the same tokens. */
import { EspalierError } from "../lib/errors.ts";
import { vocabularyDifference } from "../lib/tokenizer/vocabulary-difference.ts";
import type { ModelFiles } from "./model-session.ts";

/** Throws `input/invalid` naming the first token that differs. */
export function requireSameTokens(first: ModelFiles, second: ModelFiles): void {
  const [a, b] = [first.checkpoint.architecture.vocab, second.checkpoint.architecture.vocab];
  if (a !== b) {
    throw new EspalierError("input/invalid", `${first.reference} has ${a} tokens, ${second.reference} has ${b}`, {
      hint: "Both must have the same vocabulary.",
    });
  }
  const found = vocabularyDifference(first.tokenizer.vocabulary(), second.tokenizer.vocabulary());
  if (!found) return;
  const more = found.count > 1 ? `, and ${found.count - 1} further ids differ` : "";
  throw new EspalierError(
    "input/invalid",
    `${first.reference} and ${second.reference} have different vocabularies of ${a} tokens: ${found.id} is ${JSON.stringify(found.first)} in the first and ${JSON.stringify(found.second)} in the second${more}`,
    { hint: "Give two models with the same tokenizer, such as a model and one made from it." },
  );
}
