/**
 * @file A file that is read by byte range, so that it is never in memory as a whole.
 */
import { type FileHandle, open } from "node:fs/promises";
import { EspalierError } from "../errors.ts";

const PIECE_BYTES = 1 << 20;

export interface ByteRanges {
  readonly path: string;
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`, in an allocation of their own, so that typed arrays over them are aligned. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The bytes of a range in pieces, all in one buffer that the next piece overwrites. */
  pieces(offset: number, length: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** Throws `model/missing-file`; reading past the end throws `format/truncated`. */
export async function openByteRanges(path: string): Promise<ByteRanges> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `cannot open ${path}`, {
      hint: "Check the path and its permissions.",
      cause,
    });
  });
  try {
    const { size } = await file.stat();
    return {
      path,
      sizeBytes: size,
      read: (offset, length) => fill(new Uint8Array(length), file, offset, path),
      pieces: (offset, length) => pieces(file, offset, length, path),
      close: () => file.close(),
    };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

async function* pieces(file: FileHandle, offset: number, length: number, path: string): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(Math.min(length, PIECE_BYTES));
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const piece = buffer.subarray(0, Math.min(length - at, PIECE_BYTES));
    yield fill(piece, file, offset + at, path);
  }
}

/** Reads into all of `bytes`, and gives it back. */
async function fill<B extends Uint8Array>(bytes: B, file: FileHandle, offset: number, path: string): Promise<B> {
  const { length } = bytes;
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(bytes, at, Math.min(length - at, 1 << 30), offset + at);
    if (bytesRead === 0)
      throw new EspalierError("format/truncated", `${path} ends at byte ${offset + at}, ${length - at} bytes early`, {
        hint: "Download the file again.",
      });
    at += bytesRead;
  }
  return bytes;
}
