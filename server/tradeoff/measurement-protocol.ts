/** @file What a measurement beside a base was made on, as its config says it; equal ones share a board, and no others do. */
import { z } from "zod";
import type { ExperimentKind } from "../../experiments/registry.ts";
import { fnv1a } from "../../lib/random.ts";

/** The kinds of runs that measure models beside a base. */
export const measuringKinds: ExperimentKind[] = ["tradeoff", "evaluate"];

export const measuredOn = z.object({
  base: z.string(),
  text: z.string(),
  separator: z.string().optional(),
  limit: z.number().optional(),
  context: z.number().optional(),
  maxTokens: z.number().optional(),
  bos: z.string().optional(),
  fuseUnknown: z.boolean().optional(),
  tasks: z.string().optional(),
});
export type MeasuredOn = z.infer<typeof measuredOn>;

/** A short name of what was measured on, fit for an address. */
export function boardId({ base, text, separator, limit, context, maxTokens, bos, fuseUnknown }: MeasuredOn): string {
  const rest = JSON.stringify([
    separator ?? null,
    limit ?? null,
    context ?? null,
    maxTokens ?? null,
    fuseUnknown ?? null,
    ...(bos === undefined || bos === "auto" ? [] : [bos]),
  ]);
  return `${base}:${text}:${fnv1a(rest).toString(36)}`;
}
