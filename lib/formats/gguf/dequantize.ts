/**
 * @file The fp32 values of GGUF tensor data, equal bit for bit to those of the `gguf` Python package.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp. d and m are the fp16 scale and minimum of a block, q the code
 * of an element; every product and difference is rounded to fp32:
 *   Q4_0  d(q − 8)     Q4_1  dq + m     Q5_0  d(q − 16)     Q5_1  dq + m     Q8_0  dq, q signed.
 * In a block of 32 with 4- or 5-bit codes, byte j of the codes has element j in its low half and j + 16 in its high half.
 * The K and IQ4 types are in `k-quants.ts`, the other IQ types in `grid-types.ts`, TQ, MXFP4 and NVFP4 in `small-float-types.ts`.
 */
import { float16Table } from "../../float16.ts";
import {
  dequantizeIQ1M,
  dequantizeIQ1S,
  dequantizeIQ2S,
  dequantizeIQ2XS,
  dequantizeIQ2XXS,
  dequantizeIQ3S,
  dequantizeIQ3XXS,
} from "./grid-types.ts";
import {
  dequantizeIQ4NL,
  dequantizeIQ4XS,
  dequantizeQ2K,
  dequantizeQ3K,
  dequantizeQ4K,
  dequantizeQ5K,
  dequantizeQ6K,
} from "./k-quants.ts";
import { dequantizeMXFP4, dequantizeNVFP4, dequantizeTQ1_0, dequantizeTQ2_0 } from "./small-float-types.ts";
import { blockSizes, type GgufTensorType } from "./tensor-type.ts";

/** `out` has room for the elements of that many blocks. */
type BlockDecoder = (data: Uint8Array, blocks: number, out: Float32Array) => void;

const decoders: Readonly<Record<GgufTensorType, BlockDecoder>> = {
  F32: copyFloat32,
  F16: widenFloat16,
  BF16: widenBfloat16,
  Q4_0: dequantizeQ4_0,
  Q4_1: dequantizeQ4_1,
  Q5_0: dequantizeQ5_0,
  Q5_1: dequantizeQ5_1,
  Q8_0: dequantizeQ8_0,
  Q2_K: dequantizeQ2K,
  Q3_K: dequantizeQ3K,
  Q4_K: dequantizeQ4K,
  Q5_K: dequantizeQ5K,
  Q6_K: dequantizeQ6K,
  IQ4_NL: dequantizeIQ4NL,
  IQ4_XS: dequantizeIQ4XS,
  TQ1_0: dequantizeTQ1_0,
  TQ2_0: dequantizeTQ2_0,
  MXFP4: dequantizeMXFP4,
  NVFP4: dequantizeNVFP4,
  IQ2_XXS: dequantizeIQ2XXS,
  IQ2_XS: dequantizeIQ2XS,
  IQ2_S: dequantizeIQ2S,
  IQ3_XXS: dequantizeIQ3XXS,
  IQ3_S: dequantizeIQ3S,
  IQ1_S: dequantizeIQ1S,
  IQ1_M: dequantizeIQ1M,
};

/** Whole blocks of `type` as fp32 into `out`. */
export function dequantize(type: GgufTensorType, data: Uint8Array, out: Float32Array): void {
  decoders[type](data, data.length / blockSizes[type].bytes, out);
}

function copyFloat32(data: Uint8Array, _blocks: number, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, data.length).set(data);
}

function widenFloat16(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let i = 0; i < blocks; i++) out[i] = half[word(data, 2 * i)] ?? 0;
}

function widenBfloat16(data: Uint8Array, blocks: number, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, blocks);
  for (let i = 0; i < blocks; i++) words[i] = word(data, 2 * i) << 16;
}

function dequantizeQ4_0(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 18 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 16; j++) {
      const byte = data[at + 2 + j] ?? 0;
      out[32 * b + j] = d * ((byte & 15) - 8);
      out[32 * b + 16 + j] = d * ((byte >> 4) - 8);
    }
  }
}

function dequantizeQ4_1(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 20 * b;
    const d = half[word(data, at)] ?? 0;
    const m = half[word(data, at + 2)] ?? 0;
    for (let j = 0; j < 16; j++) {
      const byte = data[at + 4 + j] ?? 0;
      out[32 * b + j] = Math.fround(d * (byte & 15)) + m;
      out[32 * b + 16 + j] = Math.fround(d * (byte >> 4)) + m;
    }
  }
}

function dequantizeQ5_0(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 22 * b;
    const d = half[word(data, at)] ?? 0;
    const high = word(data, at + 2) | (word(data, at + 4) << 16);
    for (let j = 0; j < 16; j++) {
      const byte = data[at + 6 + j] ?? 0;
      out[32 * b + j] = d * (((byte & 15) | (((high >>> j) & 1) << 4)) - 16);
      out[32 * b + 16 + j] = d * (((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
    }
  }
}

function dequantizeQ5_1(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 24 * b;
    const d = half[word(data, at)] ?? 0;
    const m = half[word(data, at + 2)] ?? 0;
    const high = word(data, at + 4) | (word(data, at + 6) << 16);
    for (let j = 0; j < 16; j++) {
      const byte = data[at + 8 + j] ?? 0;
      out[32 * b + j] = Math.fround(d * ((byte & 15) | (((high >>> j) & 1) << 4))) + m;
      out[32 * b + 16 + j] = Math.fround(d * ((byte >> 4) | (((high >>> (j + 16)) & 1) << 4))) + m;
    }
  }
}

function dequantizeQ8_0(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  for (let b = 0; b < blocks; b++) {
    const at = 34 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 32; j++) out[32 * b + j] = d * (((data[at + 2 + j] ?? 0) << 24) >> 24);
  }
}

/** The unsigned 16-bit little-endian number at byte `at`. */
const word = (data: Uint8Array, at: number): number => (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8);
