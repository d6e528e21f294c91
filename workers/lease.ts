/**
 * @file A host's hold on a run, from claim to last write: fetching a large checkpoint and storing one count as work too.
 *
 * The lease is renewed every few seconds, and at once when the state of the run changes.
 */
import { setInterval } from "node:timers";
import type { Core } from "../server/core.ts";
import { type Run, renewLease } from "../server/runs/lifecycle.ts";

const RENEW_MS = 2_500;

export interface Lease {
  /** Aborts when the run is no longer this host's: cancelled, or taken for lost. */
  readonly gone: AbortSignal;
  /** Aborts when somebody asked the run to stop. */
  readonly stop: AbortSignal;
  end(): void;
}

export function holdLease(core: Core, hostId: string, run: Run): Lease {
  const [gone, stop, ended] = [new AbortController(), new AbortController(), new AbortController()];
  const end = (): void => {
    clearInterval(timer);
    ended.abort();
  };
  const renew = async (): Promise<void> => {
    try {
      const state = await renewLease(core, hostId, run);
      if (ended.signal.aborted) return;
      if (state === "stopping") stop.abort();
      if (state !== null) return;
      gone.abort();
      end();
    } catch {
      // The database is away; the lease may run out, and then a later attempt continues from what is stored.
    }
  };
  const timer = setInterval(() => void renew(), RENEW_MS);
  void (async () => {
    for await (const event of core.events.follow(["runs"], await core.events.lastSeq(), ended.signal)) {
      const { payload } = event;
      if (typeof payload !== "object" || payload === null || !("id" in payload) || payload.id !== run.id) continue;
      if ("state" in payload && payload.state !== "running") await renew();
    }
  })().catch(() => undefined);
  return { gone: gone.signal, stop: stop.signal, end };
}
