/**
 * @file The bytes of GGUF blocks from codes and scales that exist.
 *
 * The inverse of `dequantize.ts` and `k-quants.ts`, which say what each type computes. Codes are unsigned but for Q8_0: where a type
 * subtracts 8 or 32, or looks a value up, that is in the code already. fp16 numbers are rounded here.
 *
 * Reference: `ggml-common.h` and `ggml-quants.c` of ggml-org/ggml.
 */
import { toFloat16Bits } from "../../float16.ts";
export type BlockType =
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "IQ4_NL"
  | "IQ4_XS";

/** A block of 32 or 256 elements before it is packed. */
export interface Block {
  d: number;
  /** m of Q4_1 and Q5_1, which is added; dmin of the K types, which is subtracted. */
  m: number;
  /** Of sub-blocks, as the format subtracts nothing from them: signed where the type's are. */
  readonly scales: Int32Array; // (sub-blocks)
  readonly minima: Int32Array; // (sub-blocks)
  readonly codes: Int32Array; // (elements)
}

export const emptyBlock = (elements: number): Block => ({
  d: 0,
  m: 0,
  scales: new Int32Array(16),
  minima: new Int32Array(16),
  codes: new Int32Array(elements),
});

/** `out` is exactly one block, and all 0. */
type Packer = (block: Block, out: Uint8Array) => void;

const packers: Readonly<Record<BlockType, Packer>> = {
  Q4_0: (b, out) => halves(b.codes, out, half(b.d, out, 0)),
  Q4_1: (b, out) => halves(b.codes, out, half(b.m, out, half(b.d, out, 0))),
  Q5_0: (b, out) => halves(b.codes, out, fifthBits(b.codes, out, half(b.d, out, 0))),
  Q5_1: (b, out) => halves(b.codes, out, fifthBits(b.codes, out, half(b.m, out, half(b.d, out, 0)))),
  Q8_0: (b, out) => out.set(b.codes, half(b.d, out, 0)),
  IQ4_NL: (b, out) => halves(b.codes, out, half(b.d, out, 0)),
  Q2_K: packQ2K,
  Q3_K: packQ3K,
  Q4_K: packQ4K,
  Q5_K: packQ5K,
  Q6_K: packQ6K,
  IQ4_XS: packIQ4XS,
};

export function packBlock(type: BlockType, block: Block, out: Uint8Array): void {
  packers[type](block, out);
}

/** Writes an fp16 number and returns where it ends. */
function half(v: number, out: Uint8Array, at: number): number {
  const word = toFloat16Bits(v);
  out[at] = word & 255;
  out[at + 1] = word >> 8;
  return at + 2;
}

const at = (values: Int32Array, i: number): number => values[i] ?? 0;
const or = (out: Uint8Array, i: number, bits: number): void => {
  out[i] = (out[i] ?? 0) | bits;
};

/** Four bits of each of 32 codes: byte j has element j and, in its high half, element j + 16. */
function halves(codes: Int32Array, out: Uint8Array, start: number): void {
  for (let j = 0; j < 16; j++) out[start + j] = (at(codes, j) & 15) | ((at(codes, j + 16) & 15) << 4);
}

function fifthBits(codes: Int32Array, out: Uint8Array, start: number): number {
  for (let i = 0; i < 32; i++) or(out, start + (i >> 3), ((at(codes, i) >> 4) & 1) << (i & 7));
  return start + 4;
}

/** Two bits of each of 256 codes: four to a byte, 32 apart. */
function quarters(codes: Int32Array, out: Uint8Array, start: number, shift: number): void {
  for (let e = 0; e < 256; e++)
    or(out, start + 32 * (e >> 7) + (e & 31), ((at(codes, e) >> shift) & 3) << (2 * ((e >> 5) & 3)));
}

/** Four bits of each of 256 codes: two to a byte, 32 apart. */
function nibbles(codes: Int32Array, out: Uint8Array, start: number): void {
  for (let e = 0; e < 256; e++) or(out, start + 32 * (e >> 6) + (e & 31), (at(codes, e) & 15) << (4 * ((e >> 5) & 1)));
}

/** Eight 6-bit scales and minima in 12 bytes. */
function sixBitPairs({ scales, minima }: Block, out: Uint8Array, start: number): void {
  for (let s = 0; s < 8; s++) {
    const [scale, minimum] = [at(scales, s), at(minima, s)];
    if (s < 4) {
      or(out, start + s, scale);
      or(out, start + 4 + s, minimum);
    } else {
      out[start + 4 + s] = (scale & 15) | ((minimum & 15) << 4);
      or(out, start + s - 4, (scale >> 4) << 6);
      or(out, start + s, (minimum >> 4) << 6);
    }
  }
}

function packQ2K(b: Block, out: Uint8Array): void {
  for (let s = 0; s < 16; s++) out[s] = at(b.scales, s) | (at(b.minima, s) << 4);
  quarters(b.codes, out, 16, 0);
  half(b.m, out, half(b.d, out, 80));
}

function packQ3K(b: Block, out: Uint8Array): void {
  for (let e = 0; e < 256; e++) or(out, e & 31, ((at(b.codes, e) >> 2) & 1) << (e >> 5));
  quarters(b.codes, out, 32, 0);
  for (let s = 0; s < 16; s++) {
    const scale = at(b.scales, s) + 32;
    or(out, 96 + (s & 7), (scale & 15) << (s < 8 ? 0 : 4));
    or(out, 104 + (s & 3), (scale >> 4) << (2 * (s >> 2)));
  }
  half(b.d, out, 108);
}

function packQ4K(b: Block, out: Uint8Array): void {
  half(b.m, out, half(b.d, out, 0));
  sixBitPairs(b, out, 4);
  nibbles(b.codes, out, 16);
}

function packQ5K(b: Block, out: Uint8Array): void {
  half(b.m, out, half(b.d, out, 0));
  sixBitPairs(b, out, 4);
  for (let e = 0; e < 256; e++) or(out, 16 + (e & 31), ((at(b.codes, e) >> 4) & 1) << (e >> 5));
  nibbles(b.codes, out, 48);
}

function packQ6K(b: Block, out: Uint8Array): void {
  for (let e = 0; e < 256; e++) or(out, 64 * (e >> 7) + (e & 63), (at(b.codes, e) & 15) << (4 * ((e >> 6) & 1)));
  quarters(b.codes, out, 128, 4);
  for (let s = 0; s < 16; s++) out[192 + s] = at(b.scales, s);
  half(b.d, out, 208);
}

/** d, 2 bits of each scale, 4 bits of each scale, codes as in IQ4_NL for each 32. */
function packIQ4XS(b: Block, out: Uint8Array): void {
  half(b.d, out, 0);
  for (let s = 0; s < 8; s++) {
    const scale = at(b.scales, s) + 32;
    or(out, 2 + (s >> 2), (scale >> 4) << (2 * (s & 3)));
    or(out, 4 + (s >> 1), (scale & 15) << (4 * (s & 1)));
    halves(b.codes.subarray(32 * s, 32 * s + 32), out, 8 + 16 * s);
  }
}
