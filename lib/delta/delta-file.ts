/**
 * @file The layout of a delta: what turns one file or folder into another.
 *
 *   8    "ESPDELTA"
 *   4    version, 1 (little-endian, as all numbers)
 *   …    added bytes of all files in order, one raw deflate stream
 *   …    the header: JSON, raw deflate
 *   8 8  where the header begins, and its bytes
 *   32   SHA-256 of everything before
 *   64   Ed25519 signature of that SHA-256, or zeros
 *
 * Numbers of the header are bytes. A part of a file is [source, offset, length], a range of an old file, or [length], that many
 * added bytes. SHA-256 of every old and new file is in the header, so that a wrong or damaged one is noticed before anything
 * takes its place.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { inflateRawSync } from "node:zlib";
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import { type ByteRanges, openByteRanges } from "../files/byte-ranges.ts";

export const MAGIC = "ESPDELTA";
export const PREAMBLE_BYTES = 12;
export const TRAILER_BYTES = 8 + 8 + 32 + 64;
const MOST_HEADER_BYTES = 256 * 2 ** 20;
/** Hashed or copied at a time. */
export const PIECE_BYTES = 1 << 20;

const size = z.number().int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Below the folder, with single slashes; empty for a delta of one file. */
const path = z
  .string()
  .refine(
    (p) => p === "" || (p === posix.normalize(p) && !posix.isAbsolute(p) && !p.startsWith("..") && !/[\\\0]/.test(p)),
    "is no path inside a folder",
  );
const part = z.union([z.tuple([size, size, size]), z.tuple([size])]);
export const deltaHeader = z.object({
  /** Whether old and new are folders. */
  folder: z.boolean(),
  old: z.array(z.object({ path, sizeBytes: size, sha256 })),
  new: z.array(z.object({ path, sizeBytes: size, sha256, parts: z.array(part) })),
});
export type DeltaHeader = z.infer<typeof deltaHeader>;
export type DeltaPart = z.infer<typeof part>;

const malformed = (path: string, what: string): EspalierError =>
  new EspalierError("format/malformed", `${path} ${what}`, { hint: "Make or download the delta again." });

export interface DeltaFile {
  readonly file: ByteRanges;
  readonly header: DeltaHeader;
  /** Where the added bytes lie, compressed. */
  readonly added: { readonly from: number; readonly to: number };
  readonly isSigned: boolean;
}

/** SHA-256 of a range of a file. */
export async function hashRange(file: ByteRanges, from: number, length: number): Promise<Buffer> {
  const hash = createHash("sha256");
  for await (const piece of file.pieces(from, length)) hash.update(piece);
  return hash.digest();
}

/**
 * Opens a delta and checks all of it against its own hash, and its signature against `trusted` where one is given. Throws
 * `format/malformed`, `format/truncated`, `access/denied`.
 */
export async function openDelta(path: string, trusted: KeyObject | null): Promise<DeltaFile> {
  const file = await openByteRanges(path);
  try {
    if (file.sizeBytes < PREAMBLE_BYTES + TRAILER_BYTES) throw malformed(path, "is too short for a delta");
    const preamble = Buffer.from(await file.read(0, PREAMBLE_BYTES));
    if (preamble.toString("latin1", 0, 8) !== MAGIC)
      throw malformed(path, `is no delta: it does not begin with ${MAGIC}`);
    const version = preamble.readUInt32LE(8);
    if (version !== 1)
      throw new EspalierError("format/unsupported", `${path} is a delta of version ${version}, 1 is known`, {
        hint: "Use a newer Espalier.",
      });
    const body = file.sizeBytes - TRAILER_BYTES;
    const trailer = Buffer.from(await file.read(body, TRAILER_BYTES));
    const [digest, signature] = [trailer.subarray(16, 48), trailer.subarray(48)];
    // The two numbers before it are covered too.
    const actual = await hashRange(file, 0, body + 16);
    if (!actual.equals(digest)) throw malformed(path, "is damaged or cut short: its SHA-256 is another");
    const isSigned = signature.some((b) => b !== 0);
    if (trusted && !(isSigned && verify(null, digest, trusted, signature)))
      throw new EspalierError(
        "access/denied",
        isSigned ? `${path} is signed with another key` : `${path} is not signed`,
        { hint: "Take the delta from somebody whose key you have, or leave out --trust." },
      );
    const [at, length] = [Number(trailer.readBigUInt64LE(0)), Number(trailer.readBigUInt64LE(8))];
    if (at < PREAMBLE_BYTES || length > MOST_HEADER_BYTES || at + length !== body)
      throw malformed(path, `has a header of ${length} bytes at ${at}, which is not where it ends`);
    return { file, header: await headerAt(file, at, length), added: { from: PREAMBLE_BYTES, to: at }, isSigned };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

async function headerAt(file: ByteRanges, at: number, length: number): Promise<DeltaHeader> {
  let value: unknown;
  try {
    const text = inflateRawSync(await file.read(at, length), { maxOutputLength: MOST_HEADER_BYTES });
    value = JSON.parse(text.toString("utf8"));
  } catch (cause) {
    throw new EspalierError("format/malformed", `the header of ${file.path} cannot be read`, { cause });
  }
  const header = deltaHeader.safeParse(value);
  if (!header.success) {
    const issue = header.error.issues[0];
    throw malformed(file.path, `has a wrong header: ${issue?.path.join(".")} ${issue?.message}`);
  }
  for (const { path, sizeBytes, parts } of header.data.new) {
    let total = 0;
    for (const p of parts) {
      const old = p.length === 3 ? header.data.old[p[0]] : undefined;
      if (p.length === 3 && (!old || p[1] + p[2] > old.sizeBytes))
        throw malformed(file.path, `copies bytes that no old file has (${p.join(", ")})`);
      total += p.length === 3 ? p[2] : p[0];
    }
    if (total !== sizeBytes) throw malformed(file.path, `makes ${total} bytes of ${path}, which has ${sizeBytes}`);
  }
  return header.data;
}

/** The end of a delta whose bytes before it have this hash so far; signed where there is a key. */
export function trailerOf(
  at: number,
  length: number,
  soFar: { update(data: Uint8Array): unknown; digest(): Buffer },
  key: KeyObject | null,
): Buffer {
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64LE(BigInt(at), 0);
  numbers.writeBigUInt64LE(BigInt(length), 8);
  soFar.update(numbers);
  const digest = soFar.digest();
  return Buffer.concat([numbers, digest, key ? sign(null, digest, key) : Buffer.alloc(64)]);
}

/** An Ed25519 key in PEM. Throws `input/invalid` for another kind, `model/missing-file`. */
export async function readKey(path: string, kind: "private" | "public"): Promise<KeyObject> {
  const pem = await readFile(path).catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `cannot read the key ${path}`, { hint: "Check the path.", cause });
  });
  let key: KeyObject | null = null;
  try {
    key = kind === "private" ? createPrivateKey(pem) : createPublicKey(pem);
  } catch {
    // Said below, with the other wrong kinds.
  }
  if (key?.asymmetricKeyType === "ed25519") return key;
  throw new EspalierError("input/invalid", `${path} is no ${kind} Ed25519 key in PEM`, {
    hint: "openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem",
  });
}
