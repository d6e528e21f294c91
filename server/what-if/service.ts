/** @file What the API needs of the warm what-if engine; it runs in a process of its own. */
import { z } from "zod";

const session = {
  model: z.string().describe("Id of a model"),
  text: z.string().describe("Id of a text"),
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
]);
export type WhatIfAsk = z.infer<typeof whatIfAsk>;

export interface WhatIfOpened {
  readonly protocol: string;
  readonly sequences: number;
  readonly tokens: number;
  /** Nats per token. */
  readonly baseNll: number;
}

export interface WhatIfMeasured {
  /** Change of loss in nats per token, paired by sequence. */
  readonly difference: number;
  readonly standardError: number;
  readonly sequences: number;
  readonly of: number;
  readonly milliseconds: number;
}

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
