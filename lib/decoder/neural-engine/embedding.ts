/**
 * @file An embedding outside the model, of tokens or per layer: a safetensors file next to the
 * package, in which the host looks up rows.
 *
 *   dense     `embedding` F16 (V, C)
 *   affine    `codes` (V, C), `scales` F16 (V / a, C / b), perhaps `offsets` I8 like them; w = scale · (code − offset)
 *   palette   `indices` (V, C), `tables` F16 (V / rows, 2^bits);                         w = table[index]
 *
 * Codes of 8 bits are I8, others packed as they are in weight files: U8 (V, C · bits / 8), the
 * lowest bits first. The stored values are those that were evaluated, and take as many bytes as
 * inside the package. Sparse tables, and rows that end inside a byte, are written decoded. Rows are
 * multiplied by the interface's `scale` in fp32 and rounded once.
 */

import { z } from "zod";
import { dim } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import { type PackedBits, packBits, unpackBits } from "../../formats/bit-packing.ts";
import { storedPieces } from "../../formats/coreml/element-types.ts";
import {
  asBytes,
  openSafetensors,
  type SafetensorsFile,
  safetensorsBytes,
  type TensorToWrite,
  writeSafetensors,
} from "../../formats/safetensors.ts";
import { DeferredTensor } from "../../mil/tensor.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { PartName } from "../../weights/form.ts";
import type { CompressedWeight, DeferredWeight, WeightForm } from "../../weights/weight.ts";
import { weightTensors } from "../../weights/weight-constants.ts";
import { rowsOf } from "../../weights/weight-views.ts";
import { distinctRows, type RowTable } from "../weights.ts";

/** Tables of a package in which a host looks up rows. */
export interface HostTables {
  /** Needed where the embedding is outside the model. */
  readonly embedding?: RowTable | null | undefined;
  /** Needed where the model has per-layer embeddings. */
  readonly perLayer?: RowTable | null | undefined;
}

/** The table as a host sees it, before it is written. */
export function hostEmbedding(w: CompressedWeight): RowTable {
  const columns = dim(w.shape, 1);
  const row = w.kind === "sparse" ? wholeRows(w) : (index: number) => decodedRow(w, index);
  return { shape: w.shape, rows: (indices) => distinctRows(indices, columns, async (index) => row(index)) };
}

function wholeRows(w: CompressedWeight): (index: number) => Float32Array {
  const columns = dim(w.shape, 1);
  const values = decodeWeight(w);
  return (index) => values.subarray(index * columns, (index + 1) * columns);
}

/** One row, decoded by the same rule as whole weights. */
function decodedRow(w: Exclude<CompressedWeight, { kind: "sparse" }>, token: number): Float32Array {
  if (w.kind !== "affine") return decodeWeight(rowsOf(w, token, token + 1));
  // A row uses the scales of its group.
  const perScale = dim(w.shape, 0) / dim(w.scaleShape, 0);
  const columns = dim(w.scaleShape, 1);
  const group = Math.floor(token / perScale);
  const hidden = dim(w.shape, 1);
  return decodeWeight({
    ...w,
    shape: [1, hidden],
    codes: w.codes.subarray(token * hidden, (token + 1) * hidden),
    scaleShape: [1, columns],
    scales: w.scales.subarray(group * columns, (group + 1) * columns),
    offsets: w.offsets?.subarray(group * columns, (group + 1) * columns) ?? null,
  });
}

const half = (name: string, shape: readonly number[], values: Float32Array): TensorToWrite => ({
  name,
  dtype: "F16",
  shape,
  bytes: () => asBytes(float16FromFloat32(values)),
});

function codes(
  name: string,
  shape: readonly number[],
  values: Uint8Array | Int8Array,
  bits: PackedBits,
): TensorToWrite {
  const [rows, columns] = shape as [number, number];
  if (bits === 8)
    return { name, dtype: values instanceof Int8Array ? "I8" : "U8", shape, bytes: () => asBytes(values) };
  return { name, dtype: "U8", shape: [rows, (columns * bits) / 8], bytes: () => packBits(values, bits) };
}

