/**
 * @file The weights of a written MLX folder, read from its file alone by the published formula w = s q + b, some rows at a time.
 *
 * What mlx-lm computes from a folder is computed here from the same bytes; the oracle tier has mlx-lm itself compute it. Not included: folders
 * of others, whose config is not opened as a checkpoint.
 */
import { deferredWeight, float32Rows } from "../../compress/quantize/row-compression.ts";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { storedPlaces } from "../../decoder/families/stored-tensors.ts";
import { weightList } from "../../decoder/weights.ts";
import { EspalierError } from "../../errors.ts";
import { type AffineGroups, decodeGroups, unpackCodes } from "../../formats/mlx/affine-groups.ts";
import type { SafetensorsFile } from "../../formats/safetensors.ts";
import { elementCount } from "../../mil/types.ts";
import type { DeferredWeight } from "../../weights/weight.ts";

/** By flat name. `groups` are those of the folder's `quantization`, by path. */
export function mlxWeights(
  file: SafetensorsFile,
  arch: DecoderArchitecture,
  groups: ReadonlyMap<string, AffineGroups>,
): Map<string, DeferredWeight> {
  const places = storedPlaces(arch);
  const weights = new Map<string, DeferredWeight>();
  for (const { name, shape } of weightList(arch)) {
    const place = places.get(name);
    const stored = place?.shared?.name ?? place?.name ?? name;
    const first = place?.shared?.firstRow ?? 0;
    const columns = elementCount(shape.slice(1));
    const own = groups.get(stored.replace(/\.weight$/, ""));
    const read = (from: number, to: number): Promise<Float32Array> =>
      own
        ? groupRows(file, stored, own, columns, first + from, first + to)
        : file.readFloat32(stored, { from: (first + from) * columns, to: (first + to) * columns });
    if (!file.tensors.has(stored))
      throw new EspalierError("model/missing-tensor", `the tensor ${stored} is missing from ${file.path}`);
    weights.set(name, deferredWeight(shape, read, float32Rows));
  }
  return weights;
}

async function groupRows(
  file: SafetensorsFile,
  stored: string,
  { bits, groupSize }: AffineGroups,
  columns: number,
  from: number,
  to: number,
): Promise<Float32Array> {
  const path = stored.replace(/\.weight$/, "");
  const rowBytes = (columns * bits) / 8;
  const perRow = columns / groupSize;
  const range = { from: from * perRow, to: to * perRow };
  const packed = await file.readRange(stored, from * rowBytes, (to - from) * rowBytes);
  const scales = await file.readFloat32(`${path}.scales`, range);
  const biases = await file.readFloat32(`${path}.biases`, range);
  return decodeGroups({ codes: unpackCodes(packed, bits), scales, biases }, groupSize);
}
