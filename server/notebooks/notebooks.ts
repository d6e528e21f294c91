/**
 * @file Notebooks: saved whole with a version, so that two writers notice each other, and a history to go back to.
 */
import { createHash } from "node:crypto";
import { and, desc, eq, sql } from "drizzle-orm";
import type { FigureData } from "../../experiments/figures/figure.ts";
import { type NotebookContent, notebookContent } from "../../experiments/notebook/cells.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { figures, notebooks, notebookVersions } from "../db/schema.ts";
import { newId } from "../ids.ts";

export type NotebookRow = Omit<typeof notebooks.$inferSelect, "cells"> & { cells: NotebookContent["cells"] };

const typed = (row: typeof notebooks.$inferSelect): NotebookRow => ({
  ...row,
  cells: notebookContent.shape.cells.parse(row.cells),
});

/** A version older than this is kept even when autosave writes often. */
const HISTORY_EVERY_MS = 60_000;

export async function createNotebook(core: Core, content: NotebookContent, id = newId("nb")): Promise<NotebookRow> {
  const [row] = await core.db
    .insert(notebooks)
    .values({ id, ...content })
    .returning();
  if (!row) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  await core.db.insert(notebookVersions).values({ notebookId: id, version: 1, ...content });
  await core.events.publish("notebooks", { id });
  return typed(row);
}

export async function getNotebook(core: Core, id: string): Promise<NotebookRow> {
  const [row] = await core.db.select().from(notebooks).where(eq(notebooks.id, id));
  if (!row) throw new EspalierError("run/unknown", `there is no notebook ${id}`);
  return typed(row);
}

export const listNotebooks = (core: Core) =>
  core.db
    .select({
      id: notebooks.id,
      title: notebooks.title,
      version: notebooks.version,
      createdAt: notebooks.createdAt,
      updatedAt: notebooks.updatedAt,
      cells: sql<number>`jsonb_array_length(${notebooks.cells})::int`,
    })
    .from(notebooks)
    .where(eq(notebooks.archived, false))
    .orderBy(desc(notebooks.updatedAt));

/** Throws `run/state` when somebody else has saved since `version`. */
export async function saveNotebook(
  core: Core,
  id: string,
  version: number,
  content: NotebookContent,
): Promise<NotebookRow> {
  const now = new Date(core.clock.nowMs());
  const [row] = await core.db
    .update(notebooks)
    .set({ ...content, version: version + 1, updatedAt: now })
    .where(and(eq(notebooks.id, id), eq(notebooks.version, version)))
    .returning();
  if (!row) {
    const current = await getNotebook(core, id);
    throw new EspalierError(
      "run/state",
      `the notebook was saved elsewhere: version ${current.version}, yours began from ${version}`,
      { hint: "Reload it; what you wrote stays in this window until you do." },
    );
  }
  const [latest] = await core.db
    .select({ version: notebookVersions.version, createdAt: notebookVersions.createdAt })
    .from(notebookVersions)
    .where(eq(notebookVersions.notebookId, id))
    .orderBy(desc(notebookVersions.version))
    .limit(1);
  const old = !latest || now.getTime() - latest.createdAt.getTime() > HISTORY_EVERY_MS;
  if (old || latest.version === 1)
    await core.db.insert(notebookVersions).values({ notebookId: id, version: row.version, ...content });
  else
    await core.db
      .update(notebookVersions)
      .set({ ...content, version: row.version })
      .where(and(eq(notebookVersions.notebookId, id), eq(notebookVersions.version, latest.version)));
  await core.events.publish(`notebook:${id}`, { version: row.version });
  return typed(row);
}

export const notebookHistory = (core: Core, id: string) =>
  core.db
    .select({ version: notebookVersions.version, title: notebookVersions.title, createdAt: notebookVersions.createdAt })
    .from(notebookVersions)
    .where(eq(notebookVersions.notebookId, id))
    .orderBy(desc(notebookVersions.version));

/** Makes an old version the newest one; nothing is lost. */
export async function restoreNotebook(core: Core, id: string, version: number): Promise<NotebookRow> {
  const [old] = await core.db
    .select()
    .from(notebookVersions)
    .where(and(eq(notebookVersions.notebookId, id), eq(notebookVersions.version, version)));
  if (!old) throw new EspalierError("run/unknown", `the notebook has no version ${version}`);
  const current = await getNotebook(core, id);
  return saveNotebook(core, id, current.version, notebookContent.parse({ title: old.title, cells: old.cells }));
}

export async function archiveNotebook(core: Core, id: string, archived: boolean): Promise<void> {
  await getNotebook(core, id);
  await core.db.update(notebooks).set({ archived }).where(eq(notebooks.id, id));
  await core.events.publish("notebooks", { id });
}

/** Keeps the data of a figure under its hash. */
export async function freezeFigure(core: Core, data: FigureData): Promise<string> {
  const hash = createHash("sha256").update(canonical(data)).digest("hex");
  await core.db.insert(figures).values({ hash, data }).onConflictDoNothing();
  return hash;
}

export async function frozenFigure(core: Core, hash: string): Promise<FigureData> {
  const [row] = await core.db.select().from(figures).where(eq(figures.hash, hash));
  if (!row) throw new EspalierError("run/unknown", `there is no frozen figure ${hash.slice(0, 12)}`);
  // Only freezeFigure writes there, and only what figureData made.
  return row.data as FigureData;
}

/** JSON with sorted keys: the same data has the same hash whatever order a database keeps it in. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    typeof v === "object" && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}
