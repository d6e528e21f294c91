/** @file Studies, sweeps, notebooks, saved views, the system, and the stream of events. */
import { statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { tracked } from "@trpc/server";
import { desc, eq, sql } from "drizzle-orm";
import { z } from "zod";
import { notebookContent } from "../../experiments/notebook/cells.ts";
import { starterStudyOptions } from "../../experiments/studies/starter.ts";
import { sweepDefinition } from "../../experiments/sweep/sweep.ts";
import { EspalierError } from "../../lib/errors.ts";
import { hosts, models, notebooks, packages, runs, views } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { exportNotebook, notebookFormats } from "../notebooks/export.ts";
import { figureData } from "../notebooks/figure-data.ts";
import {
  archiveNotebook,
  createNotebook,
  freezeFigure,
  frozenFigure,
  getNotebook,
  listNotebooks,
  notebookHistory,
  restoreNotebook,
  saveNotebook,
} from "../notebooks/notebooks.ts";
import { getStudy, listStudies, submitStarterStudy } from "../studies/studies.ts";
import { createSweep, getSweep, listSweeps, resumeSweep, stopSweep } from "../sweeps/sweeps.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });

export const studiesRouter = router({
  list: procedure.query(({ ctx }) => listStudies(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getStudy(ctx.core, input.id)),
  /** The whole job on the starter model. */
  startStarter: procedure
    .input(starterStudyOptions.prefault({}))
    .mutation(({ ctx, input }) => submitStarterStudy(ctx.core, input)),
});

export const sweepsRouter = router({
  list: procedure.query(({ ctx }) => listSweeps(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getSweep(ctx.core, input.id)),
  create: procedure.input(sweepDefinition).mutation(({ ctx, input }) => createSweep(ctx.core, input)),
  stop: procedure.input(id).mutation(({ ctx, input }) => stopSweep(ctx.core, input.id)),
  resume: procedure.input(id).mutation(({ ctx, input }) => resumeSweep(ctx.core, input.id)),
});

export const notebooksRouter = router({
  list: procedure.query(({ ctx }) => listNotebooks(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getNotebook(ctx.core, input.id)),
  create: procedure.input(notebookContent).mutation(({ ctx, input }) => createNotebook(ctx.core, input)),
  save: procedure
    .input(
      id.extend({ version: z.number().int().min(1).describe("The version it began from"), content: notebookContent }),
    )
    .mutation(({ ctx, input }) => saveNotebook(ctx.core, input.id, input.version, input.content)),
  history: procedure.input(id).query(({ ctx, input }) => notebookHistory(ctx.core, input.id)),
  restore: procedure
    .input(id.extend({ version: z.number().int().min(1) }))
    .mutation(({ ctx, input }) => restoreNotebook(ctx.core, input.id, input.version)),
  archive: procedure
    .input(id.extend({ archived: z.boolean().default(true) }))
    .mutation(({ ctx, input }) => archiveNotebook(ctx.core, input.id, input.archived)),
  /** What a figure cell draws now. */
  figure: procedure
    .input(
      z.object({
        figure: z.enum(["importance", "curves", "tradeoff", "numbers"]),
        runs: z.array(z.string()).min(1).max(50),
      }),
    )
    .query(({ ctx, input }) => figureData(ctx.core, input.figure, input.runs)),
  /** Keeps the data a figure draws now; its hash names it from then on. */
  freeze: procedure
    .input(
      z.object({
        figure: z.enum(["importance", "curves", "tradeoff", "numbers"]),
        runs: z.array(z.string()).min(1).max(50),
      }),
    )
    .mutation(async ({ ctx, input }) => ({
      hash: await freezeFigure(ctx.core, await figureData(ctx.core, input.figure, input.runs)),
    })),
  frozen: procedure
    .input(z.object({ hash: z.string().length(64) }))
    .query(({ ctx, input }) => frozenFigure(ctx.core, input.hash)),
  export: procedure
    .input(id.extend({ format: z.enum(notebookFormats).default("html") }))
    .query(({ ctx, input }) => exportNotebook(ctx.core, input.id, input.format)),
});

export const viewsRouter = router({
  list: procedure.query(({ ctx }) => ctx.core.db.select().from(views).orderBy(desc(views.createdAt)).limit(500)),
  get: procedure.input(id).query(async ({ ctx, input }) => {
    const [view] = await ctx.core.db.select().from(views).where(eq(views.id, input.id));
    if (!view) throw new EspalierError("run/unknown", `there is no saved view ${input.id}`);
    return view;
  }),
  save: procedure
    .input(
      z.object({
        page: z
          .string()
          .regex(/^\/[\w/-]*$/)
          .max(80),
        title: z.string().trim().min(1).max(120),
        state: z.record(z.string(), z.unknown()),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      const [view] = await ctx.core.db
        .insert(views)
        .values({ id: newId("view"), ...input })
        .returning();
      if (!view) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
      return view;
    }),
});

export const systemRouter = router({
  info: procedure.query(async ({ ctx }) => {
    const counts = await ctx.core.db
      .select({ state: runs.state, count: sql<number>`count(*)::int` })
      .from(runs)
      .where(eq(runs.archived, false))
      .groupBy(runs.state);
    const rows = async (table: typeof models | typeof notebooks | typeof packages): Promise<number> =>
      ctx.core.db.$count(table);
    return {
      version: "0.1.0",
      database: ctx.core.database.kind,
      hosts: await ctx.core.db.select().from(hosts),
      runs: Object.fromEntries(counts.map((c) => [c.state, c.count])),
      counts: {
        models: await rows(models),
        runs: counts.reduce((n, c) => n + c.count, 0),
        notebooks: await rows(notebooks),
        packages: await rows(packages),
      },
      machine: {
        cores: availableParallelism(),
        memoryBytes: totalmem(),
        freeDiskBytes: await statfs(ctx.core.dataDirectory).then(
          (s) => s.bavail * s.bsize,
          () => 0,
        ),
        engine: ctx.core.engine,
      },
      lastEvent: await ctx.core.events.lastSeq(),
    };
  }),
});

const topic = z.string().regex(/^[\w:-]{1,80}$/);

export const eventsRouter = router({
  /**
   * What happens under these topics; goes on after `lastEventId` when a stream broke. The first event, of the topic "position",
   * says only where the stream begins, so that one that breaks before anything happened goes on from there too.
   */
  stream: procedure
    .input(z.object({ topics: z.array(topic).min(1).max(50), lastEventId: z.coerce.number().int().nullish() }))
    .subscription(async function* ({ ctx, input, signal }) {
      const { events } = ctx.core;
      const last = await events.lastSeq();
      // A later number than any comes from another database that was here before.
      const after = Math.min(input.lastEventId ?? last, last);
      if (after !== input.lastEventId) yield tracked(String(after), { topic: "position", payload: after });
      for await (const event of events.follow(input.topics, after, signal ?? new AbortController().signal))
        yield tracked(String(event.seq), { topic: event.topic, payload: event.payload });
    }),
});
