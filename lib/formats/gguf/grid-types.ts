/**
 * @file The IQ1, IQ2 and IQ3 types of GGUF: blocks of 256 weights whose codes name points of a lattice, 8 or 4 coordinates at once.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp. d is the fp16 scale of a block, s that of a sub-block, g a coordinate:
 *   IQ2_XXS  ± d(s + ½)/4 g, sub-blocks of 32        IQ2_XS, IQ2_S  the same, sub-blocks of 16       IQ3_XXS  ± d(s + ½)/2 g
 *   IQ3_S  ± d(2s + 1) g, sub-blocks of 32           IQ1_S  d(2s + 1)(g ± ⅛), sub-blocks of 32       IQ1_M  the same, of 16.
 * Signs are a bit each, or 7 of 8, the last making their number even. Every product here is exact in fp32 but for overflow.
 */
import { float16Table } from "../../float16.ts";
import { gridTables } from "./grid-tables.ts";

const byte = (data: Uint8Array, at: number): number => data[at] ?? 0;
const word = (data: Uint8Array, at: number): number => byte(data, at) | (byte(data, at + 1) << 8);
const long = (data: Uint8Array, at: number): number => word(data, at) | (word(data, at + 2) << 16);

type GridName = keyof typeof gridTables;

/** The values that a number of a coordinate stands for. */
const coordinates: Readonly<Record<GridName, readonly number[]>> = {
  IQ2_XXS: [8, 25, 43],
  IQ2_XS: [8, 25, 43],
  IQ2_S: [8, 25, 43],
  IQ3_XXS: [4, 12, 20, 28, 36, 44, 52, 62],
  IQ3_S: [1, 3, 5, 7, 9, 11, 13, 15],
  IQ1_S: [-1, 0, 1],
};

const unpacked = new Map<GridName, Int8Array>();

/** The coordinates of all points, one point after another. */
function grid(name: GridName): Int8Array {
  const known = unpacked.get(name);
  if (known) return known;
  const packed = Buffer.from(gridTables[name], "base64");
  const values = coordinates[name];
  const perByte = values.length > 4 ? 2 : 4;
  const made = Int8Array.from(
    { length: packed.length * perByte },
    (_, i) =>
      values[
        (byte(packed, Math.floor(i / perByte)) >> ((8 / perByte) * (i % perByte))) & (values.length > 4 ? 7 : 3)
      ] ?? 0,
  );
  unpacked.set(name, made);
  return made;
}

/** The eighth sign, of 7 stored ones: their number is even. */
function evenSigns(seven: number): number {
  let bits = seven;
  bits ^= bits >> 4;
  bits ^= bits >> 2;
  bits ^= bits >> 1;
  return seven | ((bits & 1) << 7);
}

/** `width` coordinates from `point`, a minus where a bit of `signs` is set. */
function put(
  out: Float32Array,
  at: number,
  points: Int8Array,
  point: number,
  width: number,
  scale: number,
  signs: number,
): void {
  for (let k = 0; k < width; k++) {
    const value = scale * (points[point * width + k] ?? 0);
    out[at + k] = (signs >> k) & 1 ? -value : value;
  }
}

/** d, then for every 32 weights 4 bytes of points, and 4 of four times 7 signs and a scale. */
export function dequantizeIQ2XXS(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ2_XXS");
  for (let b = 0; b < blocks; b++) {
    const at = 66 * b;
    const d = half[word(data, at)] ?? 0;
    for (let s = 0; s < 8; s++) {
      const from = at + 2 + 8 * s;
      const packed = long(data, from + 4);
      const scale = d * (0.5 + (packed >>> 28)) * 0.25;
      for (let j = 0; j < 4; j++)
        put(
          out,
          256 * b + 32 * s + 8 * j,
          points,
          byte(data, from + j),
          8,
          scale,
          evenSigns((packed >>> (7 * j)) & 127),
        );
    }
  }
}

/** d, for every 8 weights a word of 9 bits for the point and 7 signs, 4-bit scales. */
export function dequantizeIQ2XS(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ2_XS");
  for (let b = 0; b < blocks; b++) {
    const at = 74 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 32; j++) {
      const code = word(data, at + 2 + 2 * j);
      const scale = d * (0.5 + nibble(data, at + 66, j >> 1)) * 0.25;
      put(out, 256 * b + 8 * j, points, code & 511, 8, scale, evenSigns(code >> 9));
    }
  }
}