/** Writes the table in its compressed form; a deferred table is written piece by piece. */
export async function writeEmbedding(path: string, w: CompressedWeight | DeferredWeight): Promise<void> {
  if (w.kind === "deferred") {
    const { tensors, metadata } = deferredEmbedding(w);
    return writeSafetensors(path, tensors, metadata);
  }
  const [vocab, hidden] = w.shape as [number, number];
  const bits = w.kind === "affine" || w.kind === "palette" ? w.bits : 16;
  if (w.kind === "affine" && (hidden * bits) % 8 === 0) {
    const offsets: TensorToWrite[] = w.offsets
      ? [{ name: "offsets", dtype: "I8", shape: w.scaleShape, bytes: () => asBytes(w.offsets as Int8Array) }]
      : [];
    await writeSafetensors(
      path,
      [codes("codes", w.shape, w.codes, w.bits), half("scales", w.scaleShape, w.scales), ...offsets],
      { kind: "affine", bits: String(bits) },
    );
  } else if (w.kind === "palette" && (hidden * bits) % 8 === 0) {
    const tables = half("tables", [vocab / w.rowsPerTable, 2 ** w.bits], w.tables);
    await writeSafetensors(path, [codes("indices", w.shape, w.indices, w.bits), tables], {
      kind: "palette",
      bits: String(bits),
    });
  } else await writeSafetensors(path, [half("embedding", w.shape, decodeWeight(w))], { kind: "dense", bits: "16" });
}

/** The bytes of the file `writeEmbedding` will write of a deferred table, without reading it. */
export function embeddingFileBytes(w: DeferredWeight): number {
  const { tensors, metadata } = deferredEmbedding(w);
  return safetensorsBytes(tensors, metadata);
}

interface EmbeddingFile {
  readonly tensors: readonly TensorToWrite[];
  readonly metadata: Readonly<Record<string, string>>;
}

function deferredEmbedding(w: DeferredWeight): EmbeddingFile {
  const { form } = w;
  const [vocab, hidden] = form.shape as [number, number];
  const bits = form.kind === "affine" || form.kind === "palette" ? form.bits : 16;
  const decoded: TensorToWrite = {
    name: "embedding",
    dtype: "F16",
    shape: form.shape,
    async *bytes() {
      for await (const piece of w.pieces()) yield asBytes(float16FromFloat32(decodeWeight(piece)));
    },
  };
  if (bits === 16 || (hidden * bits) % 8 !== 0) return { tensors: [decoded], metadata: { kind: "dense", bits: "16" } };
  const { parts } = weightTensors(w);
  const whole = bits === 8;
  const stored = (part: PartName, dtype: TensorToWrite["dtype"], shape: readonly number[]): TensorToWrite => ({
    name: part,
    dtype,
    shape,
    async *bytes() {
      const t = parts.get(part);
      if (!(t instanceof DeferredTensor)) throw new EspalierError("internal/invariant", `internal: no ${part}`);
      if (part === "codes" || part === "indices") yield* storedPieces(t);
      else for await (const data of t.pieces()) yield asBytes(data);
    },
  });
  const codeShape = whole ? [vocab, hidden] : [vocab, (hidden * bits) / 8];
  const metadata = { kind: form.kind, bits: String(bits) };
  if (form.kind === "affine")
    return {
      tensors: [
        stored("codes", whole ? "I8" : "U8", codeShape),
        stored("scales", "F16", form.scaleShape),
        ...(form.offsets ? [stored("offsets", "I8", form.scaleShape)] : []),
      ],
      metadata,
    };
  if (form.kind === "palette")
    return {
      tensors: [stored("indices", "U8", codeShape), stored("tables", "F16", [vocab / form.rowsPerTable, 2 ** bits])],
      metadata,
    };
  throw new EspalierError("internal/invariant", `internal: an embedding of kind ${form.kind} has no codes`);
}

/**
 * The table that `writeEmbedding` wrote. Each call reads the rows it needs by byte range: the file
 * is open only during the call, and never in memory as a whole. Throws `format/malformed` for other
 * contents.
 */
