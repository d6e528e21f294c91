/**
 * @file The header of a GGUF file: version, metadata, and the table of tensors.
 *
 * Reference: docs/gguf.md of ggml-org/ggml, versions 2 and 3, little-endian. "GGUF", u32 version, u64 number of tensors,
 * u64 number of keys; per key a string (u64 bytes, UTF-8), u32 value type, the value; per tensor its name, u32 number of
 * dimensions, u64 dimensions innermost first, u32 element type, u64 offset from the start of the data. The data begin at
 * the next multiple of `general.alignment` (32 unless the file says otherwise), and each tensor begins there where the
 * one before it ends, rounded up to that multiple. Nothing is allocated for a count before the file is known
 * to be long enough for it. Not included, refused with an error that says so: version 1, big-endian files, files split in several,
 * arrays of arrays.
 */

import { EspalierError } from "../../errors.ts";
import type { ByteRanges } from "../../files/byte-ranges.ts";
import { refuseMistakenFile } from "../../files/mistaken-file.ts";
import type { GgufMetadata, GgufScalar, GgufValue } from "./metadata.ts";
import { blockSizes, type GgufTensorType, isTensorType, typeName } from "./tensor-type.ts";

export interface GgufTensor {
  readonly name: string;
  readonly type: GgufTensorType;
  /** Outermost first, as everywhere in Espalier: the reverse of the order in the file. */
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  /** From the start of the file. */
  readonly offset: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: GgufMetadata;
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Where the data begin. */
  readonly dataStart: number;
}

/** More than the metadata of any model: a vocabulary of a quarter of a million tokens takes about 10 MB. */
const MOST_HEADER_BYTES = 256 * 2 ** 20;
const MOST_ARRAY_ELEMENTS = 2 ** 24;
const MOST_NAME_BYTES = 1024;
const MOST_DIMENSIONS = 4;
const MOST_ALIGNMENT = 2 ** 20;
/** name, type and value of a key; name, dimensions, type and offset of a tensor. */
const LEAST_KEY_BYTES = 8 + 4 + 1;
const LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;
const READ_AHEAD_BYTES = 1 << 20;

/** Throws `format/truncated`, `format/malformed` and `format/unsupported`. */
export async function readHeader(file: ByteRanges): Promise<GgufHeader> {
  const cursor = new Cursor(file);
  const version = await readVersion(cursor);
  const tensorCount = await cursor.u64("the number of tensors");
  const keyCount = await cursor.u64("the number of metadata keys");
  cursor.checkCount(keyCount, LEAST_KEY_BYTES, "metadata keys");
  cursor.checkCount(tensorCount, LEAST_TENSOR_BYTES, "tensors");

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = await cursor.string("the name of a metadata key", MOST_NAME_BYTES);
    if (metadata.has(key)) throw cursor.malformed(`the metadata key "${key}" occurs twice`);
    metadata.set(key, await readValue(cursor, await cursor.u32(`the type of "${key}"`), key));
  }
  const splits = metadata.get("split.count");
  if (typeof splits === "number" && splits > 1) {
    throw new EspalierError("format/unsupported", `${file.path} is one of ${splits} files of a split model`, {
      hint: "Join them first: llama-gguf-split --merge FIRST-FILE JOINED.gguf",
    });
  }

  const listed: Omit<GgufTensor, "offset">[] = [];
  const offsets: number[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const { offset, ...tensor } = await readTensor(cursor);
    if (names.has(tensor.name)) throw cursor.malformed(`two tensors are named "${tensor.name}"`);
    names.add(tensor.name);
    listed.push(tensor);
    offsets.push(offset);
  }

  const alignment = alignmentOf(metadata, cursor);
  const dataStart = roundUp(cursor.position, alignment);
  const tensors = new Map<string, GgufTensor>();
  let at = 0;
  for (const [i, tensor] of listed.entries()) {
    const offset = offsets[i] ?? 0;
    if (offset !== at)
      throw cursor.malformed(
        `tensor "${tensor.name}" begins at data byte ${offset}, the tensor before it makes that ${at}`,
      );
    if (dataStart + offset + tensor.sizeBytes > file.sizeBytes) {
      throw new EspalierError(
        "format/truncated",
        `${file.path}: tensor "${tensor.name}" ends at byte ${dataStart + offset + tensor.sizeBytes}, the file has ${file.sizeBytes}`,
        { hint: "Download the file again." },
      );
    }
    tensors.set(tensor.name, { ...tensor, offset: dataStart + offset });
    at = roundUp(offset + tensor.sizeBytes, alignment);
  }
  return { version, metadata, tensors, dataStart };
}

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

