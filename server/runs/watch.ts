/**
 * @file What every server and host does now and then for all runs: those of silent hosts become lost and are taken up again,
 * those that are due but were not offered are offered.
 */
import { setInterval } from "node:timers";
import type { Core } from "../core.ts";
import { failureOf } from "../db/failures.ts";
import { enqueueAllDue, loseSilent } from "./lifecycle.ts";

const WATCH_MS = 3_000;
/** Offering again costs a look at every queued run. */
const OFFER_EVERY = 10;

/** `also` is done each time, first. Returns what ends it. */
export function watchRuns(
  core: Core,
  options: { also?: () => Promise<void>; log?: (line: string) => void } = {},
): () => void {
  let rounds = 0;
  let isBusy = false;
  let isAway = false;
  const round = async (): Promise<void> => {
    // A database that takes its time is not asked twice at once.
    if (isBusy) return;
    isBusy = true;
    try {
      await core.clock.synchronize();
      await options.also?.();
      await loseSilent(core);
      if (++rounds % OFFER_EVERY === 0 || isAway) await enqueueAllDue(core);
      if (isAway) options.log?.("the database answers again");
      isAway = false;
    } catch (thrown) {
      if (!isAway) options.log?.(failureOf(thrown).message);
      isAway = true;
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => void round(), WATCH_MS);
  return () => clearInterval(timer);
}
