/**
 * @file The GGUF types of three values a weight (TQ), and of 4-bit floats that share a scale (MXFP4, NVFP4).
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp; OCP Microscaling Formats 1.0. d is an fp16 scale, q a code:
 *   TQ1_0  d(q − 1), five q to a byte as digits of base 3      TQ2_0  d(q − 1), four q to a byte
 *   MXFP4  2^(e − 128) T[q], blocks of 32, e a byte            NVFP4  ½ s T[q], s an unsigned E4M3 for every 16
 *   T = 0 1 2 3 4 6 8 12 and their negatives: twice the values of E2M1.
 */
import { float16Table } from "../../float16.ts";

const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;
const word = (data: Uint8Array, at: number): number => byte(data, at) | (byte(data, at + 1) << 8);

const doubledE2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** A byte holds the fraction n / 243 as n 256 / 243, rounded up: its leading digit of base 3 is in the carry of a product by 3. */
const digit = (packed: number, place: number): number => ((((packed * 3 ** place) & 255) * 3) >> 8) - 1;

/** 32 bytes of five digits 32 weights apart, 16 of five 16 apart, 4 of four 4 apart, d. */
export function dequantizeTQ1_0(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 54 * b;
    const d = half[word(data, at + 52)] ?? 0;
    const to = 256 * b;
    for (let place = 0; place < 5; place++) {
      for (let j = 0; j < 32; j++) out[to + 32 * place + j] = d * digit(byte(data, at + j), place);
      for (let j = 0; j < 16; j++) out[to + 160 + 16 * place + j] = d * digit(byte(data, at + 32 + j), place);
      if (place < 4)
        for (let j = 0; j < 4; j++) out[to + 240 + 4 * place + j] = d * digit(byte(data, at + 48 + j), place);
    }
  }
}

/** 64 bytes of four codes 32 weights apart, d. */
export function dequantizeTQ2_0(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 66 * b;
    const d = half[word(data, at + 64)] ?? 0;
    for (let i = 0; i < 256; i++) {
      const packed = byte(data, at + 32 * (i >> 7) + (i & 31));
      out[256 * b + i] = d * (((packed >> (2 * ((i >> 5) & 3))) & 3) - 1);
    }
  }
}

/** The exponent, then 16 bytes: the low half of byte j is weight j, the high half weight j + 16. */
export function dequantizeMXFP4(data: Uint8Array, blocks: number, out: Float32Array): void {
  for (let b = 0; b < blocks; b++) {
    const at = 17 * b;
    const d = 2 ** (byte(data, at) - 128);
    for (let j = 0; j < 16; j++) {
      const packed = byte(data, at + 1 + j);
      out[32 * b + j] = d * (doubledE2M1[packed & 15] ?? 0);
      out[32 * b + 16 + j] = d * (doubledE2M1[packed >> 4] ?? 0);
    }
  }
}

/** Four scales, then for each 8 bytes: the low half of byte j is weight j, the high half weight j + 8. */
export function dequantizeNVFP4(data: Uint8Array, blocks: number, out: Float32Array): void {
  for (let b = 0; b < blocks; b++) {
    const at = 36 * b;
    for (let s = 0; s < 4; s++) {
      const d = 0.5 * unsignedE4M3(byte(data, at + s));
      for (let j = 0; j < 8; j++) {
        const packed = byte(data, at + 4 + 8 * s + j);
        out[64 * b + 16 * s + j] = d * (doubledE2M1[packed & 15] ?? 0);
        out[64 * b + 16 * s + 8 + j] = d * (doubledE2M1[packed >> 4] ?? 0);
      }
    }
  }
}

/** The sign is not looked at; 0x7F, which would be no number, is 0. */
function unsignedE4M3(code: number): number {
  if (code === 0x7f) return 0;
  const exponent = (code >> 3) & 15;
  const fraction = code & 7;
  return exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
}
