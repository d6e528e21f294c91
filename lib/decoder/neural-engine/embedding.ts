/**
 * @file The embedding outside the model: a safetensors file beside the package, from which the host looks rows up.
 *
 *   dense     `embedding` F16 (V, C)
 *   affine    `codes` (V, C), `scales` F16 (V / a, C / b), perhaps `offsets` I8 like them; w = scale · (code − offset)
 *   palette   `indices` (V, C), `tables` F16 (V / rows, 2^bits);                         w = table[index]
 *
 * Codes of 8 bits are I8, others packed as they are in weight files: U8 (V, C · bits / 8), the lowest bits first. What is
 * looked up is what was evaluated, and takes as many bytes as it would inside. A sparse table, and rows that end inside a
 * byte, are written decoded. Rows are multiplied by the interface's `scale` in fp32 and rounded once.
 */
import { z } from "zod";
import { decodeWeight } from "../../compress/decode.ts";
import type { CompressedWeight } from "../../compress/weight.ts";
import { rowsOf } from "../../compress/weight-views.ts";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import { type PackedBits, packBits, unpackBits } from "../../formats/bit-packing.ts";
import {
  asBytes,
  openSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../../formats/safetensors.ts";
import { elementCount } from "../../mil/types.ts";

export interface HostEmbedding {
  readonly vocab: number;
  readonly hidden: number;
  row(token: number): Float32Array;
}

/** The table as a host sees it, before it is written. */
export function hostEmbedding(w: CompressedWeight): HostEmbedding {
  const [vocab, hidden] = w.shape as [number, number];
  if (w.kind === "sparse") {
    const values = decodeWeight(w);
    return { vocab, hidden, row: (token) => values.subarray(token * hidden, (token + 1) * hidden) };
  }
  return { vocab, hidden, row: (token) => decodedRow(w, token) };
}

/** One row, decoded by the very rule that decodes whole weights. */
function decodedRow(w: Exclude<CompressedWeight, { kind: "sparse" }>, token: number): Float32Array {
  if (w.kind !== "affine") return decodeWeight(rowsOf(w, token, token + 1));
  // A row inside a group of rows has its scales.
  const perScale = (w.shape[0] as number) / (w.scaleShape[0] as number);
  const columns = w.scaleShape[1] as number;
  const group = Math.floor(token / perScale);
  const hidden = w.shape[1] as number;
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

/** Writes the table as it was compressed. */
export async function writeEmbedding(path: string, w: CompressedWeight): Promise<void> {
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

/** Opens what `writeEmbedding` wrote. Throws `format/malformed` for other contents. */
export async function readEmbedding(path: string): Promise<HostEmbedding> {
  const file = await openSafetensors(path);
  try {
    return hostEmbedding(await readWeight(file, path));
  } finally {
    await file.close();
  }
}

const header = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("dense") }),
  z.object({ kind: z.literal("affine"), bits: z.enum(["4", "8"]) }),
  z.object({ kind: z.literal("palette"), bits: z.enum(["1", "2", "3", "4", "6", "8"]) }),
]);
/** The bits of a code, by their name in the header. */
const codeBits = { "4": 4, "8": 8 } as const;
const indexBits = { "1": 1, "2": 2, "3": 3, "4": 4, "6": 6, "8": 8 } as const;

async function readWeight(file: SafetensorsFile, path: string): Promise<CompressedWeight> {
  const malformed = (what: string): EspalierError =>
    new EspalierError("format/malformed", `${path}: ${what}`, { hint: "It is not the embedding an export wrote." });
  const parsed = header.safeParse(file.metadata);
  if (!parsed.success) throw malformed("no kind and bits of a table in its metadata");
  const matrix = (name: string): [number, number] => {
    const [rows, columns, ...more] = file.tensors.get(name)?.shape ?? [];
    if (rows === undefined || columns === undefined || more.length > 0) throw malformed(`no matrix ${name}`);
    return [rows, columns];
  };
  const { data } = parsed;
  if (data.kind === "dense") {
    const shape = matrix("embedding");
    return { kind: "dense", dtype: "fp16", shape, values: await file.readFloat32("embedding") };
  }
  if (data.kind === "affine") {
    const bits = codeBits[data.bits];
    const [vocab, stored] = matrix("codes");
    const shape = [vocab, (stored * 8) / bits];
    const values = unpackBits(await file.readBytes("codes"), bits, elementCount(shape), true);
    const offsets = file.tensors.has("offsets")
      ? new Int8Array((await file.readBytes("offsets")).slice().buffer)
      : null;
    const scales = await file.readFloat32("scales");
    return { kind: "affine", bits, shape, codes: values, scales, scaleShape: matrix("scales"), offsets };
  }
  const bits = indexBits[data.bits];
  const [vocab, stored] = matrix("indices");
  const [groups, entries] = matrix("tables");
  if (vocab % groups !== 0 || entries !== 2 ** bits)
    throw malformed(`${groups} tables of ${entries} for ${vocab} rows`);
  const shape = [vocab, (stored * 8) / bits];
  const indices = unpackBits(await file.readBytes("indices"), bits, elementCount(shape), false);
  return {
    kind: "palette",
    bits,
    shape,
    indices,
    tables: await file.readFloat32("tables"),
    rowsPerTable: vocab / groups,
  };
}
