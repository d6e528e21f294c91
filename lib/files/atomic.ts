/**
 * @file Output that appears whole under its final name, or not at all.
 *
 * A file or folder is built beside its destination under a temporary name and renamed at the end. Whatever goes wrong,
 * the temporary is removed; a killed process leaves at most a `.partial` beside the destination, never a half under its
 * name. What a signal handler has to remove is kept in one list.
 *
 * What Espalier did not write is never deleted: a folder that may be replaced later lists its files in a mark
 * (`mark.ts`), and only a folder that holds nothing else is replaced.
 */
import { lstatSync, mkdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError, toEspalierError } from "../errors.ts";
import { makeFolders } from "./make-folders.ts";
import { strangerIn, writeMark } from "./mark.ts";

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
    await makeFolders(dirname(path));
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

export interface OutputOptions {
  /** The folder gets a mark, so that it may be replaced later. */
  readonly marked?: boolean;
  /** Replace what is there, if Espalier wrote all of it. */
  readonly replace?: boolean;
}

/**
 * Builds a folder. Throws `store/exists` when something is there already. With `replace`, a folder that Espalier wrote is
 * removed after the new one is complete, and put back when the new one cannot take its place; anything else is left alone with
 * `store/exists`. So is what somebody else puts under the name while the folder is built.
 */
export async function withOutputDirectory<T>(
  final: string,
  build: (temporaryPath: string) => Promise<T>,
  options: OutputOptions = {},
): Promise<T> {
  const path = outputPath(final);
  const there = requireReplaceable(path, options);
  const partial = temporaryName(path);
  temporary.add(partial);
  try {
    await makeFolders(partial);
    const result = await build(partial);
    if (options.marked) await writeMark(partial);
    if (there) requireReplaceable(path, options);
    const old = there ? temporaryName(path) : null;
    exchange(partial, path, old);
    if (old) await rm(old, { recursive: true, force: true }).catch(() => undefined);
    return result;
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw toEspalierError(thrown);
  } finally {
    temporary.delete(partial);
  }
}

/** Throws `input/invalid` for a path that names nothing. */
function outputPath(final: string): string {
  if (final.trim() === "")
    throw new EspalierError("input/invalid", "the output has an empty path", {
      hint: "Name a new folder: --out small.",
    });
  return resolve(final);
}

/** Throws `store/exists` when something is at the path of a file to be written. */
export function requireAbsent(final: string): void {
  const path = outputPath(final);
  if (!lstatSync(path, { throwIfNoEntry: false })) return;
  throw new EspalierError("store/exists", `${path} exists already`, { hint: "Choose another --out." });
}

/** Whether something is there. Throws `store/exists` for what may not be replaced. */
export function requireReplaceable(final: string, options: OutputOptions): boolean {
  const path = outputPath(final);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) return false;
  if (!options.replace) throw existsAlready(path);
  const stranger = strangerIn(path);
  if (stranger === null) return true;
  throw new EspalierError("store/exists", `${path} is not replaced: ${stranger}`, {
    hint: "Only what Espalier wrote is replaced. Choose another --out, or move that away yourself.",
  });
}

const existsAlready = (path: string, cause?: unknown): EspalierError =>
  new EspalierError("store/exists", `${path} exists already`, {
    hint: "Choose another --out, remove it, or say --replace.",
    cause,
  });

const hasCode = (thrown: unknown, ...codes: string[]): boolean =>
  thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));

/** Moves what is under `path` to `old` and `partial` to `path`; all or nothing. Synchronous, so that no signal handler comes between. */
function exchange(partial: string, path: string, old: string | null): void {
  let moved = false;
  if (old) {
    try {
      renameSync(path, old);
      moved = true;
    } catch (thrown) {
      if (!hasCode(thrown, "ENOENT")) throw thrown;
    }
  }
  try {
    moveToFreeName(partial, path);
  } catch (thrown) {
    if (!moved || !old) throw thrown;
    try {
      moveToFreeName(old, path);
    } catch {
      throw new EspalierError("store/exists", `${path} was taken while it was replaced; what was there is now ${old}`, {
        hint: "Move one of the two away and run again.",
        cause: thrown,
      });
    }
    throw thrown;
  }
}

/**
 * A rename that never replaces. `rename` alone would replace an empty folder, so the name is claimed with `mkdir`, which
 * fails when anything is there, and the rename replaces that empty folder of ours; it fails if somebody fills it meanwhile.
 */
function moveToFreeName(from: string, path: string): void {
  // On Windows no rename replaces a folder.
  const claim = process.platform !== "win32" && lstatSync(from).isDirectory();
  try {
    if (claim) mkdirSync(path);
  } catch (thrown) {
    throw hasCode(thrown, "EEXIST") ? existsAlready(path, thrown) : thrown;
  }
  try {
    renameSync(from, path);
  } catch (thrown) {
    if (hasCode(thrown, "ENOTEMPTY", "EEXIST", "ENOTDIR", "EISDIR")) throw existsAlready(path, thrown);
    if (claim) rmdirSync(path);
    throw thrown;
  }
}
