/**
 * @file The queue that carries runs to worker hosts: pg-boss over whichever database there is.
 *
 * A job says only "run R, attempt A is due". Its id follows from the two, so that sending again adds nothing. What a run is
 * doing stands in the runs table; a job is finished as soon as a host has claimed its run there.
 */
import { createHash } from "node:crypto";
import PgBoss from "pg-boss";
import { z } from "zod";
import type { Database } from "../db/database.ts";

const QUEUE = "runs";
const dueRun = z.object({ runId: z.string(), attempt: z.number().int() });
export type DueRun = z.infer<typeof dueRun>;

export interface Queue {
  /** Offers runs to the hosts; those offered already are left as they are. */
  send(due: readonly (DueRun & { priority: number })[]): Promise<void>;
  /** Hands the next due runs to `claim`, at most `limit`; those it takes are done with. */
  take(limit: number, claim: (run: DueRun) => Promise<void>): Promise<number>;
  stop(): Promise<void>;
}

export function bossOptions(db: PgBoss.Db): PgBoss.ConstructorOptions {
  return { db, schema: "queue", schedule: false, supervise: true, maintenanceIntervalSeconds: 60 };
}

export async function startQueue(database: Database): Promise<Queue> {
  const boss = new PgBoss(bossOptions({ executeSql: (text, values) => database.execute(text, values) }));
  // Maintenance that fails while the database is away is tried again; losing the process would lose more.
  boss.on("error", () => undefined);
  await boss.start();
  await boss.createQueue(QUEUE);
  return {
    async send(due) {
      if (due.length === 0) return;
      await boss.insert(
        due.map(({ runId, attempt, priority }) => ({
          id: jobId(runId, attempt),
          name: QUEUE,
          data: { runId, attempt },
          priority,
          // A host that dies between taking a job and claiming its run gives it back after a minute.
          expireInSeconds: 60,
          retryLimit: 20,
          retryDelay: 1,
        })),
      );
    },
    async take(limit, claim) {
      const jobs = await boss.fetch<unknown>(QUEUE, { batchSize: limit });
      for (const job of jobs) {
        await claim(dueRun.parse(job.data));
        await boss.complete(QUEUE, job.id);
      }
      return jobs.length;
    },
    stop: () => boss.stop({ graceful: false, close: false, timeout: 1000 }),
  };
}

/** A UUID that follows from run and attempt. */
function jobId(runId: string, attempt: number): string {
  const h = createHash("sha256").update(`${runId} ${attempt}`).digest("hex");
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-8${h.slice(17, 20)}-${h.slice(20, 32)}`;
}
