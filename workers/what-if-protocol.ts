/**
 * @file What the what-if service and its process say to each other, each message and each answer as a schema.
 */
import { z } from "zod";
import { patternNames } from "../lib/compress/importance/attention-patterns.ts";
import { type WhatIfAnswers, whatIfAsk } from "../server/what-if/service.ts";

const question = z.object({
  type: z.literal("ask"),
  id: z.number().int(),
  request: whatIfAsk,
  folder: z.string(),
  textPath: z.string(),
  /** Of the questions, when some are asked. */
  tasksPath: z.string().nullable(),
  separator: z.string().nullable(),
});
export type WhatIfQuestion = z.infer<typeof question>;

export const toWhatIf = z.discriminatedUnion("type", [
  question,
  z.object({ type: z.literal("cancel"), id: z.number().int() }),
]);
export type ToWhatIf = z.infer<typeof toWhatIf>;

const withError = z.object({ mean: z.number(), standardError: z.number() });
const measured = z.object({
  difference: z.number(),
  standardError: z.number(),
  baseNll: z.number(),
  kl: withError,
  agreement: withError,
  sequences: z.number(),
  of: z.number(),
  milliseconds: z.number(),
});

export const fromWhatIf = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready") }),
  z.object({ type: z.literal("partial"), id: z.number().int(), partial: measured }),
  z.object({ type: z.literal("answer"), id: z.number().int(), value: z.unknown() }),
  z.object({ type: z.literal("error"), id: z.number().int(), code: z.string(), message: z.string() }),
]);
export type FromWhatIf = z.infer<typeof fromWhatIf>;

const said = z.object({ text: z.string(), tokens: z.array(z.string()) });
const share = { share: z.number(), evenly: z.number() };
const scored = z.object({ correct: z.number(), interval: z.object({ low: z.number(), high: z.number() }) });

const answers: { [A in keyof WhatIfAnswers]: z.ZodType<WhatIfAnswers[A]> } = {
  open: z.object({ protocol: z.string(), sequences: z.number(), tokens: z.number(), baseNll: z.number() }),
  measure: measured,
  generate: z.object({ base: said, pruned: said, firstDifference: z.number().nullable() }),
  predict: z.object({
    additive: z.number(),
    value: z.number(),
    low: z.number().nullable(),
    high: z.number().nullable(),
    selections: z.number(),
    sequences: z.number(),
  }),
  refine: z.object({ done: z.number(), of: z.number() }),
  attention: z.object({ unit: z.string(), tokens: z.array(z.string()), weights: z.array(z.array(z.number())) }),
  explain: z.object({
    unit: z.string(),
    patterns: z
      .array(z.object({ pattern: z.enum(patternNames), score: z.number(), evenly: z.number(), positions: z.number() }))
      .nullable(),
    reach: z
      .object({
        distance: z.number(),
        evenDistance: z.number(),
        entropy: z.number(),
        evenEntropy: z.number(),
        distances: z.array(z.object({ from: z.number(), to: z.number(), ...share })),
        tokens: z.array(z.object({ token: z.string(), ...share })),
        queries: z.number(),
      })
      .nullable(),
    examples: z
      .array(z.object({ tokens: z.array(z.string()), query: z.number(), key: z.number(), weight: z.number() }))
      .nullable(),
    breaks: z.array(z.object({ before: z.array(z.string()), token: z.string(), baseNll: z.number(), nll: z.number() })),
  }),
  accuracy: z.object({
    items: z.number(),
    base: scored,
    selected: scored,
    lost: z.number(),
    won: z.number(),
    p: z.number(),
  }),
};

/** Throws a ZodError when the message does not answer that question. */
export function parseAnswer<A extends keyof WhatIfAnswers>(ask: A, value: unknown): WhatIfAnswers[A] {
  return answers[ask].parse(value);
}
