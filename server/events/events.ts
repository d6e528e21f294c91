/**
 * @file What happened, in order, for browsers and terminals that follow it.
 *
 * Events are rows with a rising number. Whoever publishes wakes the readers of this process at once and those of others
 * through the database's notifications; a slow poll catches what those miss. Content always comes from the table, so a
 * follower that was away goes on where it broke off.
 */
import { and, asc, gt, inArray, lt, sql } from "drizzle-orm";
import type { Database, Db } from "../db/database.ts";
import { events } from "../db/schema.ts";

export interface EspalierEvent {
  readonly seq: number;
  readonly topic: string;
  readonly payload: unknown;
}

export interface Events {
  /** Part of the caller's transaction when given one; call `wake` after it has committed. */
  publish(topic: string, payload: unknown, within?: Db): Promise<void>;
  wake(): void;
  /** Heard by whoever follows the topic in this process at this moment; kept nowhere, for what is out of date in a second. */
  tell(topic: string, payload: unknown): void;
  /** Until the next event of any process or `ms` have passed. */
  idle(ms: number, signal: AbortSignal): Promise<void>;
  lastSeq(): Promise<number>;
  /** Events of these topics after `seq`, then new ones as they come, until the signal aborts. */
  follow(topics: readonly string[], seq: number, signal: AbortSignal): AsyncGenerator<EspalierEvent>;
  close(): Promise<void>;
}

const CHANNEL = "espalier_events";
const POLL_MS = 1000;
const KEEP_MS = 24 * 3600 * 1000;
/** What was told and not read yet, at most; the oldest goes first. */
const MOST_TOLD = 100;

export async function openEvents(database: Database): Promise<Events> {
  const { db } = database;
  const waiting = new Set<() => void>();
  const hearing = new Set<{ readonly topics: readonly string[]; readonly told: Omit<EspalierEvent, "seq">[] }>();
  let closed = false;
  const wakeHere = (): void => {
    for (const go of [...waiting]) go();
  };
  const stopListening = await database.listen(CHANNEL, wakeHere);
  const poll = setInterval(wakeHere, POLL_MS);
  poll.unref();
  const tidy = setInterval(
    () =>
      void db
        .delete(events)
        .where(lt(events.at, new Date(Date.now() - KEEP_MS)))
        .catch(() => undefined),
    600_000,
  );
  tidy.unref();

  const pause = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const go = (): void => {
        waiting.delete(go);
        signal.removeEventListener("abort", go);
        resolve();
      };
      waiting.add(go);
      signal.addEventListener("abort", go);
      if (signal.aborted || closed) go();
    });

  return {
    async publish(topic, payload, within) {
      const insert = async (tx: Db): Promise<void> => {
        // One publisher at a time until it commits: numbers become visible in their order.
        if (database.kind === "postgres") await tx.execute(sql`select pg_advisory_xact_lock(hashtext(${CHANNEL}))`);
        await tx.insert(events).values({ topic, payload });
        if (database.kind === "postgres") await tx.execute(sql`select pg_notify(${CHANNEL}, '')`);
      };
      if (within) await insert(within);
      else {
        await db.transaction(insert);
        wakeHere();
      }
    },
    wake: wakeHere,
    tell(topic, payload) {
      const own = [...hearing].filter((h) => h.topics.includes(topic));
      for (const { told } of own) {
        told.push({ topic, payload });
        if (told.length > MOST_TOLD) told.shift();
      }
      if (own.length > 0) wakeHere();
    },
    async idle(ms, signal) {
      const either = new AbortController();
      const go = (): void => either.abort();
      const timer = setTimeout(go, ms);
      signal.addEventListener("abort", go);
      await pause(either.signal);
      clearTimeout(timer);
      signal.removeEventListener("abort", go);
    },
    async lastSeq() {
      const [row] = await db.select({ seq: sql<number>`coalesce(max(${events.seq}), 0)::int` }).from(events);
      return row?.seq ?? 0;
    },
    async *follow(topics, seq, signal) {
      let last = seq;
      const here = { topics, told: [] as Omit<EspalierEvent, "seq">[] };
      hearing.add(here);
      try {
        while (!signal.aborted && !closed) {
          for (let one = here.told.shift(); one; one = here.told.shift()) yield { seq: last, ...one };
          const batch = await db
            .select({ seq: events.seq, topic: events.topic, payload: events.payload })
            .from(events)
            .where(and(gt(events.seq, last), inArray(events.topic, [...topics])))
            .orderBy(asc(events.seq))
            .limit(500)
            .catch(() => null);
          if (batch) {
            for (const event of batch) {
              last = event.seq;
              yield event;
            }
            if (batch.length === 500) continue;
          }
          if (here.told.length === 0) await pause(signal);
        }
      } finally {
        hearing.delete(here);
      }
    },
    async close() {
      closed = true;
      clearInterval(poll);
      clearInterval(tidy);
      wakeHere();
      await stopListening().catch(() => undefined);
    },
  };
}
