/**
 * @file The types of a MIL program: element types, tensors, states.
 *
 * Reference: Apple's MIL specification (Core ML `MIL.proto`, spec 9 / iOS 18). Shapes are static. Sub-byte
 * types are stored one element per byte in memory and packed only in files (see `lib/formats/coreml`).
 */

export const dtypes = [
  "fp16",
  "fp32",
  "int32",
  "bool",
  "string",
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int4",
  "uint4",
  "uint1",
  "uint2",
  "uint3",
  "uint6",
] as const;

export type DType = (typeof dtypes)[number];
export type FloatDType = "fp16" | "fp32";

/** Bits an element takes in a file. */
export const dtypeBits: Record<DType, number> = {
  fp16: 16,
  fp32: 32,
  int32: 32,
  bool: 8,
  string: 0,
  int8: 8,
  uint8: 8,
  int16: 16,
  uint16: 16,
  int4: 4,
  uint4: 4,
  uint1: 1,
  uint2: 2,
  uint3: 3,
  uint6: 6,
};

export type Shape = readonly number[];

export interface TensorType {
  readonly kind: "tensor";
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A tensor that lives across calls (a KV cache); reached through `read_state` and `write_state`. */
export interface StateType {
  readonly kind: "state";
  readonly wrapped: TensorType;
}

export type ValueType = TensorType | StateType;

export const tensorType = (dtype: DType, shape: Shape): TensorType => ({ kind: "tensor", dtype, shape: [...shape] });
export const fp32 = (...shape: number[]): TensorType => tensorType("fp32", shape);
export const fp16 = (...shape: number[]): TensorType => tensorType("fp16", shape);
export const int32 = (...shape: number[]): TensorType => tensorType("int32", shape);
export const bool = (...shape: number[]): TensorType => tensorType("bool", shape);
export const stateType = (wrapped: TensorType): StateType => ({ kind: "state", wrapped });

export const isFloat = (dtype: DType): dtype is FloatDType => dtype === "fp16" || dtype === "fp32";
export const elementCount = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

export const sameType = (a: ValueType, b: ValueType): boolean =>
  a.kind === "tensor" && b.kind === "tensor"
    ? a.dtype === b.dtype && sameShape(a.shape, b.shape)
    : a.kind === "state" && b.kind === "state" && sameType(a.wrapped, b.wrapped);

/** `fp32[2, 3]`, `state<fp16[1, 8]>`. */
export function showType(type: ValueType): string {
  return type.kind === "state" ? `state<${showType(type.wrapped)}>` : `${type.dtype}[${type.shape.join(", ")}]`;
}
