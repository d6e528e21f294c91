/** @file Texts and question lists the workbench knows by id. */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { asc, eq } from "drizzle-orm";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { texts } from "../db/schema.ts";

export type Text = typeof texts.$inferSelect;

const idPattern = /^[\w][\w.-]{0,79}$/;

export interface NewText {
  readonly id: string;
  readonly kind: "text" | "tasks";
  readonly content: string;
  readonly separator?: string | null;
  readonly split?: "train" | "calibrate" | "select" | "report" | null;
  readonly note?: string;
}

/** Keeps a text under an id. Adding the same again changes nothing; throws `store/exists` for another one of that id. */
export async function addText(core: Core, { content, ...given }: NewText): Promise<Text> {
  if (!idPattern.test(given.id))
    throw new EspalierError("input/invalid", `"${given.id}" is not a valid id for a text`, {
      hint: "Use letters, digits, dots, dashes and underscores, 80 at most.",
    });
  if (content.trim() === "") throw new EspalierError("input/empty", `the text "${given.id}" is empty`);
  const data = new TextEncoder().encode(content);
  const [existing] = await core.db.select().from(texts).where(eq(texts.id, given.id));
  if (existing) {
    if (existing.sha256 === createHash("sha256").update(data).digest("hex")) return existing;
    throw new EspalierError("store/exists", `another text is called "${given.id}"`, { hint: "Choose another id." });
  }
  const { sha256, sizeBytes } = await core.artifacts.put(once(data));
  const [text] = await core.db
    .insert(texts)
    .values({ ...given, sha256, sizeBytes })
    .returning();
  if (!text) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  await core.events.publish("texts", { id: text.id });
  return text;
}

export const listTexts = (core: Core): Promise<Text[]> => core.db.select().from(texts).orderBy(asc(texts.id));

export async function getText(core: Core, id: string): Promise<Text> {
  const [text] = await core.db.select().from(texts).where(eq(texts.id, id));
  if (!text) throw new EspalierError("input/invalid", `there is no text "${id}"`, { hint: "Add it first." });
  return text;
}

/** The file of a text on this machine; its name is the id, which is what protocols quote. */
export async function textFile(core: Core, id: string): Promise<string> {
  const { sha256, kind } = await getText(core, id);
  const path = join(core.dataDirectory, "materialized", sha256, `${id}.${kind === "text" ? "txt" : "jsonl"}`);
  if (!(await stat(path).catch(() => null))) await core.artifacts.fetchTo(sha256, path);
  return path;
}

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}
