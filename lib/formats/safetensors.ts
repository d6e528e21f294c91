/**
 * @file Safetensors files: read lazily by byte range, written as a stream.
 *
 * Reference: the safetensors format. u64 N, N bytes of JSON (name → dtype, shape, data_offsets from the end of the
 * header; `__metadata__` a flat map of strings), then the data, row-major and little-endian, without holes. A file is
 * never in memory as a whole. Not included: the values of fp8, and packed 4- and 6-bit types.
 */
import { type FileHandle, open } from "node:fs/promises";
import { z } from "zod";
import { EspalierError, invariant } from "../errors.ts";
import { writeAtomically } from "../files/atomic.ts";
import { type ByteRanges, openByteRanges } from "../files/byte-ranges.ts";
import { parsedJson } from "../files/json-text.ts";
import { refuseMistakenFile } from "../files/mistaken-file.ts";
import { float32FromBfloat16, float32FromFloat16 } from "../float16.ts";

const elementBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
} as const;
export type SafetensorsDType = keyof typeof elementBytes;

const MAX_HEADER_BYTES = 100_000_000;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  /** From the start of the file. */
  readonly offset: number;
}

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)).max(16),
  data_offsets: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]),
});

const isDType = (text: string): text is SafetensorsDType => text in elementBytes;

export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  readBytes(name: string): Promise<Uint8Array>;
  /** Bytes `from` … `from + length` of a tensor. */
  readRange(name: string, from: number, length: number): Promise<Uint8Array>;
  /** The bytes of a tensor, or `length` of them, in pieces, all in one buffer that the next piece overwrites. */
  pieces(name: string, range?: { from: number; length: number }): AsyncIterable<Uint8Array>;
  /** F64, F32, F16 and BF16 as fp32, all elements or those in [from, to). Throws `format/unsupported` for other element types. */
  readFloat32(name: string, range?: { from: number; to: number }): Promise<Float32Array>;
  /** Row `index` of a matrix, as `readFloat32`. */
  readFloat32Row(name: string, index: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Opens and validates. Throws `format/truncated`, `format/malformed`, `format/unsupported`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openByteRanges(path);
  try {
    const { sizeBytes: size } = file;
    const { tensors, metadata } = parseHeader(await readHeader(file), size, path);
    const info = (name: string): TensorInfo => {
      const found = tensors.get(name);
      if (!found) throw new EspalierError("model/missing-tensor", `${path} has no tensor "${name}"`);
      return found;
    };
    const readBytes = async (name: string): Promise<Uint8Array> => {
      const { offset, sizeBytes } = info(name);
      return file.read(offset, sizeBytes);
    };
    const readRange = async (name: string, from: number, length: number): Promise<Uint8Array> => {
      const { offset, sizeBytes } = info(name);
      invariant(from >= 0 && from + length <= sizeBytes, `${name} has ${sizeBytes} bytes, none at ${from + length}`);
      return file.read(offset + from, length);
    };
    return {
      path,
      tensors,
      metadata,
      sizeBytes: size,
      readBytes,
      readRange,
      pieces(name, range) {
        const { offset, sizeBytes } = info(name);
        const { from, length } = range ?? { from: 0, length: sizeBytes };
        invariant(from >= 0 && from + length <= sizeBytes, `${name} has ${sizeBytes} bytes, none at ${from + length}`);
        return file.pieces(offset + from, length);
      },
      async readFloat32(name, range) {
        const { dtype } = info(name);
        const size = elementBytes[dtype];
        const bytes = range ? readRange(name, range.from * size, (range.to - range.from) * size) : readBytes(name);
        return toFloat32(await bytes, dtype, `${path}: ${name}`);
      },
      async readFloat32Row(name, index) {
        const { dtype, shape, sizeBytes } = info(name);
        const rowBytes = sizeBytes / (shape[0] ?? 1);
        return toFloat32(await readRange(name, index * rowBytes, rowBytes), dtype, `${path}: ${name}`);
      },
      close: () => file.close(),
    };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

async function readHeader(file: ByteRanges): Promise<{ text: string; dataStart: number }> {
  const { path, sizeBytes: size } = file;
  if (size < 8) throw new EspalierError("format/truncated", `${path} has ${size} bytes, a safetensors file at least 8`);
  const prefix = await file.read(0, 8);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || 8 + length > size)
    refuseMistakenFile(path, await file.read(0, Math.min(64, size)), "safetensors");
  if (length > MAX_HEADER_BYTES) {
    throw new EspalierError(
      "format/malformed",
      `${path}: the header says it has ${length} bytes, more than ${MAX_HEADER_BYTES}`,
      {
        hint: "This is not a safetensors file, or it is damaged.",
      },
    );
  }
  if (8 + length > size) {
    throw new EspalierError("format/truncated", `${path}: the header needs ${8 + length} bytes, the file has ${size}`, {
      hint: "Download the file again.",
    });
  }
  const bytes = await file.read(8, length);
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), dataStart: 8 + length };
  } catch (cause) {
    throw new EspalierError("format/malformed", `${path}: the header is not UTF-8`, { cause });
  }
}

