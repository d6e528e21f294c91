/**
 * @file The mark of a folder that Espalier wrote: a list of the files it holds.
 *
 * What may be replaced is recognised by it. A folder without a mark, or with a file that the mark does not list, belongs to somebody else.
 * Not included: whether a listed file was edited since.
 */
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { z } from "zod";

export const MARK_FILE = ".espalier.json";
const markSchema = z.object({ writtenBy: z.literal("espalier"), files: z.array(z.string()) });

/** What file browsers leave in any folder they show. */
const litter = new Set([".DS_Store", "Thumbs.db", "desktop.ini"]);

interface Entry {
  readonly name: string;
  readonly parentPath: string;
  isDirectory(): boolean;
}

/** Paths below `folder` with single slashes, sorted; folders are not listed. */
const listed = (folder: string, entries: readonly Entry[]): string[] =>
  entries
    .filter((e) => !e.isDirectory() && !litter.has(e.name))
    .map((e) => relative(folder, join(e.parentPath, e.name)).split(sep).join("/"))
    .filter((path) => path !== MARK_FILE)
    .sort();

/** Lists everything that lies in `folder` now. */
export async function writeMark(folder: string): Promise<void> {
  const files = listed(folder, await readdir(folder, { withFileTypes: true, recursive: true }));
  await writeFile(join(folder, MARK_FILE), `${JSON.stringify({ writtenBy: "espalier", files }, null, 1)}\n`);
}

/** Why what lies at `path` is not wholly Espalier's, in words; null when it is, or when it is an empty folder. */
export function strangerIn(path: string): string | null {
  if (!lstatSync(path).isDirectory()) return "it is a file or a link";
  const files = listed(path, readdirSync(path, { withFileTypes: true, recursive: true }));
  let known: ReadonlySet<string>;
  try {
    known = new Set(markSchema.parse(JSON.parse(readFileSync(join(path, MARK_FILE), "utf8"))).files);
  } catch {
    return files.length === 0 ? null : `it was not written by Espalier (it has no ${MARK_FILE})`;
  }
  const stranger = files.find((file) => !known.has(file));
  return stranger === undefined ? null : `Espalier did not write ${stranger} in it`;
}
