/** @file Runs over the API: submit, move between states, read, compare. */
import { createHash } from "node:crypto";
import { and, eq, inArray, sql } from "drizzle-orm";
import { z } from "zod";
import { experimentKinds, experiments } from "../../experiments/registry.ts";
import { fieldRoles } from "../../experiments/roles.ts";
import { runStates, runs } from "../db/schema.ts";
import { canonical } from "../notebooks/notebooks.ts";
import { readCurves } from "../runs/curves.ts";
import { readLog } from "../runs/journal.ts";
import {
  cancelRun,
  cloneRun,
  getRun,
  resumeRun,
  retryRun,
  stopRun,
  submission,
  submitRun,
  updateRun,
} from "../runs/lifecycle.ts";
import { artifactsOf, relativesOf } from "../runs/lineage.ts";
import { listRuns } from "../runs/listing.ts";
import { pairedTests } from "../runs/paired.ts";
import { submissionIssues } from "../runs/submission.ts";
import { sweepMatrix, sweepMatrixInput } from "./sweep-matrix.ts";
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
          archived: z.boolean().default(false).describe("Archived runs instead"),
          limit: z.number().int().min(1).max(20_000).default(10_000),
        })
        .prefault({}),
    )
    .query(({ ctx, input }) => listRuns(ctx.core, input)),

  get: procedure.input(id).query(async ({ ctx, input }) => {
    const run = await getRun(ctx.core, input.id);
    const [ahead] = await ctx.core.db
      .select({ count: sql<number>`count(*)::int` })
      .from(runs)
      .where(and(eq(runs.state, "queued"), sql`${runs.createdAt} < ${run.createdAt.toISOString()}::timestamptz`));
    const parent = run.parentId ? await getRun(ctx.core, run.parentId).catch(() => null) : null;
    return {
      ...run,
      queuePosition: run.state === "queued" ? (ahead?.count ?? 0) + 1 : null,
      relatives: await relativesOf(ctx.core, run),
      artifacts: await artifactsOf(ctx.core, run),
      configHash: createHash("sha256").update(canonical(run.config)).digest("hex"),
      parentConfig: parent?.config ?? null,
    };
  }),

  /** Many whole runs, for comparing. */
  compare: procedure
    .input(z.object({ ids: z.array(z.string()).min(1).max(50).describe("Ids of the runs") }))
    .query(({ ctx, input }) => ctx.core.db.select().from(runs).where(inArray(runs.id, input.ids))),

  /** Each run's model against the first one's, on the sequences both were measured on. */
  paired: procedure
    .input(z.object({ ids: z.array(z.string()).min(2).max(12).describe("Ids of the runs, the reference first") }))
    .query(({ ctx, input }) => pairedTests(ctx.core, input.ids)),

  curves: procedure
    .input(
      id.extend({
        points: z.number().int().min(10).max(20_000).default(1_500).describe("Points of a curve at most"),
        smoothing: z.number().min(0).max(0.999).default(0).describe("β of the debiased moving average"),
        logarithmic: z.boolean().default(false).describe("Average logarithms"),
        names: z.array(z.string().max(80)).max(50).optional().describe("Only these curves"),
        until: z
          .number()
          .positive()
          .optional()
          .describe("The last step: says where curves are headed, where that is honest"),
      }),
    )
    .query(({ ctx, input: { id: runId, ...options } }) => readCurves(ctx.core, runId, options)),

  /** What each tensor loses at each width, as far as it is measured; asked again while a sweep runs. */
  tensors: procedure.input(sweepMatrixInput).query(({ ctx, input }) => sweepMatrix(ctx.core, input.id)),

  log: procedure
    .input(
      id.extend({
        after: z.number().int().min(0).default(0),
        limit: z.number().int().min(1).max(5_000).default(1_000),
      }),
    )
    .query(({ ctx, input }) => readLog(ctx.core, input.id, input.after, input.limit)),

  submit: procedure.input(submission).mutation(({ ctx, input }) => submitRun(ctx.core, input)),
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
          .describe("Fields of the config to change; null takes one out"),
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
    .mutation(async ({ ctx, input: { ids, addTags = [], removeTags = [], ...set } }) => {
      for (const runId of ids) {
        const { tags } = await getRun(ctx.core, runId);
        const kept = [...new Set([...tags, ...addTags])].filter((t) => !removeTags.includes(t));
        const given = Object.fromEntries(Object.entries(set).filter(([, v]) => v !== undefined));
        await updateRun(ctx.core, runId, { ...given, tags: kept });
      }
      return { updated: ids.length };
    }),
});

/** Schemas of all experiments, for forms. */
export const experimentsRouter = router({
  list: procedure.query(() =>
    experiments.map(({ kind, title, makes, config }) => ({
      kind,
      title,
      makes,
      schema: z.toJSONSchema(config, { io: "input" }) as Record<string, unknown>,
      roles: Object.fromEntries(fieldRoles(config)),
    })),
  ),

  /** What is wrong with a config, field by field; nothing is submitted. */
  check: procedure
    .input(
      z.object({ kind: z.enum(experimentKinds).describe("The experiment"), config: z.record(z.string(), z.unknown()) }),
    )
    .query(({ ctx, input }) => submissionIssues(ctx.core, input.kind, input.config)),
});
