/**
 * @file Types and constants of a package: immediate values, and blobs of the weight file whose data is read when it is asked for.
 */
import { EspalierError } from "../../errors.ts";
import { DeferredTensor, newData, type Tensor, type TensorData } from "../../mil/tensor.ts";
import {
  type DType,
  elementCount,
  sameShape,
  showType,
  stateType,
  type TensorType,
  tensorType,
  type ValueType,
} from "../../mil/types.ts";
import { type BlobFile, WEIGHT_FILE } from "./blob-file.ts";
import { dtypeOfMil, elementsOf, storedSizeBytes } from "./element-types.ts";
import * as mil from "./generated/mil_pb.ts";

const MAX_ELEMENTS = 2 ** 40;

export const bad = (what: string, cause?: unknown): EspalierError =>
  new EspalierError("format/malformed", what, {
    hint: "The package is damaged or was written by a tool with a fault; export it again.",
    ...(cause === undefined ? {} : { cause }),
  });

export function dimension(n: bigint, where: string): number {
  if (n < 0n || n > BigInt(MAX_ELEMENTS)) throw bad(`${where} has the dimension ${n}`);
  return Number(n);
}

export function readType(type: mil.ValueType | undefined, where: string): ValueType {
  const t = type?.type;
  if (t?.case === "stateType") {
    if (t.value.wrappedType?.type.case !== "tensorType") throw bad(`${where} is a state of no tensor`);
    const wrapped = readType(t.value.wrappedType, where);
    if (wrapped.kind === "tensor") return stateType(wrapped);
  }
  if (t?.case !== "tensorType") throw bad(`${where} has no tensor type`);
  const dtype = dtypeOfMil.get(t.value.dataType);
  if (!dtype) throw new EspalierError("format/unsupported", `${where} has the element type ${t.value.dataType}`);
  const shape = t.value.dimensions.map((d) => {
    if (d.dimension.case !== "constant")
      throw new EspalierError("format/unsupported", `${where} has a dimension that is not fixed`);
    return dimension(d.dimension.value.size, where);
  });
  if (Number(t.value.rank) !== shape.length)
    throw bad(`${where} has rank ${t.value.rank} and ${shape.length} dimensions`);
  // Also true of NaN, an overflow times zero.
  if (!(elementCount(shape) <= MAX_ELEMENTS)) throw bad(`${where} has ${elementCount(shape)} elements`);
  return tensorType(dtype, shape);
}

export type Constant =
  | { readonly kind: "tensor"; readonly tensor: Tensor }
  | { readonly kind: "string"; readonly text: string };

/** Blobs above this are deferred by a reader that was asked to; masks never, whose ones are counted on reading. */
const DEFERRED_BYTES = 1 << 16;

/** The constants of one package; equal blobs are one tensor. */
export class ConstantReader {
  private readonly weights: BlobFile | null;
  private readonly deferred: boolean;
  private readonly cache = new Map<bigint, Tensor>();

  /** With `deferred`, large blobs are never kept: each asking reads them again, in pieces. */
  constructor(weights: BlobFile | null, deferred = false) {
    this.weights = weights;
    this.deferred = deferred;
  }

  /** With `whole`, data that a deferred reader keeps too. */
  read(value: mil.Value | undefined, where: string, whole = false): Constant {
    if (!value) throw bad(`${where} has no value`);
    if (value.docString !== "") throw bad(`${where} has a doc string`);
    const type = readType(value.type, where);
    if (type.kind !== "tensor") throw bad(`${where} is a state`);
    if (value.value.case === "blobFileValue")
      return { kind: "tensor", tensor: this.blob(value.value.value, type, where, whole) };
    if (value.value.case !== "immediateValue" || value.value.value.value.case !== "tensor")
      throw bad(`${where} has a value of a kind that is not read here`);
    return immediateConstant(value.value.value.value.value, type, where);
  }