function parseHeader(header: { text: string; dataStart: number }, size: number, path: string) {
  const malformed = (what: string, cause?: unknown): never => {
    throw new EspalierError("format/malformed", `${path}: ${what}`, cause === undefined ? {} : { cause });
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(header.text);
  } catch (cause) {
    return malformed("the header is not JSON", cause);
  }
  const object = z.record(z.string(), z.unknown()).safeParse(parsed);
  if (!object.success) return malformed("the header is not a JSON object");
  checkDuplicateKeys(header.text, Object.keys(object.data).length, malformed);
  const { __metadata__: rawMetadata, ...entries } = object.data;
  const metadata = z.record(z.string(), z.string()).safeParse(rawMetadata ?? {});
  if (!metadata.success) return malformed("__metadata__ is not a map of strings");
  const dataBytes = size - header.dataStart;
  const tensors = new Map<string, TensorInfo>();
  for (const [name, raw] of Object.entries(entries)) {
    const entry = entrySchema.safeParse(raw);
    if (!entry.success)
      return malformed(`tensor "${name}": ${entry.error.issues[0]?.path.join(".")} ${entry.error.issues[0]?.message}`);
    const { dtype, shape, data_offsets } = entry.data;
    const [begin, end] = data_offsets;
    if (!isDType(dtype)) {
      throw new EspalierError("format/unsupported", `${path}: tensor "${name}" has the element type ${dtype}`, {
        hint: `Supported are ${Object.keys(elementBytes).join(", ")}.`,
      });
    }
    const expected = shape.reduce((n, d) => n * d, elementBytes[dtype]);
    if (end < begin || end - begin !== expected) {
      return malformed(
        `tensor "${name}" ${dtype}[${shape.join(", ")}] needs ${expected} bytes, its offsets ${begin}–${end} hold ${end - begin}`,
      );
    }
    if (end > dataBytes) {
      throw new EspalierError(
        "format/truncated",
        `${path}: tensor "${name}" ends at data byte ${end}, the file has ${dataBytes}`,
        {
          hint: "Download the file again.",
        },
      );
    }
    tensors.set(name, { name, dtype, shape, sizeBytes: expected, offset: header.dataStart + begin });
  }
  let at = header.dataStart;
  for (const t of [...tensors.values()].sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes)) {
    if (t.offset !== at)
      return malformed(
        `tensor "${t.name}" begins at byte ${t.offset}, ${t.offset < at ? "inside another" : "after a hole"} (expected ${at})`,
      );
    at += t.sizeBytes;
  }
  if (at !== size) return malformed(`${size - at} bytes after the last tensor belong to none`);
  return { tensors, metadata: metadata.data };
}

/** JSON.parse keeps the last of two equal keys; a header with two is refused. */
function checkDuplicateKeys(text: string, distinct: number, malformed: (what: string) => never): void {
  let depth = 0;
  let keys = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      let end = i + 1;
      while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      let after = end + 1;
      while (/\s/.test(text[after] ?? "")) after++;
      if (depth === 1 && text[after] === ":") keys++;
      i = end;
    } else if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") depth--;
  }
  if (keys !== distinct) malformed("a tensor name occurs twice");
}

