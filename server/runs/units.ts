/** @file Unit results by the hash of their key, shared by all runs; and the files a run keeps to go on from. */
import { createHash } from "node:crypto";
import { and, eq } from "drizzle-orm";
import type { Core } from "../core.ts";
import { runFiles, units } from "../db/schema.ts";
import type { Run } from "./lifecycle.ts";

const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex");

/** A fresh run sees only what it has measured itself. */
export async function getUnit(core: Core, run: Run, key: string): Promise<unknown> {
  const hash = hashOf(run.fresh ? `${run.id} ${key}` : key);
  const [row] = await core.db.select({ value: units.value }).from(units).where(eq(units.hash, hash));
  return row?.value;
}

export async function putUnit(core: Core, run: Run, key: string, value: unknown): Promise<void> {
  const hash = hashOf(run.fresh ? `${run.id} ${key}` : key);
  await core.db
    .insert(units)
    .values({ hash, key, runId: run.id, value })
    .onConflictDoUpdate({ target: units.hash, set: { value } });
}

export async function saveRunFile(core: Core, runId: string, name: string, path: string): Promise<void> {
  const { sha256, sizeBytes } = await core.artifacts.put({ path });
  await core.db
    .insert(runFiles)
    .values({ runId, name, sha256, sizeBytes })
    .onConflictDoUpdate({ target: [runFiles.runId, runFiles.name], set: { sha256, sizeBytes } });
}

/** Brings a kept file back; false when there is none of that name. */
export async function restoreRunFile(core: Core, runId: string, name: string, path: string): Promise<boolean> {
  const [row] = await core.db
    .select({ sha256: runFiles.sha256 })
    .from(runFiles)
    .where(and(eq(runFiles.runId, runId), eq(runFiles.name, name)));
  if (!row) return false;
  await core.artifacts.fetchTo(row.sha256, path);
  return true;
}

/** Once a run has succeeded nothing goes on from its checkpoints. */
export async function forgetRunFiles(core: Core, runId: string): Promise<void> {
  await core.db.delete(runFiles).where(eq(runFiles.runId, runId));
}
