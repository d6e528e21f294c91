/**
 * @file A folder as a zip, streamed; the same folder gives the same bytes.
 *
 * Stored, not deflated: weights do not shrink, and the size is known before the first byte, so a browser shows how far it is.
 * Times are all 2000-01-01 in the format's local time, which makes the bytes the same in every time zone.
 */
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join, relative, sep } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ZipFile } from "yazl";

export interface ZipEntry {
  /** With forward slashes, below the folder. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly open: () => Promise<Readable>;
}

/** The plain files below a folder; links are left out, so that nothing outside it is sent. */
export async function folderEntries(folder: string): Promise<ZipEntry[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const entries: ZipEntry[] = [];
  for (const file of found.filter((e) => e.isFile())) {
    const path = join(file.parentPath, file.name);
    entries.push({
      path: relative(folder, path).split(sep).join("/"),
      sizeBytes: (await stat(path)).size,
      open: async () => createReadStream(path),
    });
  }
  return entries;
}

/** The zip, its files below a folder `name`, and its size. Destroying the stream closes what it reads. */
export async function zipStream(
  entries: readonly ZipEntry[],
  name: string,
): Promise<{ stream: Readable; sizeBytes: number }> {
  const zip = new ZipFile();
  const out = new PassThrough();
  let current: Readable | null = null;
  // The types lack the events an emitter of yazl has.
  zip.on("error", (thrown: Error) => out.destroy(thrown));
  out.on("close", () => current?.destroy());
  // The format knows no time zone; a local date is the same digits everywhere.
  const mtime = new Date(2000, 0, 1);
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  for (const { path, sizeBytes, open } of sorted) {
    const options = { mtime, mode: 0o100644, compress: false, forceDosTimestamp: true, size: sizeBytes };
    zip.addReadStreamLazy(`${name}/${path}`, options, (go) => {
      open().then(
        (bytes) => {
          if (out.destroyed) {
            bytes.destroy();
            return;
          }
          current = bytes;
          bytes.on("error", (thrown) => out.destroy(thrown));
          go(null, bytes);
        },
        (thrown: unknown) => out.destroy(thrown instanceof Error ? thrown : new Error(String(thrown))),
      );
    });
  }
  const sizeBytes = await new Promise<number>((resolve) => {
    const told: (size?: number) => void = (size) => resolve(size ?? -1);
    zip.end({ forceZip64Format: false, comment: "" }, told);
  });
  zip.outputStream.pipe(out);
  return { stream: out, sizeBytes };
}

/** A file name for a `Content-Disposition`: plain ASCII, and the real one as RFC 6266 has it. */
export function attachment(fileName: string): string {
  const real = fileName.replaceAll(/[\p{Cc}\p{Cs}/\\]/gu, "-");
  const plain = real.replaceAll(/[^\w.-]/g, "-").replace(/^\.+/, "") || "download";
  const encoded = encodeURIComponent(real).replaceAll(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return plain === real
    ? `attachment; filename="${plain}"`
    : `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

/** Answers with a folder, or with entries from a store, as `name.zip`. A reader that disconnects is not a failure. */
export async function sendZip(
  response: ServerResponse,
  source: string | readonly ZipEntry[],
  name: string,
): Promise<void> {
  const entries = typeof source === "string" ? await folderEntries(source) : source;
  const inner = name.replaceAll(/[\p{Cc}\p{Cs}/\\:]/gu, "-").replace(/^\.+/, "") || "download";
  const { stream, sizeBytes } = await zipStream(entries, inner);
  response.writeHead(200, {
    "content-type": "application/zip",
    "content-length": sizeBytes,
    "content-disposition": attachment(`${name}.zip`),
    "cache-control": "private, no-cache",
    "x-content-type-options": "nosniff",
  });
  if (response.req.method === "HEAD") {
    stream.destroy();
    response.end();
    return;
  }
  try {
    await pipeline(stream, response);
  } catch (thrown) {
    // The head is sent: only a broken connection still says that the file is not whole.
    response.destroy();
    const left = thrown instanceof Error && "code" in thrown && thrown.code === "ERR_STREAM_PREMATURE_CLOSE";
    if (!left) throw thrown;
  }
}
