/**
 * @file The K types of GGUF: blocks of 256 weights that share fp16 scales d and dmin, in sub-blocks with small integer
 * scales s and minima m of their own; and the types whose codes look a value up in a table.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp. Every product and difference is rounded to fp32:
 *   Q2_K  (d·s)q − (dmin·m), sub-blocks of 16, s and m of 4 bits      Q3_K  (d(s − 32))(q − 4h), sub-blocks of 16, h unless
 *   the high bit is set      Q4_K, Q5_K  (d·s)q − (dmin·m), sub-blocks of 32, s and m of 6 bits      Q6_K  (d·s)(q − 32),
 *   sub-blocks of 16, s signed.      IQ4_NL  d T[q], blocks of 32      IQ4_XS  (d(s − 32)) T[q], sub-blocks of 32, s of 6 bits.
 */
import { float16Table } from "../../float16.ts";

const { fround } = Math;
const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;
const half = (table: Float32Array, data: Uint8Array, at: number): number =>
  table[byte(data, at) | (byte(data, at + 1) << 8)] ?? 0;

/** 16 bytes of scales and minima, 64 of codes (four to a byte, 32 apart), d, dmin. */
export function dequantizeQ2K(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 84 * b;
    const d = half(table, data, at + 80);
    const dmin = half(table, data, at + 82);
    for (let s = 0; s < 16; s++) {
      const packed = byte(data, at + s);
      const scale = fround(d * (packed & 15));
      const minimum = fround(dmin * (packed >> 4));
      const codes = at + 16 + 32 * (s >> 3) + 16 * (s & 1);
      const shift = 2 * ((s >> 1) & 3);
      for (let l = 0; l < 16; l++) {
        const q = (byte(data, codes + l) >> shift) & 3;
        out[256 * b + 16 * s + l] = fround(scale * q) - minimum;
      }
    }
  }
}

/** 32 bytes of high bits, 64 of low codes as in Q2_K, 12 of 6-bit scales, d. */
export function dequantizeQ3K(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 110 * b;
    const d = half(table, data, at + 108);
    for (let s = 0; s < 16; s++) {
      const low = (byte(data, at + 96 + (s & 7)) >> (s < 8 ? 0 : 4)) & 15;
      const high = (byte(data, at + 104 + (s & 3)) >> (2 * (s >> 2))) & 3;
      const scale = fround(d * ((low | (high << 4)) - 32));
      const codes = at + 32 + 32 * (s >> 3) + 16 * (s & 1);
      const shift = 2 * ((s >> 1) & 3);
      const bits = at + 16 * (s & 1);
      const bit = s >> 1;
      for (let l = 0; l < 16; l++) {
        const q = ((byte(data, codes + l) >> shift) & 3) - ((byte(data, bits + l) >> bit) & 1 ? 0 : 4);
        out[256 * b + 16 * s + l] = scale * q;
      }
    }
  }
}

/** The 6-bit scale and minimum of sub-block `s` from the 12 bytes at `at`. */
const scaleAt = (data: Uint8Array, at: number, s: number): number =>
  s < 4 ? byte(data, at + s) & 63 : (byte(data, at + 4 + s) & 15) | ((byte(data, at + s - 4) >> 2) & 0x30);
const minimumAt = (data: Uint8Array, at: number, s: number): number =>
  s < 4 ? byte(data, at + 4 + s) & 63 : (byte(data, at + 4 + s) >> 4) | ((byte(data, at + s) >> 2) & 0x30);

/** d, dmin, 12 bytes of scales and minima, 128 of codes (two to a byte, 32 apart). */
export function dequantizeQ4K(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 144 * b;
    const d = half(table, data, at);
    const dmin = half(table, data, at + 2);
    for (let s = 0; s < 8; s++) {
      const scale = fround(d * scaleAt(data, at + 4, s));
      const minimum = fround(dmin * minimumAt(data, at + 4, s));
      const codes = at + 16 + 32 * (s >> 1);
      const shift = 4 * (s & 1);
      for (let l = 0; l < 32; l++) {
        const q = (byte(data, codes + l) >> shift) & 15;
        out[256 * b + 32 * s + l] = fround(scale * q) - minimum;
      }
    }
  }
}

/** As Q4_K, with 32 bytes of fifth bits before the codes. */
export function dequantizeQ5K(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 176 * b;
    const d = half(table, data, at);
    const dmin = half(table, data, at + 2);
    for (let s = 0; s < 8; s++) {
      const scale = fround(d * scaleAt(data, at + 4, s));
      const minimum = fround(dmin * minimumAt(data, at + 4, s));
      const codes = at + 48 + 32 * (s >> 1);
      const shift = 4 * (s & 1);
      for (let l = 0; l < 32; l++) {
        const q = ((byte(data, codes + l) >> shift) & 15) | (((byte(data, at + 16 + l) >> s) & 1) << 4);
        out[256 * b + 32 * s + l] = fround(scale * q) - minimum;
      }
    }
  }
}

/** 128 bytes of low codes (two to a byte, 64 apart), 64 of high codes (four to a byte, 32 apart), 16 signed scales, d. */
export function dequantizeQ6K(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 210 * b;
    const d = half(table, data, at + 208);
    for (let s = 0; s < 16; s++) {
      const scale = fround(d * ((byte(data, at + 192 + s) << 24) >> 24));
      const quarter = (s >> 1) & 3;
      const low = at + 64 * (s >> 3) + 32 * (quarter & 1) + 16 * (s & 1);
      const lowShift = quarter < 2 ? 0 : 4;
      const high = at + 128 + 32 * (s >> 3) + 16 * (s & 1);
      for (let l = 0; l < 16; l++) {
        const q = ((byte(data, low + l) >> lowShift) & 15) | (((byte(data, high + l) >> (2 * quarter)) & 3) << 4);
        out[256 * b + 16 * s + l] = scale * (q - 32);
      }
    }
  }
}

/** T of the IQ4 types, by code. */
export const nonlinearValues = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** 32 values from 16 bytes: byte j has element j and, in its high half, element j + 16. */
function lookUp(data: Uint8Array, at: number, scale: number, out: Float32Array, to: number): void {
  for (let j = 0; j < 16; j++) {
    out[to + j] = scale * (nonlinearValues[byte(data, at + j) & 15] ?? 0);
    out[to + 16 + j] = scale * (nonlinearValues[byte(data, at + j) >> 4] ?? 0);
  }
}

/** d, 16 bytes of codes. */
export function dequantizeIQ4NL(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) lookUp(data, 18 * b + 2, half(table, data, 18 * b), out, 32 * b);
}

/** d, 2 bytes of high and 4 of low bits of scales, 128 of codes. */
export function dequantizeIQ4XS(data: Uint8Array, blocks: number, out: Float32Array): void {
  const table = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 136 * b;
    const d = half(table, data, at);
    for (let s = 0; s < 8; s++) {
      const low = (byte(data, at + 4 + (s >> 1)) >> (4 * (s & 1))) & 15;
      const high = (byte(data, at + 2 + (s >> 2)) >> (2 * (s & 3))) & 3;
      lookUp(data, at + 8 + 16 * s, fround(d * ((low | (high << 4)) - 32)), out, 256 * b + 32 * s);
    }
  }
}
