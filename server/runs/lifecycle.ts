/**
 * @file The states of a run and the verbs that move it between them, for pages, command line and hosts alike.
 *
 *   queued → running → succeeded | failed | lost | (stopping →) cancelled
 *
 * stop: finish the step at hand, keep everything, end as cancelled. cancel: kill at once; what finished units measured is kept.
 * resume: the same run goes on from its last finished unit. retry: a new run of the same config that measures anew. clone: a
 * new run of a changed config. A run whose host stays silent past its lease is lost, never finished; it is taken up again
 * by itself a few times, then waits for somebody to say resume. Every change names the attempt it belongs to, so a host
 * that was thought dead cannot write into a later attempt.
 */
import { and, eq, inArray, lt, ne, or, type SQL, sql } from "drizzle-orm";
import type { PgUpdateSetSource } from "drizzle-orm/pg-core";
import { z } from "zod";
import { experimentOf } from "../../experiments/registry.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import type { Db } from "../db/database.ts";
import { type Provenance, type RunError, type RunProgress, type RunState, runFiles, runs } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { appendLog, nextLogSeq } from "./journal.ts";
import { runsNamed } from "./references.ts";
import { checkSubmission } from "./submission.ts";

export type Run = typeof runs.$inferSelect;

/** How long a host may be silent. */
export const LEASE_MS = 10_000;
/** Attempts a lost run makes by itself. */
const AUTOMATIC_ATTEMPTS = 5;

export const ended: readonly RunState[] = ["succeeded", "failed", "cancelled", "lost"];

export const submission = z.object({
  kind: z.string().describe("The experiment"),
  config: z.record(z.string(), z.unknown()).describe("Its config; name models and texts by id"),
  name: z.string().trim().min(1).max(120).optional().describe("A name, shown in lists"),
  tags: z.array(z.string().trim().min(1).max(40)).max(20).default([]),
  priority: z.number().int().min(-100).max(100).default(0).describe("Higher runs first"),
});
export type Submission = z.input<typeof submission>;

export interface Origin {
  parentId?: string;
  studyId?: string;
  step?: string;
  sweepId?: string;
  trial?: number;
  fresh?: boolean;
}

/**
 * Checks a submission and writes its run and first event where `core.db` writes; `submitTogether` offers it to hosts afterwards.
 */
export async function insertRun(core: Core, given: Submission, origin: Origin = {}): Promise<Run> {
  const { kind, config: rawConfig, name, tags, priority } = submission.parse(given);
  const experiment = experimentOf(kind);
  const config = await checkSubmission(core, kind, rawConfig);
  const id = newId("run");
  const [run] = await core.db
    .insert(runs)
    .values({
      id,
      kind,
      name: name ?? `${kind} ${id.slice(-4)}`,
      config,
      tags,
      priority,
      waitsFor: runsNamed(experiment.config, config),
      // Runs of one transaction keep their order; now() would be the same for all of them.
      createdAt: sql`clock_timestamp()`,
      ...origin,
    })
    .returning();
  if (!run) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  await core.events.publish("runs", runEvent(run), core.db);
  return run;
}

/** All the runs that `insert` writes, or none of them: one transaction, after which they are offered to hosts. */
export async function submitTogether(core: Core, insert: (within: Core) => Promise<Run[]>): Promise<Run[]> {
  const made = await core.db.transaction((tx) => insert({ ...core, db: tx }));
  core.events.wake();
  await enqueueDue(core, made);
  return made;
}

export async function submitRun(core: Core, given: Submission, origin: Origin = {}): Promise<Run> {
  const [run] = await submitTogether(core, async (within) => [await insertRun(within, given, origin)]);
  if (!run) throw new EspalierError("internal/invariant", "internal: a run was submitted and is not there");
  return run;
}

/** What followers need to draw a run in a list. */
export const runEvent = (run: Run): Record<string, unknown> => ({
  id: run.id,
  kind: run.kind,
  name: run.name,
  state: run.state,
  progress: run.progress,
  tags: run.tags,
  archived: run.archived,
  studyId: run.studyId,
  sweepId: run.sweepId,
});

async function announce(core: Core, run: Run): Promise<void> {
  await core.events.publish("runs", runEvent(run));
}

