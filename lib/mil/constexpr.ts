/**
 * @file Decodes the compressed constants of MIL (`constexpr_*`, iOS 18) on typed arrays.
 *
 *   constexpr_blockwise_shift_scale   out = scale · (data − offset), one scale per block
 *   constexpr_lut_to_dense            out = lut[group][index], vectors laid along `vector_axis`
 *   constexpr_sparse_to_dense         out = next nonzero where the mask is 1, else 0
 *   constexpr_cast                    out = value, as fp32
 *   constexpr_lut_to_sparse, constexpr_sparse_blockwise_shift_scale
 *                                     the mask, and what the first two give for the codes at its ones
 *
 * The result has the type the package gives it: an fp16 weight is rounded to fp16, whatever computes with it. Codes may come
 * in pieces, so that those of a large weight are never in memory as a whole.
 */
import { dim, f32At, named, numberAt } from "../elements.ts";
import { EspalierError, invariant } from "../errors.ts";
import { float16FromFloat32, float16Table, float32FromFloat16, toFloat16Bits } from "../float16.ts";
import type { OpArguments } from "./op.ts";
import { newData, type Tensor, type TensorData } from "./tensor.ts";
import { type DType, elementCount, type Shape, type TensorType } from "./types.ts";

/** Which operand of a `constexpr_*` operation holds an element, a code or a nonzero for (nearly) every result. */
export const codesOperand: Readonly<Record<string, string>> = {
  constexpr_blockwise_shift_scale: "data",
  constexpr_lut_to_dense: "indices",
  constexpr_sparse_to_dense: "nonzero_data",
  constexpr_cast: "source_val",
};

/** Takes the codes piece by piece. */
export interface ConstexprDecoder {
  /** Decoders of one key, over the same operands and codes, give the same values. */
  readonly key: string;
  /** Codes from the element `from` on; their values go where they belong in `out`, which has all of the result. */
  decode(codes: TensorData, from: number, out: Float32Array): void;
  /** After the last piece. Throws `format/malformed` for codes that do not fit their tables. */
  finish(): void;
}

/** The elements of a tensor as numbers. */
function numbers(t: Tensor): ArrayLike<number> {
  return t.dtype === "fp16" && t.data instanceof Uint16Array ? float32FromFloat16(t.data) : t.data;
}

/** What rounds a number to the result's type. */
function rounding(result: TensorType): (v: number) => number {
  if (result.dtype !== "fp16") return (v) => v;
  const half = float16Table();
  return (v) => f32At(half, toFloat16Bits(v));
}

/**
 * `shape` cut into `blocks` per axis, with neighbouring axes taken as one where that leaves every element in its block: nearly
 * always one axis is left, whose blocks are runs of elements.
 */
export function joinedBlocks(shape: Shape, blocks: Shape): { shape: number[]; blocks: number[] } {
  const joined: { shape: number[]; blocks: number[] } = { shape: [], blocks: [] };
  for (const [a, extent] of shape.entries()) {
    const count = numberAt(blocks, a);
    const last = joined.shape.length - 1;
    if (last >= 0 && (count === 1 || joined.blocks[last] === joined.shape[last])) {
      joined.shape[last] = dim(joined.shape, last) * extent;
      joined.blocks[last] = numberAt(joined.blocks, last) * count;
    } else {
      joined.shape.push(extent);
      joined.blocks.push(count);
    }
  }
  return joined.shape.length > 0 ? joined : { shape: [1], blocks: [1] };
}

/** Calls `take` for each run of the elements [from, to) that lie in one block, with the flat index of that block. */
function forEachRun(
  joined: { readonly shape: readonly number[]; readonly blocks: readonly number[] },
  from: number,
  to: number,
  take: (start: number, end: number, block: number) => void,
): void {
  const { shape, blocks } = joined;
  const rank = shape.length;
  const width = dim(shape, rank - 1);
  const perRow = numberAt(blocks, rank - 1);
  const run = width / perRow;
  for (let at = from; at < to; ) {
    const row = Math.floor(at / width);
    let rest = row;
    let block = 0;
    let step = perRow;
    for (let a = rank - 2; a >= 0; a--) {
      const extent = dim(shape, a);
      const count = numberAt(blocks, a);
      block += Math.floor((rest % extent) / (extent / count)) * step;
      step *= count;
      rest = Math.floor(rest / extent);
    }
    const rowEnd = Math.min(to, (row + 1) * width);
    while (at < rowEnd) {
      const column = at - row * width;
      const part = Math.floor(column / run);
      const end = Math.min(rowEnd, row * width + (part + 1) * run);
      take(at, end, block + part);
      at = end;
    }
  }
}

