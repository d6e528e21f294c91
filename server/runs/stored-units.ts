/** @file Unit results by name, shared by all runs; and the files from which a run continues. */
import { and, asc, eq } from "drizzle-orm";
import { type UnitName, unitHash } from "../../experiments/unit-name.ts";
import type { Core } from "../core.ts";
import { runFiles, runUnits, units } from "../db/schema.ts";
import type { Run } from "./lifecycle.ts";

/** A fresh run sees only what it has measured itself. */
const hashOf = (run: Run, name: UnitName): string => unitHash(name, run.fresh ? run.id : undefined);

/** What is stored under that name, which is then among the units of the run; undefined when nothing is. */
export async function getUnit(core: Core, run: Run, name: UnitName): Promise<unknown> {
  const hash = hashOf(run, name);
  const [row] = await core.db.select({ value: units.value }).from(units).where(eq(units.hash, hash));
  if (row) await core.db.insert(runUnits).values({ runId: run.id, hash }).onConflictDoNothing();
  return row?.value;
}

export async function putUnit(core: Core, run: Run, name: UnitName, value: unknown): Promise<void> {
  const hash = hashOf(run, name);
  await core.db.transaction(async (tx) => {
    await tx
      .insert(units)
      .values({ hash, ...name, runId: run.id, value })
      .onConflictDoUpdate({ target: units.hash, set: { value } });
    await tx.insert(runUnits).values({ runId: run.id, hash }).onConflictDoNothing();
  });
}

/** Results of the units that a run has measured or found so far, in its order. */
export async function unitValues(core: Core, runId: string): Promise<unknown[]> {
  const rows = await core.db
    .select({ value: units.value })
    .from(runUnits)
    .innerJoin(units, eq(units.hash, runUnits.hash))
    .where(eq(runUnits.runId, runId))
    .orderBy(asc(runUnits.createdAt));
  return rows.map((r) => r.value);
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

/** Once a run has succeeded, nothing continues from its checkpoints. */
export async function forgetRunFiles(core: Core, runId: string): Promise<void> {
  await core.db.delete(runFiles).where(eq(runFiles.runId, runId));
}
