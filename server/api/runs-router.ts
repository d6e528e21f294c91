/** @file Runs over the API: submit, move between states, read, compare. */
import { z } from "zod";
import { experimentKinds } from "../../experiments/registry.ts";
import { runStates } from "../db/schema.ts";
import { readCurves } from "../runs/curves.ts";
import { cloneRun, evaluation, retryRun, submitMaker } from "../runs/evaluation.ts";
import { readLog } from "../runs/journal.ts";
import { cancelRun, resumeRun, stopRun, submission, updateRuns } from "../runs/lifecycle.ts";
import { listRuns, runInFull, runsById } from "../runs/listing.ts";
import { pairedTests } from "../runs/paired-tests.ts";
import { runWidthMap, widthMapInput } from "../runs/run-width-map.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60).describe("Id of the run") });

export const runsRouter = router({
  /** Newest first. */
  list: procedure
    .input(
      z
        .object({
          ids: z.array(z.string().max(60)).max(500).optional().describe("Only these, archived or not"),
          states: z.array(z.enum(runStates)).optional().describe("Only runs in these states"),
          kinds: z.array(z.enum(experimentKinds)).optional().describe("Only runs of these kinds"),
          studyId: z.string().optional(),
          sweepId: z.string().optional(),
          archived: z.boolean().default(false).describe("List archived runs instead"),
          limit: z.number().int().min(1).max(20_000).default(10_000),
        })
        .prefault({}),
    )
    .query(({ ctx, input }) => listRuns(ctx.core, input)),

  get: procedure.input(id).query(({ ctx, input }) => runInFull(ctx.core, input.id)),

  /** Many whole runs, for comparing. */
  compare: procedure
    .input(z.object({ ids: z.array(z.string()).min(1).max(50).describe("Ids of the runs") }))
    .query(({ ctx, input }) => runsById(ctx.core, input.ids)),

  /** Each run's model against the first one's, on the sequences both were measured on. */
  paired: procedure
    .input(z.object({ ids: z.array(z.string()).min(2).max(12).describe("Ids of the runs, the reference first") }))
    .query(({ ctx, input }) => pairedTests(ctx.core, input.ids)),

  curves: procedure
    .input(
      id.extend({
        points: z.number().int().min(10).max(20_000).default(1_500).describe("Maximum number of points per curve"),
        smoothing: z.number().min(0).max(0.999).default(0).describe("β of the debiased moving average"),
        logarithmic: z.boolean().default(false).describe("Average the logarithms of the values"),
        names: z.array(z.string().max(80)).max(50).optional().describe("Only these curves"),
        until: z
          .number()
          .positive()
          .optional()
          .describe("The last step: extrapolates curves to it where the data allows"),
      }),
    )
    .query(({ ctx, input: { id: runId, ...options } }) => readCurves(ctx.core, runId, options)),

  /** What each tensor loses at each width, as far as it is measured; asked again while it is at work. */
  tensors: procedure.input(widthMapInput).query(({ ctx, input }) => runWidthMap(ctx.core, input.id)),

  log: procedure
    .input(
      id.extend({
        after: z.number().int().min(0).default(0),
        limit: z.number().int().min(1).max(5_000).default(1_000),
      }),
    )
    .query(({ ctx, input }) => readLog(ctx.core, input.id, input.after, input.limit)),

  /** A run; one that makes a model is followed by its evaluation. */
  submit: procedure.input(submission.extend({ evaluation })).mutation(({ ctx, input }) => submitMaker(ctx.core, input)),
  stop: procedure.input(id).mutation(({ ctx, input }) => stopRun(ctx.core, input.id)),
  cancel: procedure.input(id).mutation(({ ctx, input }) => cancelRun(ctx.core, input.id)),
  resume: procedure.input(id).mutation(({ ctx, input }) => resumeRun(ctx.core, input.id)),
  retry: procedure.input(id).mutation(({ ctx, input }) => retryRun(ctx.core, input.id)),
  clone: procedure
    .input(
      id.extend({
        changes: z
          .record(z.string(), z.unknown())
          .default({})
          .describe("Fields of the config to change; null removes a field"),
        name: z.string().trim().min(1).max(120).optional(),
      }),
    )
    .mutation(({ ctx, input }) => cloneRun(ctx.core, input.id, input.changes, input.name)),
  update: procedure
    .input(
      z.object({
        ids: z.array(z.string()).min(1).max(10_000).describe("Ids of the runs"),
        name: z.string().trim().min(1).max(120).optional(),
        note: z.string().max(20_000).optional(),
        archived: z.boolean().optional(),
        addTags: z.array(z.string().trim().min(1).max(40)).max(20).optional(),
        removeTags: z.array(z.string()).max(20).optional(),
      }),
    )
    .mutation(({ ctx, input: { ids, ...changes } }) => updateRuns(ctx.core, ids, changes)),
});
