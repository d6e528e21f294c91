/**
 * @file The host: takes due runs from the queue while it has free slots, and runs each in a task process.
 *
 * Any number of hosts may share one database. Each keeps a row with a heartbeat; runs are held under leases, so a host that
 * dies loses them to others after a while and nothing is computed twice: a unit is stored under its key once.
 */
import { availableParallelism, freemem, hostname, totalmem } from "node:os";
import { eq, lt } from "drizzle-orm";
import type { Core } from "../server/core.ts";
import { databaseFailure, failureOf } from "../server/db/failures.ts";
import { hosts } from "../server/db/schema.ts";
import { newId } from "../server/ids.ts";
import { claimRun, enqueueAllDue, loseSilent } from "../server/runs/lifecycle.ts";
import { watchRuns } from "../server/runs/watch.ts";
import { attempt } from "./attempt.ts";
import { removeLeftovers } from "./leftovers.ts";
import { machineFacts } from "./machine.ts";

const POLL_MS = 500;
const FORGET_HOST_MS = 60_000;

export interface HostOptions {
  /** Tasks at a time. */
  readonly slots?: number | undefined;
  readonly threadsPerTask?: number | undefined;
  /** What one task may use. */
  readonly memoryLimitBytes?: number | undefined;
  readonly name?: string | undefined;
  /** The only host of its database, so that runs found running have nobody. */
  readonly alone?: boolean | undefined;
  readonly log?: ((line: string) => void) | undefined;
}

export interface Host {
  readonly id: string;
  /** Takes no more runs, kills its tasks (their runs become lost and start again elsewhere), and leaves. */
  stop(): Promise<void>;
}

export async function startHost(core: Core, options: HostOptions = {}): Promise<Host> {
  const id = newId("host");
  const slots = options.slots ?? 1;
  const threads = options.threadsPerTask ?? Math.max(1, Math.floor(availableParallelism() / slots));
  const memoryLimitBytes = options.memoryLimitBytes ?? Math.floor((0.8 * totalmem()) / slots);
  const machine = await machineFacts();
  const shutdown = new AbortController();
  const running = new Map<string, Promise<void>>();
  const log = options.log ?? (() => undefined);
  const now = (): Date => new Date(core.clock.nowMs());

  const row = () => ({
    id,
    name: options.name ?? hostname(),
    slots,
    busy: running.size,
    threadsPerTask: threads,
    machine: { ...machine, memoryLimitBytes, freeBytes: freemem() },
    startedAt,
    heartbeatAt: now(),
  });
  const startedAt = now();
  await core.db.insert(hosts).values(row());
  await loseSilent(core, { hostsKnownDead: options.alone ?? false });
  await enqueueAllDue(core);
  await removeLeftovers(core);
  await core.events.publish("hosts", { id });

  const beat = async (): Promise<void> => {
    const { busy, heartbeatAt, machine: current } = row();
    // Others forget a host that was silent for long; it may have been the database that was away.
    await core.db
      .insert(hosts)
      .values(row())
      .onConflictDoUpdate({ target: hosts.id, set: { busy, heartbeatAt, machine: current } });
    await core.db.delete(hosts).where(lt(hosts.heartbeatAt, new Date(core.clock.nowMs() - FORGET_HOST_MS)));
  };
  const stopWatching = watchRuns(core, { also: beat, log });

  const take = async (): Promise<void> => {
    const free = slots - running.size;
    if (free <= 0) return;
    await core.queue.take(free, async (due) => {
      const run = await claimRun(core, id, due);
      if (!run) return;
      log(`${run.id} ${run.kind} ${run.name}, attempt ${run.attempt}`);
      const work = attempt(core, run, { hostId: id, threads, memoryLimitBytes, machine }, shutdown.signal)
        .catch((thrown: unknown) => log(`${run.id}: ${thrown instanceof Error ? thrown.message : String(thrown)}`))
        .finally(() => {
          running.delete(run.id);
          core.events.wake();
        });
      running.set(run.id, work);
    });
  };
  const loop = (async () => {
    while (!shutdown.signal.aborted) {
      // Log only what the watch does not already log.
      await take().catch((thrown: unknown) => {
        if (!databaseFailure(thrown)) log(`the queue fails: ${failureOf(thrown).message}`);
      });
      await core.events.idle(POLL_MS, shutdown.signal);
    }
  })();

  return {
    id,
    async stop() {
      stopWatching();
      shutdown.abort();
      await loop;
      await Promise.all(running.values());
      await core.db
        .delete(hosts)
        .where(eq(hosts.id, id))
        .catch(() => undefined);
    },
  };
}
