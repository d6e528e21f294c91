/** @file The what-if engine over the API. */
import { z } from "zod";
import { importanceOf } from "../what-if/measured-importance.ts";
import { whatIfAsk } from "../what-if/service.ts";
import { procedure, router } from "./trpc.ts";

const client = {
  client: z
    .string()
    .min(1)
    .max(60)
    .default("api")
    .describe("Id of the asker; a newer question from the same asker replaces the older one"),
};
const [open, measure, generate, predict, refine, attention, explain, accuracy] = whatIfAsk.options;

export const whatIfRouter = router({
  /** Loads a model and measures it untouched. */
  open: procedure
    .input(open.omit({ ask: true }).extend(client))
    .mutation(({ ctx, input, signal }) => ctx.whatIf.ask({ ask: "open", ...input }, { client: input.client, signal })),
  /** The change in loss of a selection; what is known before it is precise is told under the topic `what-if:CLIENT`. */
  measure: procedure.input(measure.omit({ ask: true }).extend(client)).query(({ ctx, input, signal }) =>
    ctx.whatIf.ask(
      { ask: "measure", ...input },
      {
        client: input.client,
        signal,
        onPartial: (partial) => ctx.core.events.tell(`what-if:${input.client}`, partial),
      },
    ),
  ),
  generate: procedure
    .input(generate.omit({ ask: true }).extend({ ...client, maxTokens: z.number().int().min(1).max(200).default(40) }))
    .query(({ ctx, input, signal }) =>
      ctx.whatIf.ask({ ask: "generate", ...input }, { client: `${input.client} text`, signal }),
    ),
  /** What a selection will be measured at: by Taylor at once, with an interval once selections have been measured. */
  predict: procedure
    .input(predict.omit({ ask: true }).extend(client))
    .query(({ ctx, input, signal }) => ctx.whatIf.ask({ ask: "predict", ...input }, { client: input.client, signal })),
  /** Makes predictions for selections like this one better: a few seconds of measuring, after everything else that is asked. */
  refine: procedure
    .input(refine.omit({ ask: true }).extend(client))
    .mutation(({ ctx, input, signal }) =>
      ctx.whatIf.ask({ ask: "refine", ...input }, { client: input.client, signal }),
    ),
  /** The attention of one head on a sentence. */
  attention: procedure
    .input(attention.omit({ ask: true }).extend(client))
    .query(({ ctx, input, signal }) =>
      ctx.whatIf.ask({ ask: "attention", ...input }, { client: input.client, signal }),
    ),
  /** What a head attends to, where it does so most, and what breaks without the unit. */
  explain: procedure
    .input(explain.omit({ ask: true }).extend(client))
    .query(({ ctx, input, signal }) => ctx.whatIf.ask({ ask: "explain", ...input }, { client: input.client, signal })),
  /** Questions answered right before and after. */
  accuracy: procedure
    .input(
      accuracy.omit({ ask: true }).extend({
        ...client,
        limit: z.number().int().min(1).max(2_000).default(200).describe("Maximum number of questions"),
      }),
    )
    .query(({ ctx, input, signal }) => ctx.whatIf.ask({ ask: "accuracy", ...input }, { client: input.client, signal })),
  /** The measurements of importance there are for a model, newest first; running ones with what they have so far. */
  importance: procedure
    .input(z.object({ model: z.string().describe("Id of a model") }))
    .query(({ ctx, input }) => importanceOf(ctx.core, input.model)),
});
