/**
 * @file Where large things lie: files by the SHA-256 of their bytes, never changed once there.
 *
 * A store never takes a name from outside for a path: a digest is 64 hexadecimal digits or it is refused. What is put
 * appears whole or not at all; what is fetched is checked against its digest before it gets its name.
 */
import type { Readable } from "node:stream";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";

export type ArtifactSource = AsyncIterable<Uint8Array> | { readonly path: string };

export interface StoredArtifact {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Bytes `start` to `end`, both included, counted from 0. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface ArtifactStore {
  /** Keeps the bytes; the same bytes again change nothing. Throws `store/disk-full`, `store/io`, `access/denied`. */
  put(source: ArtifactSource): Promise<StoredArtifact>;
  has(sha256: string): Promise<boolean>;
  /** Bytes, or null when it is not there. */
  sizeOf(sha256: string): Promise<number | null>;
  /**
   * Throws `store/io` when it is not there. A stream of the whole fails at its end with `store/io` when the bytes do not have
   * their digest; a range is not checked.
   */
  read(sha256: string, range?: ByteRange): Promise<Readable>;
  /**
   * Writes a file that is whole and has that digest, or none; replaces what is there. With `readOnly` the caller promises
   * never to write into the file, which then may share its bytes with the store; otherwise it is the caller's own copy.
   */
  fetchTo(sha256: string, path: string, options?: { readonly readOnly?: boolean }): Promise<void>;
}

const digestPattern = /^[0-9a-f]{64}$/;

export const isDigest = (text: string): boolean => digestPattern.test(text);

/** Throws `input/invalid` for anything but 64 lower-case hexadecimal digits, so that no name leads out of the store. */
export function checkDigest(sha256: string): string {
  if (!isDigest(sha256))
    throw new EspalierError("input/invalid", `${JSON.stringify(String(sha256).slice(0, 80))} is not a SHA-256`, {
      hint: "An artifact is named by 64 lower-case hexadecimal digits.",
    });
  return sha256;
}

export const notThere = (sha256: string, where: string): EspalierError =>
  new EspalierError("store/io", `the artifact ${sha256} is not in ${where}`, {
    hint: "Check that ARTIFACTS_URL and ESPALIER_DATA name the store it was put into.",
  });

export const damaged = (sha256: string, where: string, found: string): EspalierError =>
  new EspalierError("store/io", `the artifact ${sha256} in ${where} is damaged: its bytes have the digest ${found}`, {
    hint: "Import or compute it again; this replaces it with a good copy.",
  });

/** A failure of a store; running out of space says what to do about a store rather than about an output folder. */
export function storeFailure(thrown: unknown, where: string): EspalierError {
  if (thrown instanceof EspalierError) return thrown;
  const failure = toEspalierError(thrown);
  if (failure.code === "store/disk-full")
    return new EspalierError("store/disk-full", `no space left in ${where}: ${failure.message}`, {
      hint: "Free some space, or move ESPALIER_DATA or ARTIFACTS_URL to a larger disk.",
      cause: thrown,
    });
  return new EspalierError("store/io", `${where}: ${failure.message}`, {
    ...(failure.hint === undefined || failure.code === "internal/invariant" ? {} : { hint: failure.hint }),
    cause: thrown,
  });
}
