/** @file Waiting for what comes back by itself: a database that does not answer, a store that cannot be reached. */
import { setTimeout as delay } from "node:timers/promises";
import { isNetworkTrouble } from "../server/artifacts/retry.ts";
import { databaseFailure, failureOf } from "../server/db/failures.ts";

const AGAIN_MS = 1_000;

export type Persistently = <T>(act: () => Promise<T>) => Promise<T>;

export const isPassing = (thrown: unknown): boolean =>
  databaseFailure(thrown)?.code === "store/database" || isNetworkTrouble(thrown);

export const isAwayOrFull = (thrown: unknown): boolean =>
  isPassing(thrown) || failureOf(thrown).code === "store/disk-full";

/** Tries again every second while that is the trouble, until the signal; then throws it. */
export async function whileAway<T>(
  act: () => Promise<T>,
  signal: AbortSignal,
  isTrouble: (thrown: unknown) => boolean = isPassing,
): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (thrown) {
      if (signal.aborted || !isTrouble(thrown)) throw thrown;
      await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