  private blob(reference: mil.Value_BlobFileValue, type: TensorType, where: string, whole: boolean): Tensor {
    if (reference.fileName !== WEIGHT_FILE) throw bad(`${where} lies in ${reference.fileName}`);
    const { weights } = this;
    if (!weights)
      throw new EspalierError("model/missing-file", `${where}: the package has no weight file, weights/weight.bin`, {
        hint: "Copy or export the package again.",
      });
    const record = weights.records.get(Number(reference.offset));
    if (!record) throw bad(`${where}: no blob begins at byte ${reference.offset} of the weight file`);
    const count = elementCount(type.shape);
    if (record.dtype !== type.dtype || record.elements !== count) {
      throw bad(
        `${where} is ${showType(type)}, the blob at byte ${reference.offset} holds ${record.elements} elements of ${record.dtype}`,
      );
    }
    const cached = this.cache.get(reference.offset);
    const known = whole && cached instanceof DeferredTensor ? undefined : cached;
    if (known && sameShape(known.shape, type.shape)) return known;
    const made =
      this.deferred && !whole && record.sizeBytes > DEFERRED_BYTES && record.dtype !== "uint1"
        ? new DeferredTensor(
            type.dtype,
            type.shape,
            known instanceof DeferredTensor ? known.pieces : () => weights.pieces(record),
          )
        : new StoredTensor(
            type,
            () => known?.data ?? weights.read(record),
            () => weights.readStored(record),
          );
    this.cache.set(reference.offset, made);
    return made;
  }
}

/** A tensor whose data is read from the weight file when somebody asks for it, once. */
export class StoredTensor implements Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Its bytes as stored in the file, sub-byte elements packed. */
  readonly packed: () => Uint8Array;
  private readonly read: () => TensorData;
  private known: TensorData | null = null;

  constructor(type: TensorType, read: () => TensorData, packed: () => Uint8Array) {
    this.dtype = type.dtype;
    this.shape = type.shape;
    this.read = read;
    this.packed = packed;
  }

  get data(): TensorData {
    this.known ??= this.read();
    return this.known;
  }

  /** The data, not kept: for whoever looks at every weight once. */
  peek(): TensorData {
    return this.known ?? this.read();
  }
}

/** The data of a constant without keeping what has to be read from a file. */
export const peekData = (t: Tensor): TensorData => (t instanceof StoredTensor ? t.peek() : t.data);

function immediateConstant(value: mil.TensorValue, type: TensorType, where: string): Constant {
  const count = elementCount(type.shape);
  const sized = <T>(values: T[]): T[] => {
    if (values.length !== count) throw bad(`${where} is ${showType(type)} with ${values.length} values`);
    return values;
  };
  const v = value.value;
  const { dtype } = type;
  if (dtype === "string") {
    if (v.case !== "strings" || v.value.values.length !== 1) throw bad(`${where} is not one string`);
    return { kind: "string", text: v.value.values[0] ?? "" };
  }
  if (count > 1_000_000) throw bad(`${where} keeps ${count} elements outside the weight file`);
  const data = newData(dtype, count);
  if (dtype === "fp32" && v.case === "floats") data.set(sized(v.value.values));
  else if (dtype === "bool" && v.case === "bools") data.set(sized(v.value.values).map(Number));
  else if ((dtype === "int32" || dtype === "int16" || dtype === "uint16") && v.case === "ints")
    data.set(sized(v.value.values));
  else if (v.case === "bytes") {
    const expected = storedSizeBytes(dtype, count);
    if (v.value.values.length !== expected)
      throw bad(`${where} is ${showType(type)} in ${v.value.values.length} bytes, ${expected} are needed`);
    return { kind: "tensor", tensor: { dtype, shape: type.shape, data: elementsOf(v.value.values, dtype, count) } };
  } else throw bad(`${where} is ${showType(type)} but its value is of the kind ${v.case}`);
  return { kind: "tensor", tensor: { dtype, shape: type.shape, data } };
}

/** A vector of unsigned 32-bit integers, a type no tensor here has. */
export function uint32Values(value: mil.Value | undefined, where: string): number[] {
  const type = value?.type?.type;
  const immediate = value?.value.case === "immediateValue" ? value.value.value.value : undefined;
  const stored = immediate?.case === "tensor" ? immediate.value.value : undefined;
  if (type?.case !== "tensorType" || type.value.dataType !== mil.DataType.UINT32 || stored?.case !== "bytes")
    throw bad(`${where} is not a vector of uint32`);
  const bytes = stored.value.values;
  if (bytes.length % 4 !== 0 || bytes.length > 4 * 16) throw bad(`${where} has ${bytes.length} bytes`);
  // A copy, because a view of the file need not be aligned.
  const values = [...new Uint32Array(Uint8Array.from(bytes).buffer)];
  if (!(elementCount(values) <= MAX_ELEMENTS)) throw bad(`${where} has ${elementCount(values)} elements`);
  return values;
}
