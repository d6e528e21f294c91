/** @file A few files by name, wherever they lie: in a folder, or made from something else when they are asked for. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EspalierError } from "../errors.ts";
import { parsedJson } from "./json-text.ts";

export interface NamedFiles {
  /** What error messages call the place. */
  readonly path: string;
  /** Null when there is no file of that name. */
  file(name: string): Promise<Uint8Array | null>;
  /** The contents of a JSON file that is made here, without writing and parsing it again; undefined for every other one. */
  json?(name: string): object | undefined;
}

export const folderFiles = (folder: string): NamedFiles => ({
  path: folder,
  async file(name) {
    try {
      return await readFile(join(folder, name));
    } catch (thrown) {
      const code = thrown instanceof Error && "code" in thrown ? thrown.code : null;
      if (code === "ENOENT" || code === "ENOTDIR") return null;
      // The system names no path when a folder is read.
      if (code === "EISDIR")
        throw new EspalierError("input/invalid", `${join(folder, name)} is a folder, a file was expected`, {
          hint: "Put the file of that name there, from the model it belongs to.",
          cause: thrown,
        });
      throw thrown;
    }
  },
});

/** The JSON value in a file; undefined when there is none. Throws `format/malformed`. */
export async function jsonFile(files: NamedFiles, name: string): Promise<unknown> {
  const made = files.json?.(name);
  if (made) return made;
  const bytes = await files.file(name);
  if (!bytes) return undefined;
  return parsedJson(bytes, join(files.path, name));
}
