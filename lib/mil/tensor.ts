/**
 * @file A tensor in memory: element type, shape, row-major data.
 *
 * fp16 is kept as its bit patterns in a `Uint16Array`; bool as 0/1 bytes; every sub-byte type as one element
 * per byte (`int4` signed in an `Int8Array`, the unsigned ones in a `Uint8Array`).
 */
import { EspalierError } from "../errors.ts";
import { type DType, elementCount, type Shape, type TensorType } from "./types.ts";

export type TensorData = Float32Array | Int32Array | Uint16Array | Int16Array | Uint8Array | Int8Array;

export interface Tensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TensorData;
}

/**
 * A constant known by its type alone until a package is written. `pieces` then makes the data, in order; each piece is let
 * go before the next is made. A program that holds one can be typed, printed, written and run, but nobody keeps its data.
 */
export class DeferredTensor implements Tensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly pieces: () => AsyncIterable<TensorData>;

  constructor(dtype: DType, shape: Shape, pieces: () => AsyncIterable<TensorData>) {
    this.dtype = dtype;
    this.shape = [...shape];
    this.pieces = pieces;
  }

  get data(): TensorData {
    throw new EspalierError(
      "program/structure",
      `the constant ${this.dtype}[${this.shape.join(", ")}] is made piece by piece and is never in memory as a whole`,
    );
  }
}

const arrays = {
  fp16: Uint16Array,
  fp32: Float32Array,
  int32: Int32Array,
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int4: Int8Array,
  uint4: Uint8Array,
  uint1: Uint8Array,
  uint2: Uint8Array,
  uint3: Uint8Array,
  uint6: Uint8Array,
} as const;

/** Zeros of a type. Throws `program/type` for strings, which are never tensors of data here. */
export function zeros(type: TensorType | { dtype: DType; shape: Shape }): Tensor {
  return { dtype: type.dtype, shape: type.shape, data: newData(type.dtype, elementCount(type.shape)) };
}

export function newData(dtype: DType, count: number): TensorData {
  if (dtype === "string") throw new EspalierError("program/type", "a string has no tensor data");
  return new arrays[dtype](count);
}

/** The same data under another shape of as many elements. */
export function withShape(t: Tensor, shape: Shape): Tensor {
  if (elementCount(shape) !== elementCount(t.shape))
    throw new EspalierError("program/type", `[${t.shape.join(", ")}] does not reshape to [${shape.join(", ")}]`);
  return t instanceof DeferredTensor ? new DeferredTensor(t.dtype, shape, t.pieces) : { ...t, data: t.data, shape };
}

/** A tensor over existing data, the length checked against the shape. */
export function tensor(dtype: DType, shape: Shape, data: TensorData): Tensor {
  const expected = elementCount(shape);
  if (data.length !== expected) {
    throw new EspalierError(
      "program/type",
      `tensor ${dtype}[${shape.join(", ")}] needs ${expected} elements, found ${data.length}`,
    );
  }
  return { dtype, shape: [...shape], data };
}

export const f32 = (shape: Shape, data: ArrayLike<number>): Tensor =>
  tensor("fp32", shape, data instanceof Float32Array ? data : Float32Array.from(data));
export const i32 = (shape: Shape, data: ArrayLike<number>): Tensor =>
  tensor("int32", shape, data instanceof Int32Array ? data : Int32Array.from(data));

/** The fp32 data of a tensor; throws when it is of another type. */
export function float32Data(t: Tensor): Float32Array {
  if (t.data instanceof Float32Array) return t.data;
  throw new EspalierError("program/type", `expected an fp32 tensor, found ${t.dtype}[${t.shape.join(", ")}]`);
}
