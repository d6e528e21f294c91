/**
 * @file A folder and those above it, made one at a time.
 *
 * `mkdir` of Node with `recursive` never ends where a file system answers that a new folder's parent does not exist although it
 * does, as /proc on Linux; here that is an error like any other.
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

const codeOf = (thrown: unknown): unknown => (thrown instanceof Error && "code" in thrown ? thrown.code : null);

const isFolder = async (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Throws what the system says of the first folder that cannot be made. */
export async function makeFolders(path: string): Promise<void> {
  const above = dirname(path);
  if (above === path || (await made(path, true))) return;
  await makeFolders(above);
  await made(path, false);
}

/** Whether the folder is there now; `hopes`: false instead of an error when one above it is missing. */
async function made(path: string, hopes: boolean): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === "EEXIST" && (await isFolder(path))) return true;
    if (hopes && codeOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}
