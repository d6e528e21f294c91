/** @file Bytes on their way into or out of a store, hashed as they pass. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type ArtifactSource, damaged, type StoredArtifact, storeFailure } from "./store.ts";

const chunkBytes = 1 << 20;
const staleMs = 24 * 3600_000;

export const readFileStream = (path: string): Readable => createReadStream(path, { highWaterMark: chunkBytes });

export const openSource = (source: ArtifactSource): AsyncIterable<Uint8Array> =>
  "path" in source ? readFileStream(source.path) : source;

/** Digest and size of what a file holds. */
export async function hashFile(path: string): Promise<StoredArtifact> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of readFileStream(path)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { sha256: hash.digest("hex"), sizeBytes };
}

/** Writes the source to a new file and flushes it to the disk. The file stays when this throws. */
export async function writeHashed(source: AsyncIterable<Uint8Array>, path: string): Promise<StoredArtifact> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  await pipeline(
    source,
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        sizeBytes += chunk.byteLength;
        yield chunk;
      }
    },
    createWriteStream(path, { flags: "wx", flush: true }),
  );
  return { sha256: hash.digest("hex"), sizeBytes };
}

/** The same bytes; fails at the end with `store/io` when they do not have the digest, after `onDamage`. */
export function verified(
  bytes: Readable,
  sha256: string,
  where: string,
  onDamage: () => Promise<void> = async () => undefined,
): Readable {
  const check = async function* (): AsyncGenerator<Uint8Array> {
    const hash = createHash("sha256");
    try {
      for await (const chunk of bytes) {
        hash.update(chunk);
        yield chunk;
      }
    } finally {
      bytes.destroy();
    }
    const found = hash.digest("hex");
    if (found === sha256) return;
    await onDamage();
    throw damaged(sha256, where, found);
  };
  return Readable.from(check(), { objectMode: false, highWaterMark: chunkBytes });
}

/** Runs `use` with the path of a file that holds the source: the file itself, or a temporary one in `folder`. */
export async function withSourceFile<T>(
  source: ArtifactSource,
  folder: string,
  use: (path: string, stored: StoredArtifact) => Promise<T>,
): Promise<T> {
  if ("path" in source) return use(source.path, await hashFile(source.path));
  const path = await temporaryFile(folder);
  try {
    return await use(path, await writeHashed(source, path));
  } finally {
    await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Writes what is opened to `path` when it has that digest, and nothing otherwise. */
export async function download(
  open: () => Promise<Readable>,
  given: { sha256: string; path: string; where: string; readOnly: boolean | undefined },
): Promise<void> {
  const final = resolve(given.path);
  let partial: string | null = null;
  try {
    const bytes = await open();
    partial = await temporaryFile(dirname(final));
    const { sha256: found } = await writeHashed(bytes, partial);
    if (found !== given.sha256) throw damaged(given.sha256, given.where, found);
    if (given.readOnly) await chmod(partial, 0o444);
    await rename(partial, final);
  } catch (thrown) {
    throw storeFailure(thrown, `${given.where} → ${dirname(final)}`);
  } finally {
    if (partial) await rm(partial, { force: true }).catch(() => undefined);
  }
}

/** A name no other process takes, in a folder that exists. */
export async function temporaryFile(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  return join(folder, `${randomUUID()}.partial`);
}

/** Removes what killed processes left in a folder of temporary files more than a day ago. */
export async function removeStale(folder: string, nowMs: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const there = await stat(path).catch(() => null);
    if (there && nowMs - there.mtimeMs > staleMs)
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}
