/**
 * @file One time for all hosts of a shared database: theirs, corrected by what the database's clock says.
 *
 * Leases are compared between machines, whose clocks differ, and which may have slept. The correction is that of Cristian
 * (1989): the answer belongs to the middle of asking, right to half the time of the round trip.
 */
import type { Clock } from "../../lib/random.ts";
import type { Database } from "./database.ts";

export interface DatabaseClock extends Clock {
  /** Asks the database again. */
  synchronize(): Promise<void>;
}

export function databaseClock(database: Database, local: Clock): DatabaseClock {
  let correctionMs = 0;
  return {
    nowMs: () => local.nowMs() + correctionMs,
    async synchronize() {
      if (database.kind === "embedded") return;
      const before = local.nowMs();
      const { rows } = await database.execute("select extract(epoch from clock_timestamp()) * 1000 as ms");
      const ms = Number(rows[0]?.ms);
      if (Number.isFinite(ms)) correctionMs = ms - (before + local.nowMs()) / 2;
    },
  };
}
