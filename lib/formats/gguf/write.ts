/**
 * @file Writes GGUF files, version 3: metadata, the table of tensors, then their data as a stream.
 *
 * Reference: docs/gguf.md of ggml-org/ggml; `header.ts` says what lies where. Data begin at multiples of 32. The size of the file
 * follows from keys and tensors before anything is written (`predictGguf`).
 */
import { type FileHandle, open } from "node:fs/promises";
import { EspalierError } from "../../errors.ts";
import { writeAtomically } from "../../files/atomic.ts";
import type { GgufScalar } from "./metadata.ts";
import { blockSizes, type GgufTensorType, typeCode } from "./tensor-type.ts";

/** Numbers of value types, as the format says. */
const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

export interface GgufKey {
  readonly key: string;
  /** Of an array, the type of its elements. */
  readonly type: Exclude<keyof typeof valueTypes, "array">;
  readonly value: GgufScalar | readonly GgufScalar[];
}

export interface GgufTensorToWrite {
  readonly name: string;
  readonly type: GgufTensorType;
  /** Outermost first. */
  readonly shape: readonly number[];
  /** Called when its turn comes; in pieces, so that no tensor is in memory as a whole. */
  bytes(): AsyncIterable<Uint8Array>;
}

const ALIGNMENT = 32;

/** Throws `input/invalid` for two tensors of one name, or rows that are no whole number of blocks. */
export function tensorBytes({ name, type, shape }: Omit<GgufTensorToWrite, "bytes">): number {
  const { elements, bytes } = blockSizes[type];
  const columns = shape.at(-1) ?? 1;
  if (columns % elements !== 0)
    throw new EspalierError("input/invalid", `${name} has rows of ${columns}, ${type} needs multiples of ${elements}`);
  return (shape.reduce((n, d) => n * d, 1) / elements) * bytes;
}

/** The bytes that the file will have. */
export function predictGguf(keys: readonly GgufKey[], tensors: readonly Omit<GgufTensorToWrite, "bytes">[]): number {
  const header = roundUp(headerBytes(keys, tensors).length);
  return tensors.reduce((at, t) => roundUp(at + tensorBytes(t)), header);
}

/** The file appears whole or not at all. */
export async function writeGguf(
  path: string,
  keys: readonly GgufKey[],
  tensors: readonly GgufTensorToWrite[],
): Promise<void> {
  const header = headerBytes(keys, tensors);
  await writeAtomically(path, async (partial) => {
    const file = await open(partial, "w");
    try {
      let at = await writeAll(file, header);
      at += await writeAll(file, new Uint8Array(roundUp(at) - at));
      for (const t of tensors) {
        let written = 0;
        for await (const piece of t.bytes()) written += await writeAll(file, piece);
        const expected = tensorBytes(t);
        if (written !== expected)
          throw new EspalierError("internal/invariant", `internal: ${t.name} has ${written} bytes, not ${expected}`);
        at += written;
        at += await writeAll(file, new Uint8Array(roundUp(at) - at));
      }
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

const roundUp = (at: number): number => Math.ceil(at / ALIGNMENT) * ALIGNMENT;

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<number> {
  let at = 0;
  while (at < bytes.length) at += (await file.write(bytes, at, Math.min(bytes.length - at, 1 << 30))).bytesWritten;
  return at;
}

/** Throws `input/invalid` for a number that the type cannot hold. */
function fourBytes(key: string, type: "u32" | "i32" | "f32", value: number): Buffer {
  const b = Buffer.alloc(4);
  try {
    if (type === "f32") b.writeFloatLE(value);
    else if (type === "i32") b.writeInt32LE(value);
    else b.writeUInt32LE(value);
    return b;
  } catch (cause) {
    throw new EspalierError("input/invalid", `the value ${value} of ${key} is no ${type}`, { cause });
  }
}

function headerBytes(keys: readonly GgufKey[], tensors: readonly Omit<GgufTensorToWrite, "bytes">[]): Buffer {
  const parts: Buffer[] = [];
  const u32 = (value: number): void => {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(value);
    parts.push(b);
  };
  const u64 = (value: number | bigint): void => {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(value));
    parts.push(b);
  };
  const text = (value: string): void => {
    const b = Buffer.from(value);
    u64(b.length);
    parts.push(b);
  };
  const scalar = ({ key, type }: GgufKey, value: GgufScalar): void => {
    if (type === "string") text(String(value));
    else if (type === "u64") u64(typeof value === "bigint" ? value : Number(value));
    else if (type === "bool") parts.push(Buffer.of(value ? 1 : 0));
    else parts.push(fourBytes(key, type, Number(value)));
  };

  parts.push(Buffer.from("GGUF"));
  u32(3);
  u64(tensors.length);
  u64(keys.length);
  for (const k of keys) {
    text(k.key);
    if (typeof k.value === "object") {
      u32(valueTypes.array);
      u32(valueTypes[k.type]);
      u64(k.value.length);
      for (const v of k.value) scalar(k, v);
    } else {
      u32(valueTypes[k.type]);
      scalar(k, k.value);
    }
  }
  const names = new Set<string>();
  let offset = 0;
  for (const t of tensors) {
    if (names.has(t.name)) throw new EspalierError("input/invalid", `two tensors are named "${t.name}"`);
    names.add(t.name);
    text(t.name);
    u32(t.shape.length);
    for (const d of [...t.shape].reverse()) u64(d);
    u32(typeCode(t.type));
    u64(offset);
    offset = roundUp(offset + tensorBytes(t));
  }
  return Buffer.concat(parts);
}
