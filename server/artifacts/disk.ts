/**
 * @file The artifact store on a disk: `ab/abcdef…`, written under another name first, read-only once there.
 *
 * Several processes, and several machines over a shared folder, may use one folder: every step that others can see is one
 * rename. A file whose bytes turn out wrong is moved aside, so that putting it again heals the store.
 */
import { constants, createReadStream } from "node:fs";
import { chmod, copyFile, link, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { hashFile, openSource, readFileStream, removeStale, temporaryFile, verified, writeHashed } from "./digest.ts";
import { type ArtifactStore, checkDigest, damaged, notThere, storeFailure } from "./store.ts";

export function diskStore(folder: string): ArtifactStore {
  const root = resolve(folder);
  const incoming = join(root, "incoming");
  const pathOf = (sha256: string): string => join(root, checkDigest(sha256).slice(0, 2), sha256);
  const swept = removeStale(incoming, Date.now());

  const sizeOf = async (sha256: string): Promise<number | null> => {
    const path = pathOf(sha256);
    try {
      const there = await stat(path);
      return there.isFile() ? there.size : null;
    } catch (thrown) {
      if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return null;
      throw storeFailure(thrown, root);
    }
  };

  const setAside = async (sha256: string): Promise<void> => {
    const path = pathOf(sha256);
    // Somebody may have put a good copy in its place meanwhile.
    if ((await hashFile(path).catch(() => null))?.sha256 === sha256) return;
    await rename(path, `${path}.damaged`).catch(() => undefined);
  };

  const has = async (sha256: string): Promise<boolean> => (await sizeOf(sha256)) !== null;

  return {
    has,
    sizeOf,

    async put(source) {
      await swept;
      let partial: string | null = null;
      try {
        // What is there already is not written again: the tokenizer of twenty pruned models is one file.
        if ("path" in source) {
          const stored = await hashFile(source.path);
          if ((await sizeOf(stored.sha256)) === stored.sizeBytes) return stored;
        }
        partial = await temporaryFile(incoming);
        const stored = await writeHashed(openSource(source), partial);
        if ((await sizeOf(stored.sha256)) !== stored.sizeBytes) {
          const path = pathOf(stored.sha256);
          await mkdir(dirname(path), { recursive: true });
          await chmod(partial, 0o444);
          await rename(partial, path);
          await flushFolder(dirname(path));
        }
        return stored;
      } catch (thrown) {
        throw storeFailure(thrown, root);
      } finally {
        if (partial) await rm(partial, { force: true }).catch(() => undefined);
      }
    },

    async read(sha256, range): Promise<Readable> {
      if (!(await has(sha256))) throw notThere(sha256, root);
      const path = pathOf(sha256);
      return range
        ? createReadStream(path, range)
        : verified(readFileStream(path), sha256, root, () => setAside(sha256));
    },

    async fetchTo(sha256, path, options = {}) {
      const kept = pathOf(sha256);
      if (!(await has(sha256))) throw notThere(sha256, root);
      const final = resolve(path);
      let partial: string | null = null;
      try {
        partial = await temporaryFile(dirname(final));
        // A second name for the same bytes costs nothing, but a writer would change the store: only for those who never write.
        if (!(options.readOnly && (await linked(kept, partial)))) {
          await copyFile(kept, partial, constants.COPYFILE_FICLONE);
          await chmod(partial, options.readOnly ? 0o444 : 0o644);
        }
        const { sha256: found } = await hashFile(partial);
        if (found !== sha256) {
          await setAside(sha256);
          throw damaged(sha256, root, found);
        }
        await rename(partial, final);
      } catch (thrown) {
        throw storeFailure(thrown, dirname(final));
      } finally {
        // Renaming one name of a file onto another name of it does nothing and leaves both.
        if (partial) await rm(partial, { force: true }).catch(() => undefined);
      }
    },
  };
}

/** False where the file system cannot: another disk, or one without hard links. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch {
    return false;
  }
}

/** A rename survives a power cut only once its folder is on the disk; not every system lets one ask. */
async function flushFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    return;
  }
}
