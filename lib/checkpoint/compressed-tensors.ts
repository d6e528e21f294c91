/**
 * @file How a compressed weight is stored in a safetensors file: its parts as tensors, its scheme
 * in `config.json`.
 *
 * `<name>.codes`, `.scales`, `.offsets` (affine), `.indices`, `.tables` (palette), `.mask`, `.nonzeros` (sparse); a scaled
 * palette adds `.row_scales`. Codes below eight bits are packed as one LSB-first bit stream, so that the size on disk is the size.
 */
import { z } from "zod";
import { EspalierError } from "../errors.ts";
import { packBits, packedSizeBytes, unpackBits } from "../formats/bit-packing.ts";
import { asBytes, type SafetensorsFile, type TensorToWrite, toFloat32 } from "../formats/safetensors.ts";
import { elementCount } from "../mil/types.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight, PaletteWeight, WeightForm } from "../weights/weight.ts";
import { finiteFloat16 } from "./finite-float16.ts";

const shape = z.array(z.number().int().positive());

export const compressionScheme = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("affine"),
    bits: z.union([z.literal(4), z.literal(8)]),
    shape,
    scaleShape: shape,
    offsets: z.boolean(),
  }),
  z.object({
    kind: z.literal("palette"),
    bits: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4), z.literal(6), z.literal(8)]),
    shape,
    rowsPerTable: z.number().int().positive(),
  }),
  z.object({ kind: z.literal("sparse"), shape }),
  z.object({
    kind: z.literal("scaled"),
    bits: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4), z.literal(6), z.literal(8)]),
    shape,
    rowsPerTable: z.number().int().positive(),
  }),
]);
export type CompressionScheme = z.infer<typeof compressionScheme>;

/** The tensors and the scheme of a weight that is not dense. */
export function compressedTensors(
  name: string,
  weight: Exclude<CompressedWeight, { kind: "dense" }>,
): { tensors: TensorToWrite[]; scheme: CompressionScheme } {
  const bytes = (part: string, data: Uint8Array): TensorToWrite => ({
    name: `${name}.${part}`,
    dtype: "U8",
    shape: [data.length],
    bytes: () => data,
  });
  const half = (part: string, values: Float32Array, dims: readonly number[]): TensorToWrite => ({
    name: `${name}.${part}`,
    dtype: "F16",
    shape: dims,
    bytes: () => asBytes(finiteFloat16(values, `${name}.${part}`)),
  });
  if (weight.kind === "affine") {
    const offsets = weight.offsets ? [bytes("offsets", packBits(weight.offsets, weight.bits))] : [];
    return {
      tensors: [
        bytes("codes", packBits(weight.codes, weight.bits)),
        half("scales", weight.scales, weight.scaleShape),
        ...offsets,
      ],
      scheme: {
        kind: "affine",
        bits: weight.bits,
        shape: [...weight.shape],
        scaleShape: [...weight.scaleShape],
        offsets: weight.offsets !== null,
      },
    };
  }
  if (weight.kind === "palette") {
    const tables = weight.tables.length / 2 ** weight.bits;
    return {
      tensors: [
        bytes("indices", packBits(weight.indices, weight.bits)),
        half("tables", weight.tables, [tables, 2 ** weight.bits]),
      ],
      scheme: { kind: "palette", bits: weight.bits, shape: [...weight.shape], rowsPerTable: weight.rowsPerTable },
    };
  }
  if (weight.kind === "scaled") {
    const inner = compressedTensors(name, weight.inner);
    const { bits, rowsPerTable } = weight.inner;
    return {
      tensors: [...inner.tensors, half("row_scales", weight.rowScales, [weight.rowScales.length])],
      scheme: { kind: "scaled", bits, shape: [...weight.shape], rowsPerTable },
    };
  }
  return {
    tensors: [bytes("mask", packBits(weight.mask, 1)), half("nonzeros", weight.nonzeros, [weight.nonzeros.length])],
    scheme: { kind: "sparse", shape: [...weight.shape] },
  };
}

/** The form of the weight a scheme describes; `nonzeros` is called for sparse ones. */
export function compressedForm(scheme: CompressionScheme, nonzeros: () => number): WeightForm {
  if (scheme.kind === "affine" || scheme.kind === "palette") return scheme;
  if (scheme.kind === "sparse") return { ...scheme, nonzeros: nonzeros() };
  const { bits, rowsPerTable, shape } = scheme;
  return { kind: "scaled", shape, inner: { kind: "palette", bits, shape, rowsPerTable } };
}

/** The names a scheme's parts have, for checking that nothing is missing. */
export function compressedNames(name: string, scheme: CompressionScheme): string[] {
  if (scheme.kind === "affine")
    return [`${name}.codes`, `${name}.scales`, ...(scheme.offsets ? [`${name}.offsets`] : [])];
  if (scheme.kind === "palette") return [`${name}.indices`, `${name}.tables`];
  if (scheme.kind === "scaled") return [`${name}.indices`, `${name}.tables`, `${name}.row_scales`];
  return [`${name}.mask`, `${name}.nonzeros`];
}

/** Reads a compressed weight back. Throws `model/shape-mismatch` when a part's size does not match
 * its scheme. */
