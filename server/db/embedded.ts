/**
 * @file The embedded database on a disk that fills up.
 *
 * A table that cannot grow is a clean error. A write-ahead log that cannot is not: Postgres ends and recovers then, the embedded
 * one stays in a state in which its next statement may never return. So a spare segment of the log is kept beside the one in
 * use, and a checkpoint after each segment turns the old one into the next spare: the log needs no new room. Should it fail all
 * the same (more than a segment written between two looks, on a full disk), nothing more is asked of that instance and the
 * directory is opened anew, which replays the log: what was committed is there. The statement that failed is not repeated.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setInterval } from "node:timers";
import type { PGlite } from "@electric-sql/pglite";
import { EspalierError } from "../../lib/errors.ts";

/** Opening needs room for the log; one that fails leaves its memory behind, so it is not tried without, nor often. */
const OPEN_AGAIN_MS = 5_000;

/** Looks and behaves like `first`; statements go, one by one, to whichever instance is open. */
export function reopening(first: PGlite, open: () => Promise<PGlite>, hasRoom: () => Promise<boolean>): PGlite {
  let current: PGlite | null = first;
  let triedAt = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = Promise.resolve();

  const openAgain = async (): Promise<PGlite> => {
    const away = (code: "store/database" | "store/disk-full", reason: string, cause?: unknown): EspalierError =>
      new EspalierError(code, `the embedded database does not answer: ${reason}`, {
        hint: "Free some space on the disk of ESPALIER_DATA; it opens again as soon as there is space.",
        cause,
      });
    if (!(await hasRoom())) throw away("store/disk-full", "its disk is full");
    if (performance.now() - triedAt < OPEN_AGAIN_MS) throw away("store/database", "reopening it failed a moment ago");
    triedAt = performance.now();
    try {
      return await open();
    } catch (cause) {
      throw away("store/database", "it cannot be opened again", cause);
    }
  };
  const guarded = async <T>(act: (client: PGlite) => Promise<T>): Promise<T> => {
    current ??= await openAgain();
    try {
      return await act(current);
    } catch (thrown) {
      if (breaks(thrown)) current = null;
      throw thrown;
    }
  };
  // What waits must wait here: in the queue of a broken instance it would wait for ever.
  const inTurn = <T>(act: (client: PGlite) => Promise<T>): Promise<T> => {
    const mine = last.then(() => guarded(act));
    last = mine.catch(() => undefined);
    return mine;
  };

  return new Proxy(first, {
    get(target, name) {
      if (name === "query") return (...args: Parameters<PGlite["query"]>) => inTurn((c) => c.query(...args));
      if (name === "exec") return (...args: Parameters<PGlite["exec"]>) => inTurn((c) => c.exec(...args));
      if (name === "transaction")
        return (...args: Parameters<PGlite["transaction"]>) => inTurn((c) => c.transaction(...args));
      if (name === "close")
        return async () => {
          await last;
          await current?.close();
        };
      return Reflect.get(target, name);
    },
  });
}

const breaks = (thrown: unknown): boolean =>
  thrown instanceof WebAssembly.RuntimeError ||
  (thrown instanceof Error &&
    (/unexpected state|PGlite is closed/.test(thrown.message) ||
      ("code" in thrown && thrown.code === "53100" && thrown.message.includes("pg_wal"))));

const LOOK_MS = 2_000;

/** Makes sure of a spare segment of the log now and from now on; gives what ends it. */
export async function keepSpareLog(client: PGlite, directory: string): Promise<() => void> {
  const inUse = async (): Promise<string> => {
    const { rows } = await client.query<{ name: string }>("select pg_walfile_name(pg_current_wal_lsn()) as name");
    return rows[0]?.name ?? "";
  };
  let used = await inUse();
  const segments = await readdir(join(directory, "pg_wal"));
  // Names are hexadecimal numbers of one length, in order.
  if (!segments.some((name) => name.length === used.length && name > used)) {
    await client.exec("select pg_switch_wal(); checkpoint");
    used = await inUse();
  }
  const look = async (): Promise<void> => {
    const now = await inUse();
    if (now !== used) await client.exec("checkpoint");
    used = now;
  };
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
