/** @file The files that a delta is between: one file, or all below a folder. */
import { lstat, readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { EspalierError } from "../errors.ts";
import { MARK_FILE } from "../files/mark.ts";

export interface ListedFiles {
  readonly isFolder: boolean;
  /** Below the folder with single slashes, sorted; `[""]` for a file. Espalier's own mark, which names no content, is left out. */
  readonly paths: readonly string[];
}

/** Throws `input/invalid` for a link or another thing that is neither file nor folder. */
export async function listedFiles(root: string): Promise<ListedFiles> {
  const there = await lstat(root);
  if (there.isFile()) return { isFolder: false, paths: [""] };
  const entries = await readdir(root, { withFileTypes: true, recursive: true });
  const paths = entries.flatMap((e) => {
    const full = join(e.parentPath, e.name);
    if (e.isDirectory()) return [];
    if (!e.isFile())
      throw new EspalierError("input/invalid", `${full} is a link or not an ordinary file`, {
        hint: "Copy the files themselves, for example with cp -rL.",
      });
    return [relative(root, full).split(sep).join("/")];
  });
  return { isFolder: true, paths: paths.filter((p) => p !== MARK_FILE).sort() };
}
