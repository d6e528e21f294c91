/**
 * @file The hash that names a package: over all its files, computable on any machine and on a phone.
 *
 * One line per file, `<sha256> <sizeBytes> <path>\n`, sorted by the bytes of the path (forward slashes, relative to the
 * .mlpackage); the hash is the SHA-256 of these lines in UTF-8. Times, modes and empty folders do not count; hidden files
 * (`.DS_Store`) are left out. The Swift twin is `PackageHash.swift` of the probe.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";

export interface HashedFile {
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface PackageHash {
  readonly sha256: string;
  /** Of `weight.bin`, when there is one. */
  readonly weightsSha256: string | null;
  readonly sizeBytes: number;
}

const WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin";

/** From files that were hashed already, paths relative to the package. */
export function hashOfFiles(files: readonly HashedFile[]): PackageHash {
  const shown = files.filter((f) => !f.path.split("/").some((part) => part.startsWith(".")));
  const sorted = [...shown].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const hash = createHash("sha256");
  for (const f of sorted) hash.update(`${f.sha256} ${f.sizeBytes} ${f.path}\n`);
  return {
    sha256: hash.digest("hex"),
    weightsSha256: shown.find((f) => f.path === WEIGHTS)?.sha256 ?? null,
    sizeBytes: shown.reduce((n, f) => n + f.sizeBytes, 0),
  };
}

/** Of an `.mlpackage` folder; files are streamed. */
export async function hashPackage(folder: string): Promise<PackageHash> {
  const files: HashedFile[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const hash = createHash("sha256");
    let sizeBytes = 0;
    for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      sizeBytes += chunk.length;
    }
    files.push({ path: relative(folder, path).split(sep).join("/"), sha256: hash.digest("hex"), sizeBytes });
  }
  return hashOfFiles(files);
}