/** A decoder whose codes have a place each in the result. */
interface LaidOut {
  /** What tells its layout from others over the same operands. */
  readonly layout: unknown;
  decode(codes: TensorData, from: number, out: Float32Array): void;
}

/** scale · (code − offset), with `scale` and `offset` among the operands, laid out in blocks over `shape`. */
function scaledCodes(
  codesType: DType,
  operands: Readonly<Record<string, Tensor>>,
  shape: Shape,
  round: (v: number) => number,
): LaidOut {
  const { scale, offset } = operands;
  invariant(scale, "codes have no scale");
  const scales = numbers(scale);
  const offsets = offset ? numbers(offset) : null;
  const joined = joinedBlocks(shape, scale.shape);
  const isHalf = codesType === "fp16";
  return {
    layout: joined,
    decode(codes, from, out) {
      const values = isHalf && codes instanceof Uint16Array ? float32FromFloat16(codes) : codes;
      forEachRun(joined, from, from + codes.length, (start, end, block) => {
        const factor = numberAt(scales, block);
        const shift = offsets ? numberAt(offsets, block) : 0;
        for (let i = start; i < end; i++) out[i] = round(factor * (numberAt(values, i - from) - shift));
      });
    },
  };
}

/** lut[group][index] for indices of the shape `shape`; a vector of several lies along `axis`. */
function tableEntries(lut: Tensor, shape: Shape, axis: number, round: (v: number) => number): LaidOut {
  const rank = shape.length;
  const entries = dim(lut.shape, rank);
  const vector = dim(lut.shape, rank + 1);
  const table = Float32Array.from(numbers(lut), round);
  const joined = joinedBlocks(shape, lut.shape.slice(0, rank));
  // An index at (outer, inner) around `axis` fills `vector` elements along it.
  const inner = elementCount(shape.slice(vector === 1 ? 1 : axis + 1));
  return {
    layout: vector === 1 ? joined : [shape, lut.shape],
    decode(codes, from, out) {
      forEachRun(joined, from, from + codes.length, (start, end, block) => {
        const base = block * entries * vector;
        if (vector === 1) {
          for (let i = start; i < end; i++) out[i] = f32At(table, base + numberAt(codes, i - from));
          return;
        }
        for (let i = start; i < end; i++) {
          const entry = base + numberAt(codes, i - from) * vector;
          const to = Math.floor(i / inner) * inner * vector + (i % inner);
          for (let v = 0; v < vector; v++) out[to + v * inner] = f32At(table, entry + v);
        }
      });
    },
  };
}

/**
 * Decodes a `constexpr_*` operation of type `result`. `operands` are all but the codes. Throws `program/unsupported-op` for
 * another op.
 */
export function constexprDecoder(
  op: OpArguments,
  operands: Readonly<Record<string, Tensor>>,
  codesShape: Shape,
  result: TensorType,
): ConstexprDecoder {
  const operand = (name: string): Tensor => operands[name] ?? op.fail(name, "a constant", "nothing");
  const round = rounding(result);
  const finish = (): void => {};
  const keyOf = (layout: unknown): string => JSON.stringify([op.type, op.params, result.dtype, layout]);
  const keyed = (decoder: LaidOut): ConstexprDecoder => ({ ...decoder, key: keyOf(decoder.layout), finish });
  if (op.type === "constexpr_blockwise_shift_scale")
    return keyed(scaledCodes(op.tensor("data").dtype, operands, result.shape, round));
  if (op.type === "constexpr_lut_to_dense") {
    const axis = op.has("vector_axis") ? op.axis("vector_axis", codesShape.length) : 0;
    return keyed(tableEntries(operand("lut"), codesShape, axis, round));
  }
  if (op.type === "constexpr_sparse_to_dense") {
    const mask = operand("mask").data;
    let next = 0;
    let place = 0;
    const ones = (): number => {
      while (place < mask.length && !mask[place]) place++;
      return place;
    };
    return {
      key: keyOf(null),
      decode(codes, _from, out) {
        for (let i = 0; i < codes.length && ones() < mask.length; i++, next++)
          out[place++] = round(valueAt(codes, i, op));
      },
      finish() {
        if (ones() === mask.length && next === elementCount(codesShape)) return;
        let wanted = 0;
        for (let i = 0; i < mask.length; i++) if (mask[i]) wanted++;
        throw new EspalierError(
          "format/malformed",
          `constexpr_sparse_to_dense: the mask has ${wanted} ones, nonzero_data ${elementCount(codesShape)} values`,
        );
      },
    };
  }
  if (op.type === "constexpr_cast") {
    return {
      key: keyOf(null),
      finish,
      decode(codes, from, out) {
        for (let i = 0; i < codes.length; i++) out[from + i] = round(valueAt(codes, i, op));
      },
    };
  }
  throw new EspalierError("program/unsupported-op", `${op.type} is not a compressed constant this version decodes`);
}

