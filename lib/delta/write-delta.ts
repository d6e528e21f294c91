/**
 * @file Writes what turns one package, GGUF or checkpoint into another: ranges of old bytes, and the bytes that are new.
 *
 * Old files are cut into chunks by their content and remembered by their SHA-256; a chunk of a new file that is known becomes a
 * range, and neighbouring ranges become one. Memory holds the hashes of the old chunks, about a hundred bytes for every 8 kB.
 */
import { createHash, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { createDeflateRaw, deflateRawSync } from "node:zlib";
import { throwIfCancelled } from "../cancel.ts";
import { EspalierError } from "../errors.ts";
import { requireAbsent, writeAtomically } from "../files/atomic.ts";
import { type ByteRanges, openByteRanges } from "../files/byte-ranges.ts";
import { eventLoopTurn } from "../turn.ts";
import { firstChunk, MOST_BYTES } from "./content-chunks.ts";
import { type DeltaHeader, type DeltaPart, MAGIC, PIECE_BYTES, PREAMBLE_BYTES, trailerOf } from "./delta-file.ts";
import { listedFiles } from "./listed-files.ts";

export interface DeltaSummary {
  readonly oldBytes: number;
  readonly newBytes: number;
  /** Of the new files, those that no old file has. */
  readonly addedBytes: number;
  /** Of the delta itself. */
  readonly sizeBytes: number;
  readonly files: readonly { readonly path: string; readonly sizeBytes: number; readonly addedBytes: number }[];
}

export interface DeltaOptions {
  readonly signingKey?: KeyObject | null;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

interface OldRange {
  readonly source: number;
  readonly offset: number;
}

/** The chunks of a file in order; each is valid until the next is asked for. */
async function* chunksOf(file: ByteRanges): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let at = 0;
  while (at < file.sizeBytes || rest.length > 0) {
    const length = Math.min(PIECE_BYTES, file.sizeBytes - at);
    if (length > 0) rest = Buffer.concat([rest, await file.read(at, length)]);
    at += length;
    let from = 0;
    // The last bytes of a piece may go on in the next.
    while (from < rest.length && (rest.length - from >= MOST_BYTES || at === file.sizeBytes)) {
      const chunk = rest.subarray(from, from + firstChunk(rest.subarray(from)));
      yield chunk;
      from += chunk.length;
    }
    rest = rest.subarray(from);
    await eventLoopTurn();
  }
}

const hashOf = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** Throws `input/invalid` when one is a file and the other a folder, `store/exists` when something is at `out`. */
export async function writeDelta(
  oldRoot: string,
  newRoot: string,
  out: string,
  { signingKey = null, signal, onProgress }: DeltaOptions = {},
): Promise<DeltaSummary> {
  requireAbsent(out);
  const [before, after] = [await listedFiles(oldRoot), await listedFiles(newRoot)];
  if (before.isFolder !== after.isFolder)
    throw new EspalierError(
      "input/invalid",
      `${oldRoot} is a ${before.isFolder ? "folder" : "file"}, ${newRoot} is a ${after.isFolder ? "folder" : "file"}`,
      { hint: "Give two files or two folders." },
    );
  const sizes = new Map<string, number>();
  for (const [root, { paths }] of [
    [oldRoot, before],
    [newRoot, after],
  ] as const)
    for (const path of paths) {
      const file = await openByteRanges(join(root, path));
      sizes.set(join(root, path), file.sizeBytes);
      await file.close();
    }
  const total = [...sizes.values()].reduce((a, b) => a + b, 0);
  let done = 0;
  const progress = (bytes: number): void => {
    throwIfCancelled(signal);
    done += bytes;
    onProgress?.(done, total);
  };

  const known = new Map<string, OldRange>();
  const old: DeltaHeader["old"] = [];
  for (const [source, path] of before.paths.entries()) {
    const file = await openByteRanges(join(oldRoot, path));
    try {
      const whole = createHash("sha256");
      let offset = 0;
      for await (const chunk of chunksOf(file)) {
        whole.update(chunk);
        const key = hashOf(chunk).toString("base64");
        if (!known.has(key)) known.set(key, { source, offset });
        offset += chunk.length;
        progress(chunk.length);
      }
      old.push({ path, sizeBytes: offset, sha256: whole.digest("hex") });
    } finally {
      await file.close();
    }
  }

  let summary: DeltaSummary | null = null;
  await writeAtomically(out, async (partial) => {
    const written = createWriteStream(partial);
    const everything = createHash("sha256");
    let sizeBytes = 0;
    const put = async (bytes: Uint8Array): Promise<void> => {
      everything.update(bytes);
      sizeBytes += bytes.length;
      if (!written.write(bytes)) await once(written, "drain");
    };
    const preamble = Buffer.alloc(PREAMBLE_BYTES);
    preamble.write(MAGIC, "latin1");
    preamble.writeUInt32LE(1, 8);
    await put(preamble);
    const deflate = createDeflateRaw({ level: 6 });
    const drained = (async () => {
      for await (const piece of deflate) await put(piece as Buffer);
    })();
    const files: DeltaHeader["new"] = [];
    const sums: DeltaSummary["files"][number][] = [];
    for (const path of after.paths) {
      const file = await openByteRanges(join(newRoot, path));
      try {
        const whole = createHash("sha256");
        const parts: DeltaPart[] = [];
        let addedBytes = 0;
        for await (const chunk of chunksOf(file)) {
          whole.update(chunk);
          const range = known.get(hashOf(chunk).toString("base64"));
          if (range) append(parts, [range.source, range.offset, chunk.length]);
          else {
            append(parts, [chunk.length]);
            addedBytes += chunk.length;
            // The chunk's memory is used again once the next is asked for.
            if (!deflate.write(Buffer.from(chunk))) await once(deflate, "drain");
          }
          progress(chunk.length);
        }
        files.push({ path, sizeBytes: file.sizeBytes, sha256: whole.digest("hex"), parts });
        sums.push({ path, sizeBytes: file.sizeBytes, addedBytes });
      } finally {
        await file.close();
      }
    }
    deflate.end();
    await drained;
    const at = sizeBytes;
    const used = usedSources(old, files);
    const header = deflateRawSync(JSON.stringify({ folder: before.isFolder, ...used } satisfies DeltaHeader));
    await put(header);
    const trailer = trailerOf(at, header.length, everything, signingKey);
    sizeBytes += trailer.length;
    written.end(trailer);
    await finished(written);
    const sum = (list: readonly { sizeBytes: number }[]): number => list.reduce((n, f) => n + f.sizeBytes, 0);
    const addedBytes = sums.reduce((n, f) => n + f.addedBytes, 0);
    summary = { oldBytes: sum(old), newBytes: sum(files), addedBytes, sizeBytes, files: sums };
  });
  if (!summary) throw new EspalierError("internal/invariant", "internal: a delta was written without a summary");
  return summary;
}

/** Adds a part, joined to the last where it goes on from it. */
function append(parts: DeltaPart[], next: DeltaPart): void {
  const last = parts.at(-1);
  if (last?.length === 3 && next.length === 3 && last[0] === next[0] && last[1] + last[2] === next[1])
    last[2] += next[2];
  else if (last?.length === 1 && next.length === 1) last[0] += next[0];
  else parts.push(next);
}

/** Old files that nothing is copied from are not asked for when the delta is applied. */
function usedSources(old: DeltaHeader["old"], files: DeltaHeader["new"]): Pick<DeltaHeader, "old" | "new"> {
  const used = new Set(files.flatMap((f) => f.parts.flatMap((p) => (p.length === 3 ? [p[0]] : []))));
  const kept = old.filter((_, i) => used.has(i));
  const numberOf = new Map([...used].sort((a, b) => a - b).map((source, i) => [source, i]));
  const renumbered = files.map((f) => ({
    ...f,
    parts: f.parts.map((p): DeltaPart => (p.length === 3 ? [numberOf.get(p[0]) ?? 0, p[1], p[2]] : p)),
  }));
  return { old: kept, new: renumbered };
}