/** Changes runs and writes the events in one transaction, so that followers miss no state even if a process dies meanwhile. */
async function move(core: Core, where: SQL | undefined, set: Partial<PgUpdateSetSource<typeof runs>>): Promise<Run[]> {
  const moved = await core.db.transaction(async (tx) => {
    const rows = await tx.update(runs).set(set).where(where).returning();
    for (const run of rows) {
      await core.events.publish("runs", runEvent(run), tx);
      if (ended.includes(run.state))
        await core.events.publish(`run:${run.id}`, { type: "ended", state: run.state }, tx);
    }
    return rows;
  });
  if (moved.length > 0) core.events.wake();
  return moved;
}

export async function getRun(core: Core, id: string): Promise<Run> {
  const [run] = await core.db.select().from(runs).where(eq(runs.id, id));
  if (!run) throw new EspalierError("run/unknown", `there is no run ${id}`, { hint: "See the list of runs." });
  return run;
}

/** Offers queued runs to the hosts when nothing they wait for is outstanding. */
async function enqueueDue(core: Core, candidates: readonly Run[]): Promise<void> {
  // In the order they were asked for.
  const queued = candidates
    .filter((r) => r.state === "queued")
    .sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  const needed = [...new Set(queued.flatMap((r) => r.waitsFor))];
  const states = new Map(
    needed.length === 0
      ? []
      : (
          await core.db
            .select({ id: runs.id, name: runs.name, state: runs.state })
            .from(runs)
            .where(inArray(runs.id, needed))
        ).map((n) => [n.id, n] as const),
  );
  const due: Run[] = [];
  for (const run of queued) {
    const open = run.waitsFor.flatMap((id) => states.get(id) ?? []).filter((n) => n.state !== "succeeded");
    const reason = open.length > 0 ? `waits for ${open.map((o) => `${o.name} (${o.state})`).join(", ")}` : null;
    if (open.length === 0) due.push(run);
    if (run.waitsFor.length > 0 && reason !== run.reason)
      await core.db.update(runs).set({ reason }).where(eq(runs.id, run.id));
  }
  await core.queue.send(due.map((r) => ({ runId: r.id, attempt: r.attempt, priority: r.priority })));
  if (due.length > 0) core.events.wake();
}

/** Looks again at runs that wait for this one. An evaluation that only follows it ends with it. */
async function lookAtDependents(core: Core, id: string): Promise<void> {
  const [run] = await core.db.select().from(runs).where(eq(runs.id, id));
  if (run && (run.state === "failed" || run.state === "cancelled"))
    await move(core, and(eq(runs.state, "queued"), followsRun(id)), {
      state: "cancelled",
      reason: `${run.name} has ${run.state === "failed" ? "failed" : "been cancelled"}`,
      endedAt: new Date(core.clock.nowMs()),
    });
  const waiting = await core.db
    .select()
    .from(runs)
    .where(and(eq(runs.state, "queued"), sql`${runs.waitsFor} @> ${JSON.stringify([id])}::jsonb`));
  await enqueueDue(core, waiting);
}

/** The step of an evaluation that was submitted with the run it measures, and has no purpose without it. */
export const FOLLOWING = "evaluation";

/** Evaluations that follow this run. */
export const followsRun = (id: string) =>
  and(eq(runs.step, FOLLOWING), sql`${runs.waitsFor} @> ${JSON.stringify([id])}::jsonb`);

/** Offers every due run again: whoever changed a row may have died, or lost the database, before it sent the job. */
export async function enqueueAllDue(core: Core): Promise<void> {
  await enqueueDue(core, await core.db.select().from(runs).where(eq(runs.state, "queued")));
}

/** Takes a due run for a host; null when it is no longer due. */
export async function claimRun(
  core: Core,
  hostId: string,
  due: { runId: string; attempt: number },
): Promise<Run | null> {
  const now = new Date(core.clock.nowMs());
  const [run] = await move(core, and(eq(runs.id, due.runId), eq(runs.state, "queued"), eq(runs.attempt, due.attempt)), {
    state: "running",
    hostId,
    leaseUntil: new Date(now.getTime() + LEASE_MS),
    heartbeatAt: now,
    startedAt: sql`coalesce(${runs.startedAt}, ${now.toISOString()}::timestamptz)`,
    endedAt: null,
    error: null,
    reason: null,
  });
  return run ?? null;
}

const heldBy = (hostId: string, run: { id: string; attempt: number }) =>
  and(
    eq(runs.id, run.id),
    eq(runs.attempt, run.attempt),
    eq(runs.hostId, hostId),
    inArray(runs.state, ["running", "stopping"]),
  );