/** Whether `toFloat32` reads it. */
export const isFloat = (dtype: SafetensorsDType): boolean => ["F64", "F32", "F16", "BF16"].includes(dtype);

/** F64, F32, F16 and BF16 as fp32; `bytes` is an allocation of its own. Throws `format/unsupported` naming `what`. */
export function toFloat32(bytes: Uint8Array, dtype: SafetensorsDType, what: string): Float32Array {
  const { buffer } = bytes;
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F64") return Float32Array.from(new Float64Array(buffer));
  if (dtype === "F16") return float32FromFloat16(new Uint16Array(buffer));
  if (dtype === "BF16") return float32FromBfloat16(new Uint16Array(buffer));
  throw new EspalierError("format/unsupported", `${what} is ${dtype}, a floating point type was expected`);
}

export interface TensorToWrite {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Called when its turn comes, so that only one tensor is in memory, or of a large one a piece. */
  bytes(): Promise<Uint8Array> | Uint8Array | AsyncIterable<Uint8Array>;
}

export const asBytes = (data: ArrayBufferView): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** The order in which tensors stand in the file, and what stands before them. */
function laidOut(tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>) {
  const ordered = [...tensors].sort(
    (a, b) => elementBytes[b.dtype] - elementBytes[a.dtype] || (a.name < b.name ? -1 : 1),
  );
  let at = 0;
  // Without a prototype, so that a tensor may be named "constructor".
  const header: Record<string, unknown> = Object.assign(Object.create(null), { __metadata__: metadata });
  for (const t of ordered) {
    if (t.name in header) throw new EspalierError("input/invalid", `two tensors are named "${t.name}"`);
    const size = t.shape.reduce((n, d) => n * d, elementBytes[t.dtype]);
    header[t.name] = { dtype: t.dtype, shape: t.shape, data_offsets: [at, at + size] };
    at += size;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(padded.length), true);
  return { ordered, prefix, padded, sizeBytes: prefix.length + padded.length + at };
}

/** The bytes `writeSafetensors` will write; no tensor's bytes are made. */
export const safetensorsBytes = (
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): number => laidOut(tensors, metadata).sizeBytes;

/** Writes tensors in the order of falling alignment and name; the file appears whole or not at all. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Promise<void> {
  const { ordered, prefix, padded } = laidOut(tensors, metadata);
  await writeAtomically(path, async (partial) => {
    const file = await open(partial, "w");
    try {
      await writeAll(file, prefix);
      await writeAll(file, padded);
      for (const t of ordered) {
        const bytes = await t.bytes();
        const expected = t.shape.reduce((n, d) => n * d, elementBytes[t.dtype]);
        let written = 0;
        for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
          await writeAll(file, piece);
          written += piece.length;
        }
        if (written !== expected) {
          throw new EspalierError(
            "internal/invariant",
            `internal: ${t.name} has ${written} bytes, its shape needs ${expected}`,
          );
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) at += (await file.write(bytes, at, Math.min(bytes.length - at, 1 << 30))).bytesWritten;
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The shard of every tensor from `model.safetensors.index.json`. Throws for names that leave the folder. */
export function parseShardIndex(text: string, path: string): Map<string, string> {
  const index = indexSchema.safeParse(parsedJson(text, path));
  if (!index.success) throw new EspalierError("format/malformed", `${path} has no weight_map of strings`);
  const shards = new Map(Object.entries(index.data.weight_map));
  if (shards.size === 0) throw new EspalierError("format/malformed", `${path} names no tensor`);
  for (const [tensor, shard] of shards) {
    if (!/^[\w.-]+\.safetensors$/.test(shard) || shard.startsWith(".")) {
      throw new EspalierError(
        "format/malformed",
        `${path}: "${tensor}" lies in "${shard}", which is not a plain file name`,
      );
    }
  }
  return shards;
}
