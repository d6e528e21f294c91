/**
 * @file Whether an exported model is good: it still predicts what its original predicts, within a
 * stated limit.
 *
 * A package can be faithful (it computes what its model computes) and useless (its model lost
 * everything when it was made). The loss is the KL(original ‖ model) stored in the model's
 * checkpoint (`lib/checkpoint/origin.ts`), in nats per token.
 */
import { z } from "zod";
import { type MeasuredLoss, originOf, originRecord } from "../../../lib/checkpoint/origin.ts";

/** Nats per token, explained in docs/packages.md. */
export const DEFAULT_MAX_KL = 0.2;

export const quality = z.object({
  /** Null: the loss is unknown. */
  ok: z.boolean().nullable(),
  /** The limit it was held to, nats per token. */
  maxKl: z.number(),
  /** One sentence. */
  reason: z.string(),
  /** The origin recorded in the checkpoint; null for an original. */
  origin: originRecord.nullable(),
});
export type Quality = z.infer<typeof quality>;

const withRecord = z.looseObject({ espalier: z.looseObject({}) });

/** The verdict on a checkpoint's config. A checkpoint that was not made here is an original: nothing was taken from it. */
export function qualityOf(config: Readonly<Record<string, unknown>>, maxKl: number): Quality {
  const origin = originOf(config);
  if (!origin) {
    const made = withRecord.safeParse(config).success;
    return made
      ? { ok: null, maxKl, origin, reason: "its checkpoint does not say which model it was made from" }
      : { ok: true, maxKl, origin, reason: "it is an original model: nothing was changed" };
  }
  const { loss, name, note } = origin;
  if (!loss) return { ok: null, maxKl, origin, reason: note ?? `its loss against ${name} was not measured` };
  if (loss.against === "parent")
    return { ok: null, maxKl, origin, reason: note ?? `its loss was measured against its parent, not against ${name}` };
  const ok = loss.kl.mean <= maxKl;
  const compared = `KL to ${name} is ${loss.kl.mean.toPrecision(3)} nats per token, ${ok ? "within" : "above"} the limit of ${maxKl}`;
  return { ok, maxKl, origin, reason: `${compared}; ${perplexityWords(loss)}` };
}

const perplexityWords = ({ perplexity, basePerplexity }: MeasuredLoss): string =>
  `perplexity ${perplexity.toPrecision(4)}, was ${basePerplexity.toPrecision(4)}`;
