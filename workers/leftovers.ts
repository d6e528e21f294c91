/** @file What killed processes left in the data directory: folders of runs that ended elsewhere, halves of checkpoints. */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { and, inArray, notInArray } from "drizzle-orm";
import type { Core } from "../server/core.ts";
import { runs } from "../server/db/schema.ts";

/** Nobody builds a folder for longer. */
const STALE_MS = 24 * 3600_000;

/** What is needed again is brought from the store; failures here harm nothing. */
export async function removeLeftovers(core: Core): Promise<void> {
  const work = join(core.dataDirectory, "work");
  const named = (await readdir(work).catch(() => [])).filter((name) => name.startsWith("run_"));
  if (named.length > 0) {
    const over = await core.db
      .select({ id: runs.id })
      .from(runs)
      .where(and(inArray(runs.id, named), notInArray(runs.state, ["queued", "running", "stopping", "lost"])));
    for (const { id } of over) await rm(join(work, id), { recursive: true, force: true }).catch(() => undefined);
  }
  const materialized = join(core.dataDirectory, "materialized");
  for (const name of await readdir(materialized).catch(() => [])) {
    for (const inner of await readdir(join(materialized, name)).catch(() => [])) {
      const path = join(materialized, name, inner);
      const there = inner.endsWith(".partial") ? await stat(path).catch(() => null) : null;
      if (there && core.clock.nowMs() - there.mtimeMs > STALE_MS)
        await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}
