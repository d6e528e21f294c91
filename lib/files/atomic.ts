/**
 * @file Output that appears whole under its final name, or not at all.
 *
 * A file or folder is built beside its destination under a temporary name and renamed at the end. Whatever goes wrong,
 * the temporary is removed; a killed process leaves at most a `.partial` beside the destination, never a half under its
 * name. What a signal handler has to remove is kept in one list.
 */
import { rmSync } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError, toEspalierError } from "../errors.ts";

const temporary = new Set<string>();
let counter = 0;

/** Removes every temporary of this process; for signal handlers. */
export function cleanUpTemporaryOutput(): void {
  for (const path of temporary) rmSync(path, { recursive: true, force: true });
  temporary.clear();
}

function temporaryName(final: string): string {
  counter++;
  return join(dirname(final), `.${basename(final)}.${process.pid}-${counter}.partial`);
}

/** Runs `write` on a temporary path and renames it to `final`, replacing what is there. */
export async function writeAtomically(final: string, write: (temporaryPath: string) => Promise<void>): Promise<void> {
  const path = resolve(final);
  const partial = temporaryName(path);
  temporary.add(partial);
  try {
    await mkdir(dirname(path), { recursive: true });
    await write(partial);
    await rename(partial, path);
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw toEspalierError(thrown);
  } finally {
    temporary.delete(partial);
  }
}

export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  await writeAtomically(path, async (partial) => {
    const file = await open(partial, "w");
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

/**
 * Builds a folder. Throws `store/exists` when something is there already, unless `replace`, which removes it only after
 * the new one is complete.
 */
export async function withOutputDirectory<T>(
  final: string,
  build: (temporaryPath: string) => Promise<T>,
  options: { replace?: boolean } = {},
): Promise<T> {
  const path = resolve(final);
  const there = await stat(path).catch(() => null);
  if (there && !options.replace) {
    throw new EspalierError("store/exists", `${final} exists already`, {
      hint: "Choose another --out, remove it, or say --replace.",
    });
  }
  const partial = temporaryName(path);
  temporary.add(partial);
  try {
    await mkdir(partial, { recursive: true });
    const result = await build(partial);
    if (there) {
      const old = temporaryName(path);
      await rename(path, old);
      await rename(partial, path);
      await rm(old, { recursive: true, force: true });
    } else await rename(partial, path);
    return result;
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw toEspalierError(thrown);
  } finally {
    temporary.delete(partial);
  }
}
