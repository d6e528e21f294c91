/**
 * @file GGUF tensor data from fp32 values: plain floats and the types with blocks of 32.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp, equal to it bit for bit. With x the values of a block, codes are taken
 * with the scale d in fp32, and d and m are stored in fp16:
 *   Q4_0  d = x* / −8,  q = ⌊x/d + 8.5⌋, x* the value of largest size     Q5_0  the same with −16 and 16.5
 *   Q4_1  m = min x, d = (max x − m) / 15, q = ⌊(x − m)/d + 0.5⌋            Q5_1  the same with 31
 *   Q8_0  d = max |x| / 127, q = x/d rounded, halves away from zero.
 * `codesToBlocks` writes codes and scales that exist already, so that nothing is quantized twice. Not included: the K types.
 */
import { EspalierError } from "../../errors.ts";
import { bfloat16FromFloat32, float16FromFloat32, toFloat16Bits } from "../../float16.ts";
import type { GgufTensorType } from "./tensor-type.ts";

/** The types that can be written. */
export const writtenTypes = [
  "F32",
  "F16",
  "BF16",
  "Q8_0",
  "Q5_1",
  "Q5_0",
  "Q4_1",
  "Q4_0",
] as const satisfies readonly GgufTensorType[];
export type WrittenType = (typeof writtenTypes)[number];
type BlockType = Extract<WrittenType, `Q${string}`>;

export const isBlockType = (type: WrittenType): type is BlockType => type.startsWith("Q");

/** A block of 32: `codes` unsigned but for Q8_0, and m where the type has one. */
interface Block {
  d: number;
  m: number;
  readonly codes: Int32Array; // (32)
}

interface BlockLayout {
  readonly bytes: number;
  /** Values to codes, scale and minimum. */
  fit(x: Float32Array, block: Block): void;
  readonly hasMinimum: boolean;
  readonly bits: 4 | 5 | 8;
}

const layouts: Readonly<Record<BlockType, BlockLayout>> = {
  Q4_0: { bytes: 18, bits: 4, hasMinimum: false, fit: aroundZero(8) },
  Q5_0: { bytes: 22, bits: 5, hasMinimum: false, fit: aroundZero(16) },
  Q4_1: { bytes: 20, bits: 4, hasMinimum: true, fit: fromMinimum(15) },
  Q5_1: { bytes: 24, bits: 5, hasMinimum: true, fit: fromMinimum(31) },
  Q8_0: { bytes: 34, bits: 8, hasMinimum: false, fit: signedBytes },
};

/** The data of a tensor, or of whole rows of one. Of a type with blocks the number of values must be a multiple of 32. */
export function encode(type: WrittenType, values: Float32Array): Uint8Array {
  const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  if (type === "F32") return bytesOf(values);
  if (type === "F16") return bytesOf(float16FromFloat32(values));
  if (type === "BF16") return bytesOf(bfloat16FromFloat32(values));
  const layout = layouts[type];
  const blocks = blockCount(values.length);
  const out = new Uint8Array(blocks * layout.bytes);
  const block: Block = { d: 0, m: 0, codes: new Int32Array(32) };
  for (let b = 0; b < blocks; b++) {
    const x = values.subarray(32 * b, 32 * b + 32);
    if (!x.every(Number.isFinite)) throw notFinite(type);
    layout.fit(x, block);
    store(layout, block, out.subarray(b * layout.bytes));
  }
  return out;
}

/** Blocks of codes that exist: `codes` (32 a block) signed around 0, `scales` one a block, fp16 already. */
export function codesToBlocks(type: "Q4_0" | "Q8_0", codes: Int8Array, scales: Float32Array): Uint8Array {
  const layout = layouts[type];
  const blocks = blockCount(codes.length);
  const out = new Uint8Array(blocks * layout.bytes);
  const block: Block = { d: 0, m: 0, codes: new Int32Array(32) };
  for (let b = 0; b < blocks; b++) {
    block.d = scales[b] ?? 0;
    for (let i = 0; i < 32; i++) block.codes[i] = (codes[32 * b + i] ?? 0) + (type === "Q4_0" ? 8 : 0);
    store(layout, block, out.subarray(b * layout.bytes));
  }
  return out;
}

function blockCount(elements: number): number {
  if (elements % 32 === 0) return elements / 32;
  throw new EspalierError("internal/invariant", `internal: ${elements} values are no whole blocks of 32`);
}

const notFinite = (type: string): EspalierError =>
  new EspalierError("input/invalid", `a weight holds a number that is not finite, which ${type} cannot store`);

function aroundZero(half: 8 | 16): BlockLayout["fit"] {
  return (x, block) => {
    let largest = 0;
    for (const v of x) if (Math.abs(v) > Math.abs(largest)) largest = v;
    const d = Math.fround(largest / -half);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    block.d = d;
    for (let i = 0; i < 32; i++) {
      const q = Math.trunc(Math.fround(Math.fround((x[i] ?? 0) * inverse) + (half + 0.5)));
      block.codes[i] = Math.min(2 * half - 1, Math.max(0, q));
    }
  };
}

function fromMinimum(most: 15 | 31): BlockLayout["fit"] {
  return (x, block) => {
    let [least, largest] = [x[0] ?? 0, x[0] ?? 0];
    for (const v of x) {
      least = Math.min(least, v);
      largest = Math.max(largest, v);
    }
    const d = Math.fround(Math.fround(largest - least) / most);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    block.d = d;
    block.m = least;
    for (let i = 0; i < 32; i++) {
      const q = Math.trunc(Math.fround(Math.fround(Math.fround((x[i] ?? 0) - least) * inverse) + 0.5));
      block.codes[i] = Math.min(most, Math.max(0, q));
    }
  };
}

function signedBytes(x: Float32Array, block: Block): void {
  let largest = 0;
  for (const v of x) largest = Math.max(largest, Math.abs(v));
  const d = Math.fround(largest / 127);
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  block.d = d;
  for (let i = 0; i < 32; i++) {
    const v = Math.fround((x[i] ?? 0) * inverse);
    const size = Math.floor(Math.abs(v) + 0.5);
    block.codes[i] = v < 0 ? -size : size;
  }
}

/** d, m, the fifth bits, then the low four bits: byte j holds element j and, in its high half, element j + 16. */
function store({ bits, hasMinimum }: BlockLayout, { d, m, codes }: Block, out: Uint8Array): void {
  let at = 0;
  const half = (v: number): void => {
    const word = toFloat16Bits(v);
    out[at++] = word & 255;
    out[at++] = word >> 8;
  };
  half(d);
  if (hasMinimum) half(m);
  if (bits === 8) {
    for (let i = 0; i < 32; i++) out[at + i] = codes[i] ?? 0;
    return;
  }
  if (bits === 5) {
    let high = 0;
    for (let i = 0; i < 32; i++) high |= (((codes[i] ?? 0) >> 4) & 1) << i;
    for (let i = 0; i < 4; i++) out[at++] = (high >>> (8 * i)) & 255;
  }
  for (let j = 0; j < 16; j++) out[at + j] = ((codes[j] ?? 0) & 15) | (((codes[j + 16] ?? 0) & 15) << 4);
}