/** A float code: fp16 in its bits, or a number. */
function valueAt(codes: TensorData, i: number, op: OpArguments): number {
  const name = named(codesOperand, op.type);
  return op.tensor(name).dtype === "fp16" ? f32At(float16Table(), numberAt(codes, i)) : numberAt(codes, i);
}

/** The operands of an operation on sparse codes: where they lie, and what they are. */
const sparseOperands: Readonly<Record<string, { readonly mask: string; readonly codes: string }>> = {
  constexpr_lut_to_sparse: { mask: "indices_mask", codes: "indices_nonzero_data" },
  constexpr_sparse_blockwise_shift_scale: { mask: "data_mask", codes: "nonzero_data" },
};

/** The mask and the values at its ones. */
function sparseValues(
  op: OpArguments,
  operands: Readonly<Record<string, Tensor>>,
  names: { readonly mask: string; readonly codes: string },
  result: TensorType,
): { mask: Uint8Array; values: Float32Array<ArrayBuffer> } {
  const [mask, codes] = [operands[names.mask], operands[names.codes]];
  invariant(mask && codes, `${op.type} has no codes`);
  const places = [...mask.data.keys()].filter((i) => mask.data[i] !== 0);
  if (places.length !== codes.data.length) {
    throw new EspalierError(
      "format/malformed",
      `${op.type}: the mask has ${places.length} ones, ${names.codes} ${codes.data.length} values`,
    );
  }
  const whole = newData(codes.dtype, mask.data.length);
  for (const [i, place] of places.entries()) whole[place] = numberAt(codes.data, i);
  const round = rounding(result);
  const { lut } = operands;
  const vector = lut?.shape.at(-1) ?? 1;
  const axis = vector === 1 ? 0 : op.axis("vector_axis", mask.shape.length);
  const decoder = lut
    ? tableEntries(lut, mask.shape, axis, round)
    : scaledCodes(codes.dtype, operands, mask.shape, round);
  const dense = new Float32Array(mask.data.length * vector);
  decoder.decode(whole, 0, dense);
  // The mask laid out in the same way: a one for each element of a vector.
  const ones = Float32Array.of(...new Array<number>(vector).fill(0), ...new Array<number>(vector).fill(1));
  const table = { dtype: "fp32", shape: [...mask.shape.map(() => 1), 2, vector], data: ones } as const;
  const kept = new Float32Array(dense.length);
  tableEntries(table, mask.shape, axis, (v) => v).decode(mask.data, 0, kept);
  return { mask: Uint8Array.from(kept), values: dense.filter((_, i) => kept[i] !== 0) };
}

/**
 * The value of a `constexpr_*` operation whose operands are `operands`: its output of that number, of type `result`.
 * Throws `program/unsupported-op` for another op, `format/malformed` for codes that do not fit their tables.
 */
export function decodeConstexpr(
  op: OpArguments,
  operands: Readonly<Record<string, Tensor>>,
  result: TensorType,
  output = 0,
): Tensor {
  const sparse = sparseOperands[op.type];
  if (sparse) {
    const { mask, values } = sparseValues(op, operands, sparse, result);
    return output === 0 ? { dtype: "uint1", shape: result.shape, data: mask } : withValues(result, values);
  }
  const name = codesOperand[op.type] ?? "";
  const codes = operands[name] ?? op.fail(name, "a constant", "nothing");
  const decoder = constexprDecoder(op, operands, codes.shape, result);
  const values = new Float32Array(elementCount(result.shape));
  decoder.decode(codes.data, 0, values);
  decoder.finish();
  return withValues(result, values);
}

function withValues({ dtype, shape }: TensorType, values: Float32Array<ArrayBuffer>): Tensor {
  if (dtype === "fp32") return { dtype, shape, data: values };
  if (dtype === "fp16") return { dtype, shape, data: float16FromFloat32(values) };
  const data = newData(dtype, values.length);
  data.set(values);
  return { dtype, shape, data };
}
