/**
 * @file `weight.bin`: Core ML's file of big constants, MIL blob storage version 2.
 *
 *   0    u32 count of blobs, u32 version = 2, 56 zero bytes
 *   64   records, each at a multiple of 64 and followed at once by its data:
 *        u32 0xDEADBEEF, u32 type, u64 size in bytes, u64 offset of the data, u64 padding bits, 32 zero bytes
 *
 * A value of a program names the offset of a record, so values may share one: equal blobs are written once.
 * Not included: version 1 files.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { EspalierError, toEspalierError } from "../../errors.ts";
import { DeferredTensor, type Tensor, type TensorData, withShape, zeros } from "../../mil/tensor.ts";
import { dtypeBits, elementCount } from "../../mil/types.ts";
import {
  type BlobDType,
  blobDataTypes,
  dtypeOfBlob,
  elementsOf,
  isBlobDType,
  storedBytes,
  storedPieces,
  storedSizeBytes,
} from "./element-types.ts";

/** How a program names the weight file of its package. */
export const WEIGHT_FILE = "@model_path/weights/weight.bin";

const alignment = 64;
const sentinel = 0xdeadbeef;
const chunkBytes = 1 << 26;
/** Elements made at once when a record is read in pieces; a multiple of eight. */
const PIECE_ELEMENTS = 1 << 23;
const align = (offset: number): number => Math.ceil(offset / alignment) * alignment;

/** Takes the constants of a package and says where they lie. */
export interface BlobSink {
  /** The offset of the record of this tensor, which may be shared with an equal one. */
  add(t: Tensor): Promise<number>;
  /** The data of a deferred tensor too small for the file. */
  small(t: DeferredTensor): Promise<Tensor>;
}

/** Places records; remembers tensors in memory by content, deferred ones by what makes them. */
class BlobLedger {
  readonly offsets = new Map<string | DeferredTensor["pieces"], number>();
  end = alignment;
  count = 0;

  /** The place of a new record of `sizeBytes`. */
  place(key: string | DeferredTensor["pieces"], sizeBytes: number): number {
    const offset = align(this.end);
    this.end = offset + alignment + sizeBytes;
    this.count++;
    this.offsets.set(key, offset);
    return offset;
  }
}

const contentKey = (t: Tensor, bytes: Uint8Array): string =>
  createHash("sha256").update(`${t.dtype} ${t.data.length} `).update(bytes).digest("hex");

function checkHeld(t: Tensor): BlobDType {
  if (!isBlobDType(t.dtype)) throw new EspalierError("program/type", `a weight file cannot hold ${t.dtype}`);
  return t.dtype;
}

/** Counts what a `BlobFileWriter` would write, to the byte, without writing and without making deferred data. */
export class BlobFileCounter implements BlobSink {
  private readonly ledger = new BlobLedger();

  async add(t: Tensor): Promise<number> {
    checkHeld(t);
    const deferred = t instanceof DeferredTensor;
    const key = deferred ? t.pieces : contentKey(t, storedBytes(t));
    return this.ledger.offsets.get(key) ?? this.ledger.place(key, storedSizeBytes(t.dtype, elementCount(t.shape)));
  }

  async small(t: DeferredTensor): Promise<Tensor> {
    return zeros(t);
  }

  get sizeBytes(): number {
    return this.ledger.end;
  }
}

/** Writes blobs one after the other; of a deferred tensor one piece is held, of another its packed bytes. */
export class BlobFileWriter implements BlobSink {
  private readonly file: FileHandle;
  private readonly ledger = new BlobLedger();
  private readonly smalls = new Map<DeferredTensor["pieces"], Tensor>();
  private readonly contents = createHash("sha256");

  private constructor(file: FileHandle) {
    this.file = file;
  }

  static async create(path: string): Promise<BlobFileWriter> {
    try {
      return new BlobFileWriter(await open(path, "wx"));
    } catch (error) {
      throw toEspalierError(error);
    }
  }

  async add(t: Tensor): Promise<number> {
    checkHeld(t);
    if (t instanceof DeferredTensor) {
      const known = this.ledger.offsets.get(t.pieces);
      return known ?? this.stream(t);
    }
    const bytes = storedBytes(t);
    const key = contentKey(t, bytes);
    const known = this.ledger.offsets.get(key);
    if (known !== undefined) return known;
    const offset = this.ledger.place(key, bytes.length);
    await this.write(recordOf(t, offset, bytes.length), offset);
    await this.write(bytes, offset + alignment);
    this.contents.update(key);
    return offset;
  }