/** Extends the lease; returns the state, or null when the run no longer belongs to this host. */
export async function renewLease(
  core: Core,
  hostId: string,
  run: { id: string; attempt: number },
): Promise<RunState | null> {
  const now = new Date(core.clock.nowMs());
  const [row] = await core.db
    .update(runs)
    .set({ leaseUntil: new Date(now.getTime() + LEASE_MS), heartbeatAt: now })
    .where(heldBy(hostId, run))
    .returning({ state: runs.state });
  return row?.state ?? null;
}

export async function recordProgress(
  core: Core,
  hostId: string,
  run: Run,
  found: RunProgress,
  live: Record<string, unknown> = {},
): Promise<void> {
  const progress = await withKept(core, run, found);
  const [row] = await core.db.update(runs).set({ progress }).where(heldBy(hostId, run)).returning();
  if (!row) return;
  await core.events.publish(`run:${run.id}`, { type: "progress", progress, ...live });
  await announce(core, row);
}

/** What an earlier attempt finished counts while this one comes to it again: kept units, and what a checkpoint holds. */
async function withKept(core: Core, run: Run, progress: RunProgress): Promise<RunProgress> {
  const kept = run.progress;
  if (!kept || kept.share <= progress.share) return progress;
  const goesOn =
    experimentOf(run.kind).makes === null || (await core.db.$count(runFiles, eq(runFiles.runId, run.id))) > 0;
  return goesOn ? { ...progress, share: kept.share, done: kept.done, total: kept.total } : progress;
}

export type Outcome =
  | {
      state: "succeeded";
      summary: unknown;
      numbers: Record<string, number>;
      outputModelId: string | null;
      outputPackageId: string | null;
    }
  | { state: "failed"; error: RunError }
  | { state: "cancelled"; reason: string }
  | { state: "lost"; reason: string };

/** Ends an attempt. False when the run is no longer this host's, so nothing was written. */
export async function finishRun(
  core: Core,
  hostId: string,
  run: Run,
  outcome: Outcome,
  facts: { provenance: Provenance | null; seconds: number },
): Promise<boolean> {
  const { state } = outcome;
  const [row] = await move(core, heldBy(hostId, run), {
    state,
    endedAt: new Date(core.clock.nowMs()),
    leaseUntil: null,
    computeSeconds: sql`${runs.computeSeconds} + ${facts.seconds}`,
    ...(facts.provenance ? { provenance: facts.provenance } : {}),
    ...(state === "succeeded"
      ? {
          summary: outcome.summary,
          numbers: outcome.numbers,
          outputModelId: outcome.outputModelId,
          outputPackageId: outcome.outputPackageId,
          error: null,
          reason: null,
        }
      : state === "failed"
        ? { error: outcome.error, reason: outcome.error.message }
        : { reason: outcome.reason }),
  });
  if (!row) return false;
  await lookAtDependents(core, run.id);
  return true;
}

/** Runs whose hosts stopped responding become lost, and are started again while they have attempts left. */
export async function loseSilent(core: Core, options: { hostsKnownDead?: boolean } = {}): Promise<number> {
  const now = new Date(core.clock.nowMs());
  const isSilent = options.hostsKnownDead ? sql`true` : and(leaseIsOver(now), databaseWasThere(core, now));
  const end = { endedAt: now, leaseUntil: null };
  const silent = [
    ...(await move(core, and(eq(runs.state, "running"), isSilent), {
      ...end,
      state: "lost",
      reason: "its host stopped responding",
    })),
    // Somebody had already asked for an end, so the run is not started again.
    ...(await move(core, and(eq(runs.state, "stopping"), isSilent), {
      ...end,
      state: "cancelled",
      reason: "stopped by you; its host stopped responding meanwhile",
    })),
  ];
  for (const run of silent) {
    const beat = run.heartbeatAt ? ` since ${run.heartbeatAt.toISOString().slice(11, 19)} UTC` : "";
    const line = `lease ended: no heartbeat from ${run.hostId ?? "its host"}${beat}; the run is ${run.state}`;
    await appendLog(core, run.id, [{ seq: await nextLogSeq(core, run.id), level: "warning", line, at: now }]);
    await lookAtDependents(core, run.id);
  }
  const lost = await core.db
    .select()
    .from(runs)
    .where(and(eq(runs.state, "lost"), lt(runs.attempt, AUTOMATIC_ATTEMPTS)));
  for (const run of lost) await requeue(core, run, `attempt ${run.attempt + 1}: ${run.reason ?? "lost"}`);
  return silent.length;
}

const leaseIsOver = (now: Date) => or(lt(runs.leaseUntil, now), sql`${runs.leaseUntil} is null`);