export async function readCompressed(
  file: (part: string) => SafetensorsFile,
  name: string,
  scheme: CompressionScheme,
): Promise<CompressedWeight> {
  const count = elementCount(scheme.shape);
  const part = async (suffix: string, expected: number | null): Promise<Uint8Array> => {
    const data = await file(`${name}.${suffix}`).readBytes(`${name}.${suffix}`);
    if (expected !== null && data.length !== expected) {
      throw new EspalierError(
        "model/shape-mismatch",
        `${name}.${suffix} has ${data.length} bytes, its scheme needs ${expected}`,
      );
    }
    return data;
  };
  const half = (suffix: string): Promise<Float32Array> => file(`${name}.${suffix}`).readFloat32(`${name}.${suffix}`);
  const sized = (values: Float32Array, expected: number, suffix: string): Float32Array => {
    if (values.length === expected) return values;
    throw new EspalierError(
      "model/shape-mismatch",
      `${name}.${suffix} has ${values.length} elements, its scheme needs ${expected}`,
    );
  };
  if (scheme.kind === "affine") {
    const scales = elementCount(scheme.scaleShape);
    const codes = unpackBits(await part("codes", packedSizeBytes(count, scheme.bits)), scheme.bits, count, true);
    const offsets = scheme.offsets
      ? unpackBits(await part("offsets", packedSizeBytes(scales, scheme.bits)), scheme.bits, scales, true)
      : null;
    return {
      kind: "affine",
      bits: scheme.bits,
      shape: scheme.shape,
      codes,
      scales: sized(await half("scales"), scales, "scales"),
      scaleShape: scheme.scaleShape,
      offsets,
    };
  }
  if (scheme.kind === "palette" || scheme.kind === "scaled") {
    const rows = scheme.shape[0] ?? 0;
    const indices = unpackBits(await part("indices", packedSizeBytes(count, scheme.bits)), scheme.bits, count, false);
    const tables = sized(await half("tables"), Math.ceil(rows / scheme.rowsPerTable) * 2 ** scheme.bits, "tables");
    const palette: PaletteWeight = {
      kind: "palette",
      bits: scheme.bits,
      shape: scheme.shape,
      indices,
      tables,
      rowsPerTable: scheme.rowsPerTable,
    };
    if (scheme.kind === "palette") return palette;
    const rowScales = sized(await half("row_scales"), rows, "row_scales");
    return { kind: "scaled", shape: scheme.shape, inner: palette, rowScales };
  }
  const mask = unpackBits(await part("mask", packedSizeBytes(count, 1)), 1, count, false);
  const ones = mask.reduce((n, v) => n + v, 0);
  return { kind: "sparse", shape: scheme.shape, mask, nonzeros: sized(await half("nonzeros"), ones, "nonzeros") };
}

/** One row of a compressed matrix in fp32, read by byte range. A sparse one is decoded whole,
 * because its rows have no fixed offset. */
export async function readCompressedRow(
  file: (part: string) => SafetensorsFile,
  name: string,
  scheme: CompressionScheme,
  row: number,
): Promise<Float32Array> {
  const [rows, columns] = scheme.shape as [number, number];
  if (scheme.kind === "sparse") {
    return decodeWeight(await readCompressed(file, name, scheme)).subarray(row * columns, (row + 1) * columns);
  }
  /** Elements `first` … `first + count` of a packed part. Eight elements fill whole bytes, so reading begins at a multiple. */
  const packed = async (part: string, first: number, count: number, signed: boolean) => {
    const skipped = first % 8;
    const from = ((first - skipped) * scheme.bits) / 8;
    const length = packedSizeBytes(skipped + count, scheme.bits);
    const bytes = await file(`${name}.${part}`).readRange(`${name}.${part}`, from, length);
    return unpackBits(bytes, scheme.bits, skipped + count, signed).slice(skipped);
  };
  const half = async (part: string, first: number, count: number): Promise<Float32Array> =>
    toFloat32(
      await file(`${name}.${part}`).readRange(`${name}.${part}`, 2 * first, 2 * count),
      "F16",
      `${name}.${part}`,
    );
  if (scheme.kind === "palette" || scheme.kind === "scaled") {
    const entries = 2 ** scheme.bits;
    const indices = Uint8Array.from(await packed("indices", row * columns, columns, false));
    const tables = await half("tables", Math.floor(row / scheme.rowsPerTable) * entries, entries);
    const shape = [1, columns];
    const inner: PaletteWeight = { kind: "palette", bits: scheme.bits, shape, indices, tables, rowsPerTable: 1 };
    if (scheme.kind === "palette") return decodeWeight(inner);
    return decodeWeight({ kind: "scaled", shape, inner, rowScales: await half("row_scales", row, 1) });
  }
  const [scaleRows, perRow] = scheme.scaleShape as [number, number];
  const first = Math.floor(row / (rows / scaleRows)) * perRow;
  return decodeWeight({
    kind: "affine",
    bits: scheme.bits,
    shape: [1, columns],
    codes: Int8Array.from(await packed("codes", row * columns, columns, true)),
    scales: await half("scales", first, perRow),
    scaleShape: [1, perRow],
    offsets: scheme.offsets ? Int8Array.from(await packed("offsets", first, perRow, true)) : null,
  });
}
