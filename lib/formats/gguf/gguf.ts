/**
 * @file GGUF files: metadata and a table of tensors, read lazily by byte range, decoded to fp32 on the way.
 *
 * Reference: docs/gguf.md of ggml-org/ggml. This file knows bytes; the checkpoint above it knows
 * which tensor is which weight of a decoder. A file is never in memory as a whole.
 */

import { EspalierError, invariant } from "../../errors.ts";
import { type ByteRanges, openByteRanges } from "../../files/byte-ranges.ts";
import { dequantize } from "./dequantize.ts";
import { type GgufTensor, readHeader } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";
import { blockSizes } from "./tensor-type.ts";

const PIECE_BYTES = 1 << 20;

export interface GgufFile {
  readonly path: string;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly sizeBytes: number;
  /** The fp32 values of a tensor, or of its rows [from, to) along the outermost dimension. */
  readFloat32(name: string, rows?: { from: number; to: number }): Promise<Float32Array<ArrayBuffer>>;
  /** The bytes of one tensor, in buffers that later pieces overwrite. */
  tensorPieces(name: string): AsyncIterable<Uint8Array>;
  /** Every byte of the header, then of the tensors in the order of the file, in buffers that later pieces overwrite. */
  pieces(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** Opens and validates. Throws `model/missing-file`, `format/truncated`, `format/malformed`, `format/unsupported`. */
export async function openGguf(path: string): Promise<GgufFile> {
  const file = await openByteRanges(path);
  try {
    const { version, metadata, tensors, dataStart } = await readHeader(file);
    const info = (name: string): GgufTensor => {
      const tensor = tensors.get(name);
      if (!tensor) throw new EspalierError("model/missing-tensor", `${path} has no tensor "${name}"`);
      return tensor;
    };
    return {
      path,
      version,
      metadata,
      tensors,
      sizeBytes: file.sizeBytes,
      async readFloat32(name, rows) {
        const tensor = info(name);
        return decoded(file, tensor, rows ?? { from: 0, to: tensor.shape[0] ?? 1 });
      },
      tensorPieces(name) {
        const { offset, sizeBytes } = info(name);
        return file.pieces(offset, sizeBytes);
      },
      async *pieces() {
        yield* file.pieces(0, Math.min(dataStart, file.sizeBytes));
        for (const { offset, sizeBytes } of tensors.values()) yield* file.pieces(offset, sizeBytes);
      },
      close: () => file.close(),
    };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** A piece of the file at a time, so that the codes of a large tensor are not in memory beside its values. */
async function decoded(
  file: ByteRanges,
  { name, type, shape, offset, sizeBytes }: GgufTensor,
  { from, to }: { from: number; to: number },
): Promise<Float32Array<ArrayBuffer>> {
  const count = shape[0] ?? 1;
  invariant(from >= 0 && from <= to && to <= count, `${name} has ${count} rows, not ${from} to ${to}`);
  const block = blockSizes[type];
  // A vector is one row of blocks, of which single elements can be asked for only where a block is one element.
  const rowBytes = sizeBytes / count;
  invariant(shape.length > 1 || (from === 0 && to === count) || block.elements === 1, `${name} has no single rows`);
  const blocks = ((to - from) * rowBytes) / block.bytes;
  const out = new Float32Array(blocks * block.elements);
  const atOnce = Math.floor(PIECE_BYTES / block.bytes);
  for (let b = 0; b < blocks; b += atOnce) {
    const n = Math.min(atOnce, blocks - b);
    const data = await file.read(offset + from * rowBytes + b * block.bytes, n * block.bytes);
    dequantize(type, data, out.subarray(b * block.elements, (b + n) * block.elements));
  }
  return out;
}