export async function openEmbedding(path: string): Promise<RowTable> {
  const within = async <T>(use: (file: SafetensorsFile) => Promise<T>): Promise<T> => {
    const file = await openSafetensors(path);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  };
  const stored = await within(async (file) => storedTable(file, path));
  const columns = dim(stored.shape, 1);
  return {
    shape: stored.shape,
    rows: (indices) =>
      within((file) => distinctRows(indices, columns, async (row) => decodeWeight(await storedRow(file, stored, row)))),
  };
}

const header = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("dense") }),
  z.object({ kind: z.literal("affine"), bits: z.enum(["4", "8"]) }),
  z.object({ kind: z.literal("palette"), bits: z.enum(["1", "2", "3", "4", "6", "8"]) }),
]);
/** The bits of a code, by their name in the header. */
const codeBits = { "4": 4, "8": 8 } as const;
const indexBits = { "1": 1, "2": 2, "3": 3, "4": 4, "6": 6, "8": 8 } as const;

/** The description of a file's contents, without its data. */
type StoredTable = Exclude<WeightForm, { kind: "sparse" | "scaled" }>;

function storedTable(file: SafetensorsFile, path: string): StoredTable {
  const malformed = (what: string): EspalierError =>
    new EspalierError("format/malformed", `${path}: ${what}`, { hint: "It is not the table an export wrote." });
  const parsed = header.safeParse(file.metadata);
  if (!parsed.success) throw malformed("no kind and bits of a table in its metadata");
  const matrix = (name: string): [number, number] => {
    const [rows, columns, ...more] = file.tensors.get(name)?.shape ?? [];
    if (rows === undefined || columns === undefined || more.length > 0) throw malformed(`no matrix ${name}`);
    return [rows, columns];
  };
  const { data } = parsed;
  if (data.kind === "dense") return { kind: "dense", dtype: "fp16", shape: matrix("embedding") };
  if (data.kind === "affine") {
    const bits = codeBits[data.bits];
    const [vocab, bytes] = matrix("codes");
    const shape = [vocab, (bytes * 8) / bits] as const;
    const scaleShape = matrix("scales");
    if (shape.some((d, axis) => d % dim(scaleShape, axis) !== 0))
      throw malformed(`scales [${scaleShape.join(", ")}] do not divide [${shape.join(", ")}]`);
    return { kind: "affine", bits, shape, scaleShape, offsets: file.tensors.has("offsets") };
  }
  const bits = indexBits[data.bits];
  const [vocab, bytes] = matrix("indices");
  const [groups, entries] = matrix("tables");
  if (vocab % groups !== 0 || entries !== 2 ** bits)
    throw malformed(`${groups} tables of ${entries} for ${vocab} rows`);
  return { kind: "palette", bits, shape: [vocab, (bytes * 8) / bits], rowsPerTable: vocab / groups };
}

/** One row with its scales or its table. */
async function storedRow(file: SafetensorsFile, stored: StoredTable, row: number): Promise<CompressedWeight> {
  const columns = dim(stored.shape, 1);
  const shape = [1, columns];
  if (stored.kind === "dense") return { ...stored, shape, values: await file.readFloat32Row("embedding", row) };
  const rowBytes = (columns * stored.bits) / 8;
  const codesOf = (name: string): Promise<Uint8Array> => file.readRange(name, row * rowBytes, rowBytes);
  if (stored.kind === "palette") {
    const group = Math.floor(row / stored.rowsPerTable);
    const indices = unpackBits(await codesOf("indices"), stored.bits, columns, false);
    return { ...stored, shape, rowsPerTable: 1, indices, tables: await file.readFloat32Row("tables", group) };
  }
  const [scaleRows, scaleColumns] = stored.scaleShape as [number, number];
  const group = Math.floor((row * scaleRows) / dim(stored.shape, 0));
  return {
    ...stored,
    shape,
    codes: unpackBits(await codesOf("codes"), stored.bits, columns, true),
    scales: await file.readFloat32Row("scales", group),
    scaleShape: [1, scaleColumns],
    offsets: stored.offsets
      ? new Int8Array((await file.readRange("offsets", group * scaleColumns, scaleColumns)).buffer)
      : null,
  };
}