/** d, 32 low bytes of points, 32 bytes of signs, 8 bytes of two high bits a point, 4-bit scales. */
export function dequantizeIQ2S(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ2_S");
  for (let b = 0; b < blocks; b++) {
    const at = 82 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 32; j++) {
      const point = byte(data, at + 2 + j) | (((byte(data, at + 66 + (j >> 2)) >> (2 * (j & 3))) & 3) << 8);
      const scale = d * (0.5 + nibble(data, at + 74, j >> 1)) * 0.25;
      put(out, 256 * b + 8 * j, points, point, 8, scale, byte(data, at + 34 + j));
    }
  }
}

/** d, 64 bytes of points of 4, then for every 32 weights 4 bytes of four times 7 signs and a scale. */
export function dequantizeIQ3XXS(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ3_XXS");
  for (let b = 0; b < blocks; b++) {
    const at = 98 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 64; j++) {
      const packed = long(data, at + 66 + 4 * (j >> 3));
      const scale = d * (0.5 + (packed >>> 28)) * 0.5;
      const signs = evenSigns((packed >>> (7 * ((j >> 1) & 3))) & 127) >> (4 * (j & 1));
      put(out, 256 * b + 4 * j, points, byte(data, at + 2 + j), 4, scale, signs);
    }
  }
}

/** d, 64 low bytes of points of 4, 8 bytes of their high bits, 32 of signs, 4-bit scales. */
export function dequantizeIQ3S(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ3_S");
  for (let b = 0; b < blocks; b++) {
    const at = 110 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 64; j++) {
      const point = byte(data, at + 2 + j) | (((byte(data, at + 66 + (j >> 3)) >> (j & 7)) & 1) << 8);
      const scale = d * (1 + 2 * nibble(data, at + 106, j >> 3));
      put(out, 256 * b + 4 * j, points, point, 4, scale, byte(data, at + 74 + (j >> 1)) >> (4 * (j & 1)));
    }
  }
}

/** d, 32 low bytes of points, then for every 32 weights a word of four times 3 high bits, a scale, and the side of the shift. */
export function dequantizeIQ1S(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ1_S");
  for (let b = 0; b < blocks; b++) {
    const at = 50 * b;
    const d = half[word(data, at)] ?? 0;
    for (let j = 0; j < 32; j++) {
      const high = word(data, at + 34 + 2 * (j >> 2));
      const scale = d * (2 * ((high >> 12) & 7) + 1);
      const point = byte(data, at + 2 + j) | (((high >> (3 * (j & 3))) & 7) << 8);
      putShifted(out, 256 * b + 8 * j, points, point, scale, high & 0x8000 ? -0.125 : 0.125);
    }
  }
}

/** 32 low bytes of points, 16 of a half each for their 3 high bits and side, four words of four 3-bit scales and a quarter of d. */
export function dequantizeIQ1M(data: Uint8Array, blocks: number, out: Float32Array): void {
  const half = float16Table();
  const points = grid("IQ1_S");
  for (let b = 0; b < blocks; b++) {
    const at = 56 * b;
    let bits = 0;
    for (let i = 0; i < 4; i++) bits |= (word(data, at + 48 + 2 * i) >> 12) << (4 * i);
    const d = half[bits] ?? 0;
    for (let j = 0; j < 32; j++) {
      const high = nibble(data, at + 32, j);
      const sub = j >> 1;
      const scale = d * (2 * ((word(data, at + 48 + 2 * (sub >> 2)) >> (3 * (sub & 3))) & 7) + 1);
      const point = byte(data, at + j) | ((high & 7) << 8);
      putShifted(out, 256 * b + 8 * j, points, point, scale, high & 8 ? -0.125 : 0.125);
    }
  }
}

function putShifted(
  out: Float32Array,
  at: number,
  points: Int8Array,
  point: number,
  scale: number,
  shift: number,
): void {
  for (let k = 0; k < 8; k++) out[at + k] = scale * ((points[8 * point + k] ?? 0) + shift);
}

/** The 4 bits number `index` after `at`, the lower half of a byte first. */
const nibble = (data: Uint8Array, at: number, index: number): number =>
  (byte(data, at + (index >> 1)) >> (4 * (index & 1))) & 15;