async function readVersion(cursor: Cursor): Promise<number> {
  const magic = await cursor.bytes(4, "the first four bytes");
  if (String.fromCharCode(...magic) !== "GGUF") {
    refuseMistakenFile(cursor.path, await cursor.firstBytes(), "gguf");
    throw cursor.malformed('the first four bytes are not "GGUF"');
  }
  const version = await cursor.u32("the version");
  if (version === 2 || version === 3) return version;
  if (version !== 0 && version % 65536 === 0) {
    throw new EspalierError("format/unsupported", `${cursor.path} is a big-endian GGUF file`, {
      hint: "Give the little-endian file, which nearly every model is published as.",
    });
  }
  throw new EspalierError(
    "format/unsupported",
    `${cursor.path} is GGUF version ${version}, versions 2 and 3 are read`,
    {
      hint: "Convert the model again with a current llama.cpp.",
    },
  );
}

const scalarBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const STRING = 8;
const ARRAY = 9;

async function readValue(cursor: Cursor, type: number, key: string): Promise<GgufValue> {
  if (type !== ARRAY) {
    const [value] = await readValues(cursor, type, 1, key);
    if (value === undefined) throw cursor.malformed(`the metadata key "${key}" has no value`);
    return value;
  }
  const elementType = await cursor.u32(`the element type of "${key}"`);
  const length = await cursor.u64(`the length of "${key}"`);
  if (elementType === ARRAY)
    throw new EspalierError("format/unsupported", `${cursor.path}: the metadata key "${key}" is an array of arrays`);
  if (length > MOST_ARRAY_ELEMENTS)
    throw cursor.malformed(`the metadata key "${key}" has ${length} elements, more than ${MOST_ARRAY_ELEMENTS}`);
  return readValues(cursor, elementType, length, key);
}

async function readValues(cursor: Cursor, type: number, count: number, key: string): Promise<GgufScalar[]> {
  if (type === STRING) {
    cursor.checkCount(count, 8, `elements of "${key}"`);
    const strings: string[] = [];
    for (let i = 0; i < count; i++) strings.push(await cursor.string(`a string of "${key}"`));
    return strings;
  }
  const size = scalarBytes[type];
  if (size === undefined)
    throw new EspalierError(
      "format/unsupported",
      `${cursor.path}: the metadata key "${key}" has the value type ${type}`,
      {
        hint: "The file is damaged, or newer than this version of Espalier.",
      },
    );
  const bytes = await cursor.bytes(count * size, `"${key}"`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: GgufScalar[] = [];
  for (let i = 0; i < count; i++) values.push(scalarAt(view, type, i * size));
  return values;
}

const exact = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;

function scalarAt(view: DataView, type: number, at: number): GgufScalar {
  switch (type) {
    case 0:
      return view.getUint8(at);
    case 1:
      return view.getInt8(at);
    case 2:
      return view.getUint16(at, true);
    case 3:
      return view.getInt16(at, true);
    case 4:
      return view.getUint32(at, true);
    case 5:
      return view.getInt32(at, true);
    case 6:
      return view.getFloat32(at, true);
    case 7:
      return view.getUint8(at) !== 0;
    case 10:
      return exact(view.getBigUint64(at, true));
    case 11:
      return exact(view.getBigInt64(at, true));
    default:
      return view.getFloat64(at, true);
  }
}

async function readTensor(cursor: Cursor): Promise<GgufTensor> {
  const name = await cursor.string("the name of a tensor", MOST_NAME_BYTES);
  if (name === "") throw cursor.malformed("a tensor has no name");
  const dimensions = await cursor.u32(`the dimensions of "${name}"`);
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS)
    throw cursor.malformed(`tensor "${name}" has ${dimensions} dimensions, not 1 to ${MOST_DIMENSIONS}`);
  const innermostFirst: number[] = [];
  for (let i = 0; i < dimensions; i++) innermostFirst.push(await cursor.u64(`the dimensions of "${name}"`));
  const shape = [...innermostFirst].reverse();
  const code = await cursor.u32(`the type of "${name}"`);
  const type = typeName(code);
  if (!isTensorType(type)) {
    throw new EspalierError("format/unsupported", `${cursor.path}: tensor "${name}" has the type ${type}`, {
      hint: `Read are ${Object.keys(blockSizes).join(", ")}. Take a file in one of these, for example Q8_0 or Q4_K_M.`,
    });
  }
  const offset = await cursor.u64(`the offset of "${name}"`);
  const block = blockSizes[type];
  const elements = shape.reduce((n, d) => n * d, 1);
  if (shape.some((d) => d < 1) || !Number.isSafeInteger(elements * block.bytes))
    throw cursor.malformed(`tensor "${name}" has the impossible shape [${shape.join(", ")}]`);
  if ((innermostFirst[0] ?? 1) % block.elements !== 0) {
    throw cursor.malformed(
      `tensor "${name}" has rows of ${innermostFirst[0]}, which the ${block.elements} elements of a block of ${type} do not divide`,
    );
  }
  return { name, type, shape, sizeBytes: (elements / block.elements) * block.bytes, offset };
}

