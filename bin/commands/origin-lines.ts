/** @file What a made model lost against its original, as lines of a summary. */
import type { OriginRecord } from "../../lib/checkpoint/origin.ts";
import { fixed } from "../numbers.ts";

/** Labels are padded to 16 characters, as in the summaries of prune, distill and quantize. */
export function originLines({ name, loss, note }: OriginRecord): string[] {
  const because = note === null ? [] : [`note            ${note}`];
  if (!loss) return because;
  const { kl, perplexity, basePerplexity, agreement, protocol, against } = loss;
  const error = kl.standardError === null ? "" : ` ± ${kl.standardError.toPrecision(2)}`;
  return [
    `lost against    ${against === "original" ? name : "the parent"}`,
    `KL              ${kl.mean.toPrecision(3)}${error} nats per token`,
    `perplexity      ${fixed(perplexity, 2)}, was ${fixed(basePerplexity, 2)}: ${fixed(perplexity / basePerplexity, 3)} times`,
    `same top token  ${fixed(100 * agreement.mean, 1)} %`,
    `measured on     ${protocol}`,
    ...because,
  ];
}
