/** @file Runs over the API: submit, move between states, read, compare. */
import { and, desc, eq, inArray, sql } from "drizzle-orm";
import { z } from "zod";
import { experimentKinds, experimentOf } from "../../experiments/registry.ts";
import { fieldRoles } from "../../experiments/roles.ts";
import { runStates, runs } from "../db/schema.ts";
import { readCurves, readLog } from "../runs/journal.ts";
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
import { sweepMatrix, sweepMatrixInput } from "./sweep-matrix.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60).describe("Id of the run") });

/** All but the summary, which may be large. */
const listed = {
  id: runs.id,
  kind: runs.kind,
  name: runs.name,
  config: runs.config,
  state: runs.state,
  reason: runs.reason,
  attempt: runs.attempt,
  parentId: runs.parentId,
  studyId: runs.studyId,
  step: runs.step,
  sweepId: runs.sweepId,
  trial: runs.trial,
  tags: runs.tags,
  note: runs.note,
  archived: runs.archived,
  progress: runs.progress,
  numbers: runs.numbers,
  error: runs.error,
  outputModelId: runs.outputModelId,
  outputPackageId: runs.outputPackageId,
  computeSeconds: runs.computeSeconds,
  heartbeatAt: runs.heartbeatAt,
  createdAt: runs.createdAt,
  startedAt: runs.startedAt,
  endedAt: runs.endedAt,
};

export const runsRouter = router({
  /** Newest first. */
  list: procedure
    .input(
      z
        .object({
          states: z.array(z.enum(runStates)).optional().describe("Only runs in these states"),
          kinds: z.array(z.enum(experimentKinds)).optional().describe("Only runs of these kinds"),
          studyId: z.string().optional(),
          sweepId: z.string().optional(),
          archived: z.boolean().default(false).describe("Archived runs instead"),
          limit: z.number().int().min(1).max(20_000).default(10_000),
        })
        .prefault({}),
    )
    .query(({ ctx, input }) =>
      ctx.core.db
        .select(listed)
        .from(runs)
        .where(
          and(
            eq(runs.archived, input.archived),
            input.states ? inArray(runs.state, input.states) : undefined,
            input.kinds ? inArray(runs.kind, input.kinds) : undefined,
            input.studyId ? eq(runs.studyId, input.studyId) : undefined,
            input.sweepId ? eq(runs.sweepId, input.sweepId) : undefined,
          ),
        )
        .orderBy(desc(runs.createdAt), desc(runs.id))
        .limit(input.limit),
    ),

  get: procedure.input(id).query(async ({ ctx, input }) => {
    const run = await getRun(ctx.core, input.id);
    const [ahead] = await ctx.core.db
      .select({ count: sql<number>`count(*)::int` })
      .from(runs)
      .where(and(eq(runs.state, "queued"), sql`${runs.createdAt} < ${run.createdAt.toISOString()}::timestamptz`));
    const children = await ctx.core.db
      .select({ id: runs.id, name: runs.name })
      .from(runs)
      .where(eq(runs.parentId, run.id));
    const parent = run.parentId ? await getRun(ctx.core, run.parentId).catch(() => null) : null;
    return {
      ...run,
      queuePosition: run.state === "queued" ? (ahead?.count ?? 0) + 1 : null,
      children,
      parentConfig: parent?.config ?? null,
    };
  }),

  /** Many whole runs, for comparing. */
  compare: procedure
    .input(z.object({ ids: z.array(z.string()).min(1).max(50).describe("Ids of the runs") }))
    .query(({ ctx, input }) => ctx.core.db.select().from(runs).where(inArray(runs.id, input.ids))),

  curves: procedure
    .input(
      id.extend({
        points: z.number().int().min(10).max(20_000).default(1_500).describe("Points of a curve at most"),
        smoothing: z.number().min(0).max(0.999).default(0).describe("β of the debiased moving average"),
        logarithmic: z.boolean().default(false).describe("Average logarithms"),
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
    experimentKinds.map((kind) => {
      const experiment = experimentOf(kind);
      return {
        kind,
        title: experiment.title,
        schema: z.toJSONSchema(experiment.config, { io: "input" }) as Record<string, unknown>,
        roles: Object.fromEntries(fieldRoles(experiment.config)),
      };
    }),
  ),
});
