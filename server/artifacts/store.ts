/** @file Where large things lie: files by the SHA-256 of their bytes, never changed once there. */
import type { Readable } from "node:stream";
import { EspalierError } from "../../lib/errors.ts";

export interface ArtifactStore {
  put(source: AsyncIterable<Uint8Array> | { path: string }): Promise<{ sha256: string; sizeBytes: number }>;
  has(sha256: string): Promise<boolean>;
  /** Throws `store/io` when it is not there. */
  read(sha256: string): Promise<Readable>;
  /** Writes a file that is whole and has that digest, or none. */
  fetchTo(sha256: string, path: string): Promise<void>;
}

/** Throws `input/invalid` for anything but 64 hexadecimal digits, so that no name leads out of the store. */
export function checkDigest(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256))
    throw new EspalierError("input/invalid", `"${sha256.slice(0, 80)}" is no SHA-256`);
  return sha256;
}