function alignmentOf(metadata: GgufMetadata, cursor: Cursor): number {
  const given = metadata.get("general.alignment") ?? 32;
  if (typeof given === "number" && given >= 1 && given <= MOST_ALIGNMENT && Number.isInteger(Math.log2(given)))
    return given;
  throw cursor.malformed(`general.alignment is ${String(given)}, not a power of two up to ${MOST_ALIGNMENT}`);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads forward through the file, some way ahead of each request. */
class Cursor {
  private buffer: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  private view = new DataView(this.buffer.buffer);
  private start = 0;
  private at = 0;

  private readonly file: ByteRanges;

  constructor(file: ByteRanges) {
    this.file = file;
  }

  get path(): string {
    return this.file.path;
  }

  get position(): number {
    return this.start + this.at;
  }

  firstBytes(): Promise<Uint8Array> {
    return this.file.read(0, Math.min(64, this.file.sizeBytes));
  }

  malformed(what: string): EspalierError {
    return new EspalierError("format/malformed", `${this.path}: ${what}`, {
      hint: "The file is damaged; download it again.",
    });
  }

  /** Throws unless the rest of the file can hold that many of at least so many bytes. */
  checkCount(count: number, leastBytes: number, what: string): void {
    const left = this.file.sizeBytes - this.position;
    if (count * leastBytes > left)
      throw new EspalierError(
        "format/truncated",
        `${this.path} says it has ${count} ${what}, the ${left} bytes that follow cannot hold them`,
        { hint: "The file is damaged or was cut short; download it again." },
      );
  }

  async bytes(length: number, what: string): Promise<Uint8Array> {
    if (this.at + length > this.buffer.length) await this.advance(length, what);
    this.at += length;
    return this.buffer.subarray(this.at - length, this.at);
  }

  async u32(what: string): Promise<number> {
    if (this.at + 4 > this.buffer.length) await this.advance(4, what);
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }

  /** Throws for what a number does not hold exactly. */
  async u64(what: string): Promise<number> {
    if (this.at + 8 > this.buffer.length) await this.advance(8, what);
    this.at += 8;
    const low = this.view.getUint32(this.at - 8, true);
    const high = this.view.getUint32(this.at - 4, true);
    const value = high * 2 ** 32 + low;
    if (!Number.isSafeInteger(value)) throw this.malformed(`${what} is ${value}, which no file can hold`);
    return value;
  }

  async string(what: string, mostBytes = MOST_HEADER_BYTES): Promise<string> {
    const length = await this.u64(`the length of ${what}`);
    if (length > mostBytes) throw this.malformed(`${what} has ${length} bytes, more than ${mostBytes}`);
    const bytes = await this.bytes(length, what);
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new EspalierError("format/malformed", `${this.path}: ${what} is not UTF-8`, { cause });
    }
  }

  /** Makes the next `length` bytes the start of the buffer. */
  private async advance(length: number, what: string): Promise<void> {
    const from = this.position;
    const left = this.file.sizeBytes - from;
    if (length > left) {
      throw new EspalierError(
        "format/truncated",
        `${this.path} ends at byte ${this.file.sizeBytes}, inside ${what}, which needs ${length} bytes from byte ${from}`,
        { hint: "Download the file again." },
      );
    }
    if (from + length > MOST_HEADER_BYTES)
      throw this.malformed(`the metadata have more than ${MOST_HEADER_BYTES} bytes`);
    this.buffer = await this.file.read(from, Math.min(left, Math.max(length, READ_AHEAD_BYTES)));
    this.view = new DataView(this.buffer.buffer);
    this.start = from;
    this.at = 0;
  }
}