  private async stream(t: DeferredTensor): Promise<number> {
    const count = elementCount(t.shape);
    const sizeBytes = storedSizeBytes(t.dtype, count);
    const offset = this.ledger.place(t.pieces, sizeBytes);
    await this.write(recordOf(t, offset, sizeBytes), offset);
    const hash = createHash("sha256").update(`${t.dtype} ${count} `);
    let at = offset + alignment;
    for await (const bytes of storedPieces(t)) {
      hash.update(bytes);
      await this.write(bytes, at);
      at += bytes.length;
    }
    this.contents.update(hash.digest("hex"));
    return offset;
  }

  async small(t: DeferredTensor): Promise<Tensor> {
    let known = this.smalls.get(t.pieces);
    if (!known) {
      const pieces: number[] = [];
      for await (const piece of t.pieces()) pieces.push(...piece);
      const made = zeros(t);
      if (pieces.length !== made.data.length) throw wrongCount(t, pieces.length);
      made.data.set(pieces);
      known = made;
      this.smalls.set(t.pieces, known);
    }
    return known.shape.length === t.shape.length ? known : withShape(known, t.shape);
  }

  /** Writes the header and closes. `contentHash` depends on the blobs and their order alone. */
  async finish(): Promise<{ count: number; sizeBytes: number; contentHash: string }> {
    const { count, end } = this.ledger;
    const header = Buffer.alloc(alignment);
    header.writeUInt32LE(count, 0);
    header.writeUInt32LE(2, 4);
    await this.write(header, 0);
    try {
      await this.file.sync();
    } catch (error) {
      throw toEspalierError(error);
    } finally {
      await this.file.close();
    }
    return { count, sizeBytes: end, contentHash: this.contents.digest("hex") };
  }

  /** Closes without a header; the file is unreadable and left to its owner to remove. */
  async abandon(): Promise<void> {
    await this.file.close().catch(() => {});
  }

  private async write(bytes: Uint8Array, offset: number): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        const wanted = Math.min(chunkBytes, bytes.length - at);
        const { bytesWritten } = await this.file.write(bytes, at, wanted, offset + at);
        at += bytesWritten;
      }
    } catch (error) {
      throw toEspalierError(error);
    }
  }
}

function recordOf(t: Tensor, offset: number, sizeBytes: number): Buffer {
  const dtype = checkHeld(t);
  const record = Buffer.alloc(alignment);
  record.writeUInt32LE(sentinel, 0);
  record.writeUInt32LE(blobDataTypes[dtype], 4);
  record.writeBigUInt64LE(BigInt(sizeBytes), 8);
  record.writeBigUInt64LE(BigInt(offset + alignment), 16);
  record.writeBigUInt64LE(BigInt(sizeBytes * 8 - elementCount(t.shape) * dtypeBits[dtype]), 24);
  return record;
}

const wrongCount = (t: Tensor, found: number): EspalierError =>
  new EspalierError("internal/invariant", `internal: ${t.dtype}[${t.shape.join(", ")}] was made of ${found} elements`);

export interface BlobRecord {
  readonly offset: number;
  readonly dtype: BlobDType;
  readonly dataOffset: number;
  readonly sizeBytes: number;
  readonly elements: number;
}

/**
 * A weight file whose every record was checked when it was opened: sentinel, type, alignment, bounds, padding,
 * nothing between records and nothing after the last. Data is read when asked for.
 */
