/**
 * @file GGUF tensor data from fp32 values: plain floats and the types with blocks of 32.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp, equal to it bit for bit. With x the values of a block, codes are taken
 * with the scale d in fp32, and d and m are stored in fp16:
 *   Q4_0  d = x* / −8,  q = ⌊x/d + 8.5⌋, x* the value of largest size     Q5_0  the same with −16 and 16.5
 *   Q4_1  m = min x, d = (max x − m) / 15, q = ⌊(x − m)/d + 0.5⌋            Q5_1  the same with 31
 *   Q8_0  d = max |x| / 127, q = x/d rounded, halves away from zero.
 * This holds without importances; with them, and always for the K and IQ4 types, the codes have the least weighted error
 * (`fit-blocks.ts`). `codesToBlocks` writes codes and scales that exist already, so that nothing is quantized twice.
 */
import { EspalierError } from "../../errors.ts";
import { bfloat16FromFloat32, float16FromFloat32 } from "../../float16.ts";
import { fitBlock, weigh } from "./fit-blocks.ts";
import { type Block, type BlockType, emptyBlock, packBlock } from "./pack.ts";
import { blockSizes, type GgufTensorType } from "./tensor-type.ts";

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
  "Q6_K",
  "Q5_K",
  "Q4_K",
  "Q3_K",
  "Q2_K",
  "IQ4_XS",
  "IQ4_NL",
] as const satisfies readonly GgufTensorType[];
export type WrittenType = (typeof writtenTypes)[number];

export const isBlockType = (type: WrittenType): type is BlockType => blockSizes[type].elements > 1;

/** Codes, d and m of 32 values. */
type Rounding = (x: Float32Array, block: Block) => void;

/** As the gguf package does it. */
const published: Readonly<Partial<Record<BlockType, Rounding>>> = {
  Q4_0: aroundZero(8),
  Q5_0: aroundZero(16),
  Q4_1: fromMinimum(15),
  Q5_1: fromMinimum(31),
  Q8_0: signedBytes,
};

/**
 * The data of a tensor, or of whole rows of one. Of a type with blocks the number of values must be a multiple of the block's
 * elements. `importance` (columns) says how much an error in each column counts; Q8_0 and floats need none.
 */
export function encode(type: WrittenType, values: Float32Array, importance: Float32Array | null = null): Uint8Array {
  const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  if (type === "F32") return bytesOf(values);
  if (type === "F16") return bytesOf(float16FromFloat32(values));
  if (type === "BF16") return bytesOf(bfloat16FromFloat32(values));
  const { elements, bytes } = blockSizes[type];
  const blocks = blockCount(type, values.length);
  const out = new Uint8Array(blocks * bytes);
  const block = emptyBlock(elements);
  const weighted = { x: new Float64Array(elements), a: new Float64Array(elements) };
  const round = importance && type !== "Q8_0" ? undefined : published[type];
  for (let b = 0; b < blocks; b++) {
    const x = values.subarray(elements * b, elements * (b + 1));
    if (!allFinite(x)) throw notFinite(type);
    if (round) round(x, block);
    else if (type !== "Q8_0") {
      weigh(values, elements * b, importance, weighted);
      fitBlock(type, weighted, block);
    }
    packBlock(type, block, out.subarray(b * bytes, (b + 1) * bytes));
  }
  return out;
}

/** Blocks of codes that exist: `codes` (32 a block) signed around 0, `scales` one a block, fp16 already. */
export function codesToBlocks(type: "Q4_0" | "Q8_0", codes: Int8Array, scales: Float32Array): Uint8Array {
  const { bytes } = blockSizes[type];
  const blocks = blockCount(type, codes.length);
  const out = new Uint8Array(blocks * bytes);
  const block = emptyBlock(32);
  for (let b = 0; b < blocks; b++) {
    block.d = scales[b] ?? 0;
    for (let i = 0; i < 32; i++) block.codes[i] = (codes[32 * b + i] ?? 0) + (type === "Q4_0" ? 8 : 0);
    packBlock(type, block, out.subarray(b * bytes, (b + 1) * bytes));
  }
  return out;
}

function blockCount(type: BlockType, values: number): number {
  const { elements } = blockSizes[type];
  if (values % elements === 0) return values / elements;
  throw new EspalierError("internal/invariant", `internal: ${values} values are no whole blocks of ${elements}`);
}

function allFinite(x: Float32Array): boolean {
  let zero = 0;
  for (const v of x) zero += v - v;
  return zero === 0;
}

const notFinite = (type: string): EspalierError =>
  new EspalierError("input/invalid", `a weight holds a number that is not finite, which ${type} cannot store`);

function aroundZero(half: 8 | 16): Rounding {
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

function fromMinimum(most: 15 | 31): Rounding {
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