/** While a database is down no host can renew: after it has started, each has a lease's time to do so. */
const databaseWasThere = (core: Core, now: Date) =>
  core.database.kind === "postgres"
    ? sql`pg_postmaster_start_time() < ${new Date(now.getTime() - LEASE_MS).toISOString()}::timestamptz`
    : undefined;

async function requeue(core: Core, run: Run, reason: string): Promise<Run> {
  const [row] = await move(
    core,
    and(eq(runs.id, run.id), eq(runs.attempt, run.attempt), inArray(runs.state, [...ended])),
    { state: "queued", attempt: run.attempt + 1, hostId: null, leaseUntil: null, endedAt: null, error: null, reason },
  );
  if (!row) return getRun(core, run.id);
  await enqueueDue(core, [row]);
  return row;
}

const wrongState = (run: Run, verb: string, hint: string): EspalierError =>
  new EspalierError("run/state", `${run.id} is ${run.state}; it cannot be ${verb}`, { hint });

/** Finishes the current step and keeps everything. */
export async function stopRun(core: Core, id: string): Promise<Run> {
  const run = await getRun(core, id);
  if (run.state === "queued") return cancelQueued(core, run);
  if (run.state === "stopping") return run;
  if (run.state !== "running") throw wrongState(run, "stopped", "Only queued and running runs can be stopped.");
  return changeState(core, run, "running", { state: "stopping", reason: "stopped by you" });
}

/** End at once; what finished units measured is kept. */
export async function cancelRun(core: Core, id: string): Promise<Run> {
  const run = await getRun(core, id);
  if (run.state === "queued") return cancelQueued(core, run);
  if (run.state !== "running" && run.state !== "stopping")
    throw wrongState(run, "cancelled", "Only queued and running runs can be cancelled.");
  const row = await changeState(core, run, run.state, {
    state: "cancelled",
    reason: "cancelled by you",
    endedAt: new Date(core.clock.nowMs()),
    leaseUntil: null,
  });
  await lookAtDependents(core, id);
  return row;
}

const CANCELLED_BY_HAND = "cancelled before it began";

async function cancelQueued(core: Core, run: Run): Promise<Run> {
  const row = await changeState(core, run, "queued", {
    state: "cancelled",
    reason: CANCELLED_BY_HAND,
    endedAt: new Date(core.clock.nowMs()),
  });
  await lookAtDependents(core, run.id);
  return row;
}

async function changeState(core: Core, run: Run, from: RunState, set: Partial<typeof runs.$inferInsert>): Promise<Run> {
  const [row] = await move(core, and(eq(runs.id, run.id), eq(runs.state, from)), set);
  return row ?? getRun(core, run.id);
}

/** The same run continues from its last finished unit, and with it the evaluations that ended because it did. */
export async function resumeRun(core: Core, id: string): Promise<Run> {
  const run = await getRun(core, id);
  if (run.state !== "cancelled" && run.state !== "failed" && run.state !== "lost")
    throw wrongState(run, "resumed", "Only cancelled, failed and lost runs can be resumed.");
  const resumed = await requeue(core, run, "resumed by you");
  const following = await core.db
    .select()
    .from(runs)
    .where(and(eq(runs.state, "cancelled"), ne(runs.reason, CANCELLED_BY_HAND), followsRun(id)));
  for (const one of following) await requeue(core, one, `waits for ${run.name}`);
  return resumed;
}

export async function updateRun(
  core: Core,
  id: string,
  set: { name?: string; tags?: string[]; note?: string; archived?: boolean },
  within: Db = core.db,
): Promise<Run> {
  await getRun(core, id);
  const [row] = await within.update(runs).set(set).where(eq(runs.id, id)).returning();
  if (!row) throw new EspalierError("run/unknown", `there is no run ${id}`);
  await announce(core, row);
  return row;
}

/** The same changes to many runs. */
export async function updateRuns(
  core: Core,
  ids: readonly string[],
  changes: {
    readonly name?: string | undefined;
    readonly note?: string | undefined;
    readonly archived?: boolean | undefined;
    readonly addTags?: readonly string[] | undefined;
    readonly removeTags?: readonly string[] | undefined;
  },
): Promise<{ updated: number }> {
  const { addTags = [], removeTags = [], ...set } = changes;
  const given = Object.fromEntries(Object.entries(set).filter(([, v]) => v !== undefined));
  for (const id of ids) {
    const { tags } = await getRun(core, id);
    const kept = [...new Set([...tags, ...addTags])].filter((t) => !removeTags.includes(t));
    await updateRun(core, id, { ...given, tags: kept });
  }
  return { updated: ids.length };
}