export class BlobFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** By offset, in file order. */
  readonly records: ReadonlyMap<number, BlobRecord>;

  private constructor(path: string, sizeBytes: number, records: ReadonlyMap<number, BlobRecord>) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.records = records;
  }

  /** Throws `format/truncated`, `format/malformed` or `format/unsupported`, naming the file and the offset. */
  static open(path: string): BlobFile {
    return withFile(path, (fd) => {
      const sizeBytes = fstatSync(fd).size;
      const header = readExactly(fd, path, 0, alignment, sizeBytes);
      const count = header.readUInt32LE(0);
      const version = header.readUInt32LE(4);
      if (version !== 2)
        throw new EspalierError("format/unsupported", `${path}: blob storage version ${version}, 2 is read`);
      const records = new Map<number, BlobRecord>();
      let end = alignment;
      for (let i = 0; i < count; i++) {
        const offset = align(end);
        const record = parseRecord(readExactly(fd, path, offset, alignment, sizeBytes), path, offset, sizeBytes);
        records.set(offset, record);
        end = record.dataOffset + record.sizeBytes;
      }
      if (sizeBytes > align(end)) {
        throw malformed(path, end, `${sizeBytes - end} bytes follow the last of ${count} blobs`);
      }
      return new BlobFile(path, sizeBytes, records);
    });
  }

  /** The elements of a record, sub-byte ones unpacked to one per byte. */
  read(record: BlobRecord): TensorData {
    return elementsOf(this.readStored(record), record.dtype, record.elements);
  }

  /** As `read`, some of the elements at a time. */
  async *pieces(record: BlobRecord): AsyncGenerator<TensorData> {
    const bits = dtypeBits[record.dtype];
    for (let from = 0; from < record.elements; from += PIECE_ELEMENTS) {
      // A piece begins at a whole byte, because it has a multiple of eight elements.
      const count = Math.min(PIECE_ELEMENTS, record.elements - from);
      const offset = record.dataOffset + (from * bits) / 8;
      const length = Math.ceil((count * bits) / 8);
      const bytes = withFile(this.path, (fd) => readExactly(fd, this.path, offset, length, this.sizeBytes));
      yield elementsOf(bytes, record.dtype, count);
    }
  }

  /** The stored bytes of a record, or the first `most` of them. */
  readStored(record: BlobRecord, most = record.sizeBytes): Uint8Array {
    const wanted = Math.min(most, record.sizeBytes);
    return withFile(this.path, (fd) => readExactly(fd, this.path, record.dataOffset, wanted, this.sizeBytes));
  }
}

const malformed = (path: string, offset: number, what: string): EspalierError =>
  new EspalierError("format/malformed", `${path}: at byte ${offset}: ${what}`, {
    hint: "The weight file is damaged; copy or export the package again.",
  });

function parseRecord(bytes: Buffer, path: string, offset: number, fileBytes: number): BlobRecord {
  const mark = bytes.readUInt32LE(0);
  if (mark !== sentinel) throw malformed(path, offset, `no blob starts here (mark 0x${mark.toString(16)})`);
  const type = bytes.readUInt32LE(4);
  const dtype = dtypeOfBlob.get(type);
  if (!dtype) throw new EspalierError("format/unsupported", `${path}: at byte ${offset}: blob type ${type}`);
  const size = bytes.readBigUInt64LE(8);
  const dataOffset = bytes.readBigUInt64LE(16);
  const padding = bytes.readBigUInt64LE(24);
  if (dataOffset !== BigInt(offset + alignment))
    throw malformed(path, offset, `the data is said to be at byte ${dataOffset}, not after the record`);
  if (dataOffset + size > BigInt(fileBytes)) {
    throw new EspalierError(
      "format/truncated",
      `${path}: the blob at byte ${offset} has ${size} bytes, ${BigInt(fileBytes) - dataOffset} are there`,
      { hint: "The weight file is incomplete; copy or export the package again." },
    );
  }
  const bits = dtypeBits[dtype];
  const used = Number(size) * 8 - Number(padding);
  if (padding > 7n || used < 0 || used % bits !== 0)
    throw malformed(path, offset, `${size} bytes less ${padding} bits are not whole ${dtype} elements`);
  return { offset, dtype, dataOffset: Number(dataOffset), sizeBytes: Number(size), elements: used / bits };
}

function withFile<T>(path: string, body: (fd: number) => T): T {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw toEspalierError(error);
  }
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

function readExactly(fd: number, path: string, offset: number, length: number, fileBytes: number): Buffer {
  if (offset + length > fileBytes) {
    throw new EspalierError("format/truncated", `${path}: ${fileBytes} bytes, ${offset + length} are needed`, {
      hint: "The weight file is incomplete; copy or export the package again.",
    });
  }
  try {
    const out = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
      const read = readSync(fd, out, at, Math.min(chunkBytes, length - at), offset + at);
      if (read === 0) throw new EspalierError("format/truncated", `${path}: ends at byte ${offset + at}`);
      at += read;
    }
    return out;
  } catch (error) {
    throw toEspalierError(error);
  }
}
