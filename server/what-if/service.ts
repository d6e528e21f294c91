/** @file What the API needs of the warm what-if engine; it runs in a process of its own. */
import { z } from "zod";
import { bosConfig } from "../../experiments/text.ts";
import type { AttentionPattern, UnitExplanation } from "../../experiments/what-if/explain.ts";
import type { Refinement, SelectionPrediction } from "../../experiments/what-if/predictor.ts";
import type { WhatIfAccuracy, WhatIfMeasurement } from "../../experiments/what-if/what-if.ts";

const session = {
  model: z.string().describe("Id of a model"),
  text: z.string().describe("Id of a text"),
  ...bosConfig,
};

export const whatIfAsk = z.discriminatedUnion("ask", [
  z.object({ ask: z.literal("open"), ...session }),
  z.object({ ask: z.literal("measure"), ...session, selection: z.array(z.string()).max(20_000) }),
  z.object({
    ask: z.literal("generate"),
    ...session,
    selection: z.array(z.string()).max(20_000),
    prompt: z.string().max(4_000),
    maxTokens: z.number().int().min(1).max(200),
  }),
  z.object({ ask: z.literal("predict"), ...session, selection: z.array(z.string()).max(20_000) }),
  z.object({ ask: z.literal("refine"), ...session, selection: z.array(z.string()).max(20_000) }),
  z.object({
    ask: z.literal("attention"),
    ...session,
    prompt: z.string().min(1).max(4_000).describe("A sentence"),
    unit: z.string().max(40).describe("A query head, such as L3.H5"),
  }),
  z.object({
    ask: z.literal("explain"),
    ...session,
    unit: z.string().max(40).describe("A unit, such as L3.H5, L0.G1, L2.N0-31, L4.mlp"),
  }),
  z.object({
    ask: z.literal("accuracy"),
    ...session,
    selection: z.array(z.string()).max(20_000),
    tasks: z.string().describe("Id of multiple-choice questions"),
    limit: z.number().int().min(1).max(2_000).describe("Maximum number of questions"),
  }),
]);
export type WhatIfAsk = z.infer<typeof whatIfAsk>;

export interface WhatIfOpened {
  readonly protocol: string;
  readonly sequences: number;
  readonly tokens: number;
  /** Nats per token, on the sequences that are looked at first. */
  readonly baseNll: number;
}

export type WhatIfMeasured = WhatIfMeasurement;

export interface WhatIfGenerated {
  readonly base: { text: string; tokens: string[] };
  readonly pruned: { text: string; tokens: string[] };
  /** Index of the first token that differs; null when none does. */
  readonly firstDifference: number | null;
}

export interface WhatIfAnswers {
  open: WhatIfOpened;
  measure: WhatIfMeasured;
  generate: WhatIfGenerated;
  predict: SelectionPrediction;
  refine: Refinement;
  attention: AttentionPattern;
  explain: UnitExplanation;
  accuracy: WhatIfAccuracy;
}

export interface WhatIfService {
  /** Partial measurements go to `onPartial`; a newer measurement of the same `client` cancels an older one. */
  ask<A extends WhatIfAsk>(
    request: A,
    options: {
      client: string;
      signal?: AbortSignal | undefined;
      onPartial?: ((partial: WhatIfMeasured) => void) | undefined;
    },
  ): Promise<WhatIfAnswers[A["ask"]]>;
  close(): Promise<void>;
}
