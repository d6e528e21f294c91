/**
 * @file The embedded database, opened again by itself when a failure broke it.
 *
 * Postgres ends and recovers from its log when that log cannot be written (a full disk); the embedded one instead stays in a
 * state in which every later statement fails. Here such a state is noticed by a statement that cannot fail, and the directory
 * is opened anew, which replays the log: what was committed is there. The statement that met the failure is not repeated.
 */
import type { PGlite } from "@electric-sql/pglite";
import { EspalierError } from "../../lib/errors.ts";

/** Looks and behaves like `first`; statements go to whichever instance is open. */
export function reopening(first: PGlite, open: () => Promise<PGlite>): PGlite {
  let current: PGlite | null = first;
  let mending: Promise<PGlite> | null = null;
  let isClosed = false;

  const mend = (broken: PGlite): Promise<PGlite> => {
    mending ??= (async () => {
      current = null;
      await broken.close().catch(() => undefined);
      return reopen();
    })().finally(() => {
      mending = null;
    });
    return mending;
  };
  const reopen = async (): Promise<PGlite> => {
    try {
      current = await open();
      return current;
    } catch (cause) {
      throw new EspalierError("store/database", "the embedded database broke and cannot be opened again yet", {
        hint: "Free some space on the disk of ESPALIER_DATA; it is tried again with every request.",
        cause,
      });
    }
  };
  const whole = (): Promise<PGlite> => {
    if (mending) return mending;
    if (current) return Promise.resolve(current);
    mending = reopen().finally(() => {
      mending = null;
    });
    return mending;
  };
  /** After a failed statement: still able to answer anything? */
  const check = async (used: PGlite): Promise<void> => {
    if (isClosed || mending || current !== used) return;
    const works = await used.query("select 1").then(
      () => true,
      () => false,
    );
    if (!works && !isClosed && current === used) await mend(used).catch(() => undefined);
  };
  const guarded = async <T>(act: (client: PGlite) => Promise<T>): Promise<T> => {
    const used = await whole();
    try {
      return await act(used);
    } catch (thrown) {
      if (mayBreak(thrown)) await check(used);
      throw thrown;
    }
  };

  return new Proxy(first, {
    get(_target, name) {
      if (name === "query") return (...args: Parameters<PGlite["query"]>) => guarded((c) => c.query(...args));
      if (name === "exec") return (...args: Parameters<PGlite["exec"]>) => guarded((c) => c.exec(...args));
      if (name === "transaction")
        return (...args: Parameters<PGlite["transaction"]>) => guarded((c) => c.transaction(...args));
      if (name === "close")
        return async () => {
          isClosed = true;
          await mending?.catch(() => undefined);
          await current?.close();
        };
      return Reflect.get(current ?? first, name);
    },
  });
}

/** Statements that were merely wrong (a constraint, a type: classes 22, 23, 42) leave the database as it was. */
const mayBreak = (thrown: unknown): boolean =>
  !(thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" && /^(22|23|42)/.test(thrown.code));
