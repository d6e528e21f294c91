/**
 * @file The tokenizer interface for evaluation and generation, and the single rule for special
 * tokens.
 *
 * `auto`: exactly the tokens that the tokenizer puts around a text by itself. `always`: the model's BOS first, even where the tokenizer
 * would add none. `never`: the text alone. A loss measured under one rule says nothing about another: SmolLM2-135M, whose tokenizer
 * adds none, reads 2.13 nats under `auto` and 2.18 under `always`.
 */
import { EspalierError } from "../errors.ts";

export const bosRules = ["auto", "always", "never"] as const;
export type BosRule = (typeof bosRules)[number];

export interface AddedTokens {
  readonly begin: readonly number[];
  readonly end: readonly number[];
  /** The rule and its effect, for protocols. */
  readonly described: string;
}

export interface EncodedText {
  readonly ids: readonly number[];
  /** Where each token ends in the UTF-8 of the text, in bytes; never falling, the last at its end. */
  readonly byteEnds: ArrayLike<number>;
}

export interface EncodeOptions {
  /** Whether unknown text becomes one <unk>, as in the tokenizer (the default), or one per byte. */
  readonly unknown?: "fused" | "bytes";
}

/** What prompts need. */
export interface PromptCodec {
  /** The text alone, without special tokens around it. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Throws `input/invalid` for `always` where the model names no BOS. */
  addedTokens(rule: BosRule): AddedTokens;
  /** The start token of an empty text: the model's BOS, else its end token; null if it names
   * neither. */
  readonly startId: number | null;
}

export interface TextCodec extends PromptCodec {
  /** As `encode`, with the place of every token. */
  encodeWithEnds(text: string, options?: EncodeOptions): EncodedText;
}

/** A text to be continued: no token ends it. Throws `input/empty` if there is no token to start
 * from. */
export const promptIds = (codec: PromptCodec, text: string, rule: BosRule = "auto"): number[] =>
  promptAfter(codec, codec.addedTokens(rule).begin, text);

/** The same after tokens that are known; `startId` where there are neither tokens nor a text, whatever the rule. */
export function promptAfter(
  codec: Pick<PromptCodec, "encode" | "startId">,
  begin: readonly number[],
  text: string,
): number[] {
  const ids = [...begin, ...codec.encode(text)];
  if (ids.length > 0) return ids;
  if (codec.startId !== null) return [codec.startId];
  throw new EspalierError("input/empty", "the prompt has no tokens", { hint: "Give a text as the prompt." });
}
