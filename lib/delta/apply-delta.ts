/**
 * @file Makes the new file or folder of a delta from the old one, whole or not at all.
 *
 * Old files are checked against the delta before anything is written, new ones before they take their name. The new one is built
 * beside its destination and renamed at the end (`files/atomic.ts`), so a process that dies leaves the old one as it was.
 */
import { createHash, type KeyObject } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { createInflateRaw } from "node:zlib";
import { throwIfCancelled } from "../cancel.ts";
import { EspalierError } from "../errors.ts";
import { requireAbsent, withOutputDirectory, writeAtomically } from "../files/atomic.ts";
import { type ByteRanges, openByteRanges } from "../files/byte-ranges.ts";
import { MARK_FILE } from "../files/mark.ts";
import { type DeltaFile, type DeltaHeader, hashRange, openDelta } from "./delta-file.ts";
import { listedFiles } from "./listed-files.ts";

export interface PatchOptions {
  /** The delta must be signed with this key. */
  readonly trusted?: KeyObject | null;
  /** A folder that Espalier wrote may be replaced; a file never is. */
  readonly replace?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface PatchSummary {
  readonly newBytes: number;
  readonly files: number;
  readonly isSigned: boolean;
}

/**
 * Throws `input/invalid` when `oldRoot` is not what the delta starts from, `store/exists` when something is at `out` and may not
 * be replaced, and as `openDelta`.
 */
export async function applyDelta(
  oldRoot: string,
  deltaPath: string,
  out: string,
  { trusted = null, replace = false, signal, onProgress }: PatchOptions = {},
): Promise<PatchSummary> {
  const delta = await openDelta(deltaPath, trusted);
  const sources: ByteRanges[] = [];
  try {
    const { header } = delta;
    const { isFolder } = await listedFiles(oldRoot);
    if (isFolder !== header.folder)
      throw new EspalierError(
        "input/invalid",
        `${oldRoot} is a ${isFolder ? "folder" : "file"}, ${deltaPath} starts from a ${header.folder ? "folder" : "file"}`,
        { hint: "Give what the delta was made from." },
      );
    for (const known of header.old) sources.push(await checkedSource(oldRoot, known, signal));
    const newBytes = header.new.reduce((n, f) => n + f.sizeBytes, 0);
    let done = 0;
    const progress = (bytes: number): void => {
      throwIfCancelled(signal);
      done += bytes;
      onProgress?.(done, newBytes);
    };
    const build = async (root: string): Promise<void> => {
      const added = new AddedBytes(delta);
      try {
        for (const file of header.new) await writeFile(root, file, sources, added, progress);
      } finally {
        await added.close();
      }
    };
    if (header.folder) {
      const marked = existsSync(join(oldRoot, MARK_FILE));
      await withOutputDirectory(out, build, { marked, replace });
    } else {
      requireAbsent(out);
      await writeAtomically(out, build);
    }
    return { newBytes, files: header.new.length, isSigned: delta.isSigned };
  } finally {
    for (const source of sources) await source.close();
    await delta.file.close();
  }
}

/** An old file, compared with what the delta was made from. */
async function checkedSource(
  root: string,
  known: DeltaHeader["old"][number],
  signal: AbortSignal | undefined,
): Promise<ByteRanges> {
  throwIfCancelled(signal);
  const path = join(root, known.path);
  const file = await openByteRanges(path);
  const found = file.sizeBytes === known.sizeBytes ? (await hashRange(file, 0, file.sizeBytes)).toString("hex") : null;
  if (found === known.sha256) return file;
  await file.close();
  const is = found === null ? `has ${file.sizeBytes} bytes` : `has the SHA-256 ${found.slice(0, 12)}`;
  const wanted = found === null ? `${known.sizeBytes} bytes` : known.sha256.slice(0, 12);
  throw new EspalierError("input/invalid", `${path} ${is}, the delta starts from ${wanted}`, {
    hint: "Give the version that the delta was made from.",
  });
}

/** The added bytes of a delta, taken in order. */
class AddedBytes {
  private readonly pieces: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor({ file, added }: DeltaFile) {
    const compressed = async function* (): AsyncGenerator<Buffer> {
      // A stream reads ahead, and the next piece overwrites this one.
      for await (const piece of file.pieces(added.from, added.to - added.from)) yield Buffer.from(piece);
    };
    this.pieces = Readable.from(compressed(), { objectMode: false }).pipe(createInflateRaw())[Symbol.asyncIterator]();
  }

  /** The next ones, at least one and at most `most`. Throws `format/malformed` after the last. */
  async next(most: number): Promise<Buffer> {
    while (this.rest.length === 0) {
      const next = await this.pieces.next();
      if (next.done)
        throw new EspalierError("format/malformed", "the delta has fewer added bytes than its header says");
      this.rest = next.value;
    }
    const now = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(now.length);
    return now;
  }

  async close(): Promise<void> {
    await this.pieces.return?.();
  }
}

async function writeFile(
  root: string,
  { path, sizeBytes, sha256, parts }: DeltaHeader["new"][number],
  sources: readonly ByteRanges[],
  added: AddedBytes,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const full = join(root, path);
  await mkdir(dirname(full), { recursive: true });
  const file = await open(full, "w");
  const hash = createHash("sha256");
  const put = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    await file.writeFile(bytes);
    onBytes(bytes.length);
  };
  try {
    for (const part of parts) {
      if (part.length === 3) {
        const [source, offset, length] = part;
        const old = sources[source];
        if (old) for await (const piece of old.pieces(offset, length)) await put(piece);
        continue;
      }
      for (let left = part[0]; left > 0; ) {
        const piece = await added.next(left);
        await put(piece);
        left -= piece.length;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const found = hash.digest("hex");
  if (found !== sha256)
    throw new EspalierError(
      "format/malformed",
      `${path || "the new file"} came out with the SHA-256 ${found.slice(0, 12)}, ${sha256.slice(0, 12)} was expected (${sizeBytes} bytes)`,
      { hint: "Make or download the delta again." },
    );
}
