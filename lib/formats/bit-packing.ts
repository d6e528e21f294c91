/**
 * @file Elements of 1, 2, 3, 4, 6 or 8 bits packed into bytes, as Core ML keeps them; our checkpoints do the same.
 *
 * Reference: MIL blob storage v2 (`weight.bin`). One stream, least significant bit first: element i takes the
 * bits [i·b, i·b + b) counted from bit 0 of byte 0, so elements of 3 and 6 bits straddle bytes. Signed elements
 * are two's complement. Row-major, no padding per row; the last byte is filled with zero bits.
 */
import { EspalierError } from "../errors.ts";

export type PackedBits = 1 | 2 | 3 | 4 | 6 | 8;

/** Bytes that `count` elements of `bits` bits take. */
export const packedSizeBytes = (count: number, bits: number): number => Math.ceil((count * bits) / 8);

/** One element per byte in, packed bytes out. Throws `program/type` for an element that `bits` cannot hold. */
export function packBits(values: Uint8Array | Int8Array, bits: PackedBits): Uint8Array {
  const signed = values instanceof Int8Array;
  const least = signed ? -(1 << (bits - 1)) : 0;
  const greatest = signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  const mask = (1 << bits) - 1;
  const out = new Uint8Array(packedSizeBytes(values.length, bits));
  let pending = 0;
  let pendingBits = 0;
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (v < least || v > greatest) {
      throw new EspalierError(
        "program/type",
        `element ${i} is ${v}; ${bits} ${signed ? "signed " : ""}bits hold ${least} to ${greatest}`,
      );
    }
    pending |= (v & mask) << pendingBits;
    pendingBits += bits;
    if (pendingBits >= 8) {
      out[at++] = pending & 0xff;
      pending >>>= 8;
      pendingBits -= 8;
    }
  }
  if (pendingBits > 0) out[at] = pending;
  return out;
}

/** The reverse: `count` elements, one per byte, sign-extended when `signed`. Throws `format/truncated`. */
export function unpackBits(bytes: Uint8Array, bits: PackedBits, count: number, signed: true): Int8Array;
export function unpackBits(bytes: Uint8Array, bits: PackedBits, count: number, signed: false): Uint8Array;
export function unpackBits(bytes: Uint8Array, bits: PackedBits, count: number, signed: boolean): Uint8Array | Int8Array;
export function unpackBits(
  bytes: Uint8Array,
  bits: PackedBits,
  count: number,
  signed: boolean,
): Uint8Array | Int8Array {
  const needed = packedSizeBytes(count, bits);
  if (bytes.length < needed) {
    throw new EspalierError(
      "format/truncated",
      `${count} elements of ${bits} bits need ${needed} bytes, found ${bytes.length}`,
    );
  }
  const out = signed ? new Int8Array(count) : new Uint8Array(count);
  const spare = 32 - bits;
  const value = (v: number): number => (signed ? (v << spare) >> spare : v);
  // Whole elements fill one byte, or three for 3 and 6 bits.
  if (8 % bits === 0) unpackBytes(bytes, bits, out, value);
  else unpackTriples(bytes, bits, out, value);
  return out;
}

/** Every element of a byte by a table of its 256 values. */
function unpackBytes(
  bytes: Uint8Array,
  bits: PackedBits,
  out: Uint8Array | Int8Array,
  value: (v: number) => number,
): void {
  const mask = (1 << bits) - 1;
  const perByte = 8 / bits;
  for (let k = 0; k < perByte; k++) {
    const table = Int16Array.from({ length: 256 }, (_, byte) => value((byte >> (k * bits)) & mask));
    for (let i = k, at = 0; i < out.length; i += perByte) out[i] = table[bytes[at++] as number] as number;
  }
}

function unpackTriples(
  bytes: Uint8Array,
  bits: PackedBits,
  out: Uint8Array | Int8Array,
  value: (v: number) => number,
): void {
  const mask = (1 << bits) - 1;
  const table = Int16Array.from({ length: mask + 1 }, (_, v) => value(v));
  const perGroup = 24 / bits;
  for (let i = 0, at = 0; i < out.length; at += 3) {
    // Bytes past the end are none of the elements.
    let group = (bytes[at] as number) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
    const end = Math.min(out.length, i + perGroup);
    for (; i < end; group >>>= bits) out[i++] = table[group & mask] as number;
  }
}

/** As `unpackBits` without sign, of packed bytes that come in pieces of any length: eight elements of b bits are b bytes. */
export async function* unpackPieces(
  pieces: AsyncIterable<ArrayLike<number>>,
  bits: PackedBits,
  count: number,
): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array(0);
  let left = count;
  for await (const piece of pieces) {
    const all = new Uint8Array(rest.length + piece.length);
    all.set(rest);
    all.set(piece, rest.length);
    const elements = Math.min(left, 8 * Math.floor(all.length / bits));
    if (elements > 0) yield unpackBits(all, bits, elements, false);
    left -= elements;
    rest = all.slice(packedSizeBytes(elements, bits));
  }
  if (left > 0) yield unpackBits(rest, bits, left, false);
}
