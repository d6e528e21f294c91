/** @file What the workbench says of itself: version, database, hosts, machine, how much there is of everything. */
import { statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { eq, sql } from "drizzle-orm";
import { version } from "../../experiments/version.ts";
import type { Core } from "../core.ts";
import { hosts, models, notebooks, packages, runs } from "../db/schema.ts";

export async function systemInfo(core: Core) {
  const counts = await core.db
    .select({ state: runs.state, count: sql<number>`count(*)::int` })
    .from(runs)
    .where(eq(runs.archived, false))
    .groupBy(runs.state);
  const rows = async (table: typeof models | typeof notebooks | typeof packages): Promise<number> =>
    core.db.$count(table);
  return {
    version,
    database: core.database.kind,
    hosts: await core.db.select().from(hosts),
    runs: Object.fromEntries(counts.map((c) => [c.state, c.count])),
    counts: {
      models: await rows(models),
      runs: counts.reduce((n, c) => n + c.count, 0),
      notebooks: await rows(notebooks),
      packages: await rows(packages),
    },
    machine: {
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      freeDiskBytes: await statfs(core.dataDirectory).then(
        (s) => s.bavail * s.bsize,
        () => 0,
      ),
      engine: core.engine,
    },
    lastEvent: await core.events.lastSeq(),
  };
}
