/**
 * @file The numbers Core ML gives to element types, and their bytes.
 *
 * Reference: `MIL.proto` (DataType), `FeatureTypes.proto` (ArrayDataType), MIL blob storage v2 (BlobDataType).
 * The three tables number the same types differently. Not included: 64-bit and unsigned 32-bit integers, bfloat16
 * and fp8, which no program here holds. Typed arrays are viewed as bytes: hosts are little-endian, as files are.
 */
import { EspalierError } from "../../errors.ts";
import { type DeferredTensor, newData, type Tensor, type TensorData } from "../../mil/tensor.ts";
import { type DType, dtypeBits, elementCount, showType, tensorType } from "../../mil/types.ts";
import { type PackedBits, packBits, packedSizeBytes, unpackBits } from "../bit-packing.ts";
import { ArrayFeatureType_ArrayDataType as ArrayDataType } from "./generated/feature-types_pb.ts";
import { DataType } from "./generated/mil_pb.ts";

export const milDataTypes: Record<DType, DataType> = {
  bool: DataType.BOOL,
  string: DataType.STRING,
  fp16: DataType.FLOAT16,
  fp32: DataType.FLOAT32,
  int8: DataType.INT8,
  int16: DataType.INT16,
  int32: DataType.INT32,
  int4: DataType.INT4,
  uint8: DataType.UINT8,
  uint16: DataType.UINT16,
  uint4: DataType.UINT4,
  uint2: DataType.UINT2,
  uint1: DataType.UINT1,
  uint6: DataType.UINT6,
  uint3: DataType.UINT3,
};

/** Types that can live in a weight file. */
export const blobDataTypes = {
  fp16: 1,
  fp32: 2,
  uint8: 3,
  int8: 4,
  int16: 6,
  uint16: 7,
  int4: 8,
  uint1: 9,
  uint2: 10,
  uint4: 11,
  uint3: 12,
  uint6: 13,
  int32: 14,
} as const satisfies Partial<Record<DType, number>>;

export type BlobDType = keyof typeof blobDataTypes;
export const isBlobDType = (dtype: DType): dtype is BlobDType => dtype in blobDataTypes;

/** Types a feature (a model input or output) can have; int8 from spec 10. */
export const featureDataTypes = {
  fp16: ArrayDataType.FLOAT16,
  fp32: ArrayDataType.FLOAT32,
  int32: ArrayDataType.INT32,
  int8: ArrayDataType.INT8,
} as const satisfies Partial<Record<DType, ArrayDataType>>;

export type FeatureDType = keyof typeof featureDataTypes;
export const isFeatureDType = (dtype: DType): dtype is FeatureDType => dtype in featureDataTypes;

const reversed = <K extends string>(table: Record<K, number>): ReadonlyMap<number, K> => {
  const keys = Object.keys(table) as K[];
  return new Map(keys.map((k) => [table[k], k]));
};
export const dtypeOfMil = reversed(milDataTypes);
export const dtypeOfBlob = reversed(blobDataTypes);
export const dtypeOfFeature = reversed(featureDataTypes);

/** The width of a sub-byte type; null for types of whole bytes. */
export function subByteBits(dtype: DType): Exclude<PackedBits, 8> | null {
  const bits = dtypeBits[dtype];
  return bits === 1 || bits === 2 || bits === 3 || bits === 4 || bits === 6 ? bits : null;
}

/** Bytes `count` elements take in a file. */
export const storedSizeBytes = (dtype: DType, count: number): number => packedSizeBytes(count, dtypeBits[dtype]);

/** The bytes of a tensor as a file holds them; a view on its data when nothing needs packing. */
export function storedBytes(t: Tensor): Uint8Array {
  const { data } = t;
  const bits = subByteBits(t.dtype);
  if (bits !== null && (data instanceof Uint8Array || data instanceof Int8Array)) return packBits(data, bits);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The same for a deferred tensor, piece by piece; throws `internal/invariant` when the pieces are not the whole. */
export async function* storedPieces(t: DeferredTensor): AsyncGenerator<Uint8Array> {
  const bits = subByteBits(t.dtype);
  // Elements that fill no whole byte yet.
  let rest: Uint8Array | Int8Array = new Uint8Array(0);
  let count = 0;
  for await (const data of t.pieces()) {
    count += data.length;
    if (bits === null || !(data instanceof Uint8Array || data instanceof Int8Array)) {
      yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      continue;
    }
    const joined: Uint8Array | Int8Array = rest.length === 0 ? data : joinElements(rest, data);
    const whole: number = joined.length - (joined.length % 8);
    yield packBits(joined.subarray(0, whole), bits);
    rest = joined.slice(whole);
  }
  if (bits !== null && rest.length > 0) yield packBits(rest, bits);
  if (count !== elementCount(t.shape))
    throw new EspalierError(
      "internal/invariant",
      `internal: ${showType(tensorType(t.dtype, t.shape))} was made of ${count} elements`,
    );
}

function joinElements(a: Uint8Array | Int8Array, b: Uint8Array | Int8Array): Uint8Array | Int8Array {
  const out = b instanceof Int8Array ? new Int8Array(a.length + b.length) : new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** The elements in `bytes`, which hold exactly `count` of them. Throws `format/truncated`. */
export function elementsOf(bytes: Uint8Array, dtype: DType, count: number): TensorData {
  const bits = subByteBits(dtype);
  if (bits !== null) return unpackBits(bytes, bits, count, dtype === "int4");
  const out = newData(dtype, count);
  new Uint8Array(out.buffer).set(bytes.subarray(0, out.byteLength));
  return out;
}
