/** @file Texts and question lists the workbench knows by id. */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { asc, eq } from "drizzle-orm";
import { dealt, lookAt, parts, type TextLook } from "../../experiments/brought-text.ts";
import { fileText } from "../../experiments/text-file.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { EspalierError } from "../../lib/errors.ts";
import { loadTokenizer } from "../../lib/tokenizer/tokenizer.ts";
import type { Core } from "../core.ts";
import { texts } from "../db/schema.ts";
import { modelFolder } from "../models/model-registry.ts";

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

/** A text as it is brought: its content, or its path on this machine. */
export interface TextSource {
  readonly content?: string | undefined;
  readonly path?: string | undefined;
}

/** Throws `input/empty`, `model/missing-file`, or `format/malformed` for what is not UTF-8. */
async function contentOf({ content, path }: TextSource): Promise<string> {
  const found = path === undefined ? content : await fileText(path);
  if (found === undefined || found.trim() === "") throw new EspalierError("input/empty", "the text is empty");
  return found;
}

/** Above this tokens are counted on the beginning, and the rest is estimated from it. */
const COUNTED_CHARACTERS = 400_000;

export interface BroughtLook extends TextLook {
  /** By the tokenizer of the model; null without one. */
  readonly tokens: {
    readonly count: number;
    readonly isExact: boolean;
    /** Near 1 where the vocabulary has no words for the text and spells it out. */
    readonly bytesPerToken: number;
    /** Of tokens that stand for text the vocabulary cannot even spell. */
    readonly unknownShare: number;
  } | null;
}

/** What a text would be, before it is kept. */
export async function lookAtText(core: Core, source: TextSource, model?: string): Promise<BroughtLook> {
  const content = await contentOf(source);
  return { ...lookAt(content), tokens: model === undefined ? null : await tokensIn(core, content, model) };
}

async function tokensIn(core: Core, content: string, model: string): Promise<BroughtLook["tokens"]> {
  const checkpoint = await openCheckpoint(await modelFolder(core, model));
  try {
    const tokenizer = await loadTokenizer(checkpoint);
    const counted = content.slice(0, COUNTED_CHARACTERS);
    const ids = tokenizer.encode(counted);
    const unknown = tokenizer.idOf("<unk>");
    const times = content.length / counted.length;
    return {
      count: Math.round(ids.length * times),
      isExact: times === 1,
      bytesPerToken: new TextEncoder().encode(counted).length / Math.max(1, ids.length),
      unknownShare: ids.filter((id) => id === unknown).length / Math.max(1, ids.length),
    };
  } finally {
    await checkpoint.close();
  }
}

export interface BroughtText extends TextSource {
  readonly id: string;
  readonly kind: "text" | "tasks";
  readonly separator: string | null;
  /** `parts`: dealt to calibrate, select and report, each a text of its own, `ID-calibrate` and so on. */
  readonly use: "parts" | "calibrate" | "select" | "report";
  readonly note: string;
}

/** Keeps a text whole for one purpose, or in parts. Throws `input/invalid` for one that is too short to have parts. */
export async function bringText(
  core: Core,
  { id, kind, separator, use, note, ...source }: BroughtText,
): Promise<Text[]> {
  const content = await contentOf(source);
  const kept = use === "parts" ? dealt(content, { kind, separator }) : { [use]: content };
  if (separator !== null && use !== "parts" && !content.includes(separator))
    throw new EspalierError("input/invalid", `the separator ${JSON.stringify(separator)} does not occur in the text`, {
      hint: "Choose another, or none: the text is then measured in windows.",
    });
  const found: Text[] = [];
  for (const split of parts) {
    const own = kept[split];
    if (own === undefined) continue;
    const name = use === "parts" ? `${id}-${split}` : id;
    found.push(await addText(core, { id: name, kind, content: own, separator, split, note }));
  }
  return found;
}

export const listTexts = (core: Core): Promise<Text[]> => core.db.select().from(texts).orderBy(asc(texts.id));

export async function getText(core: Core, id: string): Promise<Text> {
  const [text] = await core.db.select().from(texts).where(eq(texts.id, id));
  if (!text)
    throw new EspalierError("input/invalid", `there is no text "${id}"`, {
      hint: "Texts are known by id; bring one of your own with the button beside the field, or with `espalier api texts bring`.",
    });
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
