/**
 * @file Multiple choice by likelihood: the choice whose tokens, after the prompt, are least surprising per token.
 *
 *   choice* = argmin_c (−Σ_t log p(c_t | prompt, c_<t)) / |c|
 */
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import type { TokenSequence } from "./sequences.ts";
import type { SharedLoss } from "./shared-losses.ts";
import { type BosRule, type PromptCodec, promptIds } from "./text-codec.ts";

export const multipleChoiceItem = z.object({
  prompt: z.string().min(1),
  choices: z.array(z.string().min(1)).min(2),
  answer: z.number().int().nonnegative(),
  kind: z.string().optional(),
});
export type MultipleChoiceItem = z.infer<typeof multipleChoiceItem>;

/** One sequence a choice, scored from the first token in which the choice differs from the prompt alone. */
export function choiceSequences(
  item: MultipleChoiceItem,
  index: number,
  codec: PromptCodec,
  context: number,
  bos: BosRule = "auto",
): TokenSequence[] {
  if (item.answer >= item.choices.length) {
    throw new EspalierError(
      "format/malformed",
      `item ${index}: answer ${item.answer} of ${item.choices.length} choices`,
    );
  }
  const prompt = promptIds(codec, item.prompt, bos);
  return item.choices.map((choice, c) => {
    const ids = promptIds(codec, item.prompt + choice, bos);
    if (ids.length > context) {
      throw new EspalierError(
        "input/invalid",
        `item ${index} choice ${c} has ${ids.length} tokens, the context holds ${context}`,
      );
    }
    let shared = 0;
    while (shared < prompt.length && shared < ids.length - 1 && prompt[shared] === ids[shared]) shared++;
    return {
      id: `item ${index} choice ${c}`,
      ids: Int32Array.from(ids),
      scoredFrom: Math.max(1, shared),
      sizeBytes: new TextEncoder().encode(choice).length,
    };
  });
}

/** Right or wrong by item; `losses` in the order of the items' choices. */
export function scoreChoices(items: readonly MultipleChoiceItem[], losses: readonly SharedLoss[]): boolean[] {
  let at = 0;
  return items.map((item) => {
    const scores = item.choices.map((_, c) => {
      const loss = losses[at + c];
      return loss ? loss.nll / loss.tokens : Number.POSITIVE_INFINITY;
    });
    at += item.choices.length;
    return scores.indexOf(Math.min(...scores)) === item.answer;
  });
}
