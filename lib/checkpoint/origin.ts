/**
 * @file The origin of a checkpoint made here, and its loss against that original: `espalier.origin`
 * in its config.json.
 *
 * A chain (pruned, then distilled, then quantized) keeps the first original. The loss is measured against it, or against the
 * direct parent where the original could not be opened; `against` says which. Perplexity, KL and agreement are those of
 * `lib/eval/summary.ts`, on the text that `protocol` names.
 */
import { z } from "zod";

const estimate = z.object({
  mean: z.number(),
  /** Over sequences; null for a single one. */
  standardError: z.number().nullable(),
});

export const measuredLoss = z.object({
  /** Original: the model that `hash` names; parent: the checkpoint that this one was made from directly. */
  against: z.enum(["original", "parent"]),
  /** Which text, cut how, in how many sequences. */
  protocol: z.string(),
  /** Predicted tokens. */
  tokens: z.number(),
  /** KL(original ‖ this), nats per token. */
  kl: estimate,
  perplexity: z.number(),
  /** Of the original on the same tokens. */
  basePerplexity: z.number(),
  /** Share of positions where both choose the same token. */
  agreement: estimate,
  /** Multiple-choice results, where measured. */
  questions: z.object({ items: z.number(), correct: z.number(), baseCorrect: z.number() }).nullable(),
});
export type MeasuredLoss = z.infer<typeof measuredLoss>;

export const originRecord = z.object({
  /** Of the first original, as `Checkpoint.hash` gives it. */
  hash: z.string(),
  /** The path or name under which the original was opened. */
  name: z.string(),
  /** Of the original: what "times smaller" is counted from. Null where they are not known, as in records from before they were kept. */
  parameters: z.number().nullable().default(null),
  loss: measuredLoss.nullable(),
  /** Why there is no loss, or why it is not against the original. */
  note: z.string().nullable(),
});
export type OriginRecord = z.infer<typeof originRecord>;

const withOrigin = z.looseObject({ espalier: z.looseObject({ origin: originRecord }) });

/** The record in a checkpoint's config; null for a model made elsewhere, or before records were
 * kept. */
export function originOf(config: Readonly<Record<string, unknown>>): OriginRecord | null {
  const found = withOrigin.safeParse(config);
  return found.success ? found.data.espalier.origin : null;
}

export const perplexityRatio = ({ perplexity, basePerplexity }: MeasuredLoss): number => perplexity / basePerplexity;
