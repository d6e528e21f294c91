/** @file Saved views: what a page showed, kept under a title. */
import { desc, eq } from "drizzle-orm";
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { views } from "../db/schema.ts";
import { newId } from "../ids.ts";

export type View = typeof views.$inferSelect;

export const newView = z.object({
  page: z
    .string()
    .regex(/^\/[\w/-]*$/)
    .max(80),
  title: z.string().trim().min(1).max(120),
  state: z.record(z.string(), z.unknown()),
});

const MOST = 500;

/** Newest first. */
export const listViews = (core: Core): Promise<View[]> =>
  core.db.select().from(views).orderBy(desc(views.createdAt)).limit(MOST);

export async function getView(core: Core, id: string): Promise<View> {
  const [view] = await core.db.select().from(views).where(eq(views.id, id));
  if (!view) throw new EspalierError("run/unknown", `there is no saved view ${id}`);
  return view;
}

export async function saveView(core: Core, given: z.infer<typeof newView>): Promise<View> {
  const [view] = await core.db
    .insert(views)
    .values({ id: newId("view"), ...given })
    .returning();
  if (!view) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  return view;
}
