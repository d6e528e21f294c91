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
  const mask = (1 << bits) - 1;
  const spare = 32 - bits;
  const values = Int16Array.from({ length: mask + 1 }, (_, v) => (signed ? (v << spare) >> spare : v));
  // Whole elements fill one byte, or three for 3 and 6 bits.
  const groupBytes = 8 % bits === 0 ? 1 : 3;
  const perGroup = (8 * groupBytes) / bits;
  const whole = count - (count % perGroup);
  let at = 0;
  let i = 0;
  while (i < whole) {
    let group = bytes[at] as number;
    if (groupBytes === 3) group |= ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    at += groupBytes;
    for (let k = 0; k < perGroup; k++) {
      out[i++] = values[group & mask] as number;
      group >>>= bits;
    }
  }
  let last = 0;
  for (let k = 0; at + k < needed; k++) last |= (bytes[at + k] as number) << (8 * k);
  for (; i < count; last >>>= bits) out[i++] = values[last & mask] as number;
  return out;
}
