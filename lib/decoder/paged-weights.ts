/**
 * @file The weights of a decoder larger than memory: layers are read when they run, the embedding and the head by rows.
 *
 * As many layers stay in memory as `heldBytes` allows. Passes read the layers in a circle, and of a
 * circle the layer read last is the one needed again latest (Belády's rule), so that is the one to
 * drop. Reading costs little beside computing: a layer of n weights is n values to decode, and 2 n
 * operations for every position.
 */
import { dim } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { elementCount } from "../mil/types.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight, DeferredWeight } from "../weights/weight.ts";
import { type DecoderArchitecture, isRowTable } from "./architecture.ts";
import { hostEmbedding } from "./neural-engine/embedding.ts";
import {
  type DecoderWeights,
  distinctRows,
  headName,
  type RowTable,
  type VocabularyPart,
  weightList,
} from "./weights.ts";

/** Weights as they are stored, by flat name. */
export interface StoredModel {
  readonly arch: DecoderArchitecture;
  readonly weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>;
  /** The rows of `embedding` and `perLayerEmbedding`. */
  table(name: string): RowTable;
}

/** The fp32 bytes of each layer's weights. */
export function layerBytes(arch: DecoderArchitecture): number[] {
  const bytes = arch.layers.map(() => 0);
  for (const { layer, shape } of weightList(arch))
    if (layer !== null) bytes[layer] = (bytes[layer] ?? 0) + 4 * elementCount(shape);
  return bytes;
}

/** The fp32 bytes of a model that is in memory as a whole. */
export const wholeModelBytes = (arch: DecoderArchitecture): number =>
  weightList(arch).reduce((n, { role, shape }) => n + (isRowTable(role) ? 0 : 4 * elementCount(shape)), 0);

/** At least the layer that runs is in memory, however small `heldBytes` is. Throws `model/missing-tensor`. */
export async function pagedWeights({ arch, weights, table }: StoredModel, heldBytes: number): Promise<DecoderWeights> {
  const find = (name: string): CompressedWeight | DeferredWeight => {
    const w = weights.get(name);
    if (!w) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
    return w;
  };
  const tensors = new Map<string, Tensor>();
  const tables = new Map<string, RowTable>();
  const ofLayer = arch.layers.map((): string[] => []);
  for (const { name, layer, role } of weightList(arch)) {
    if (layer !== null) ofLayer[layer]?.push(name);
    else if (role === "embedding" || isRowTable(role)) tables.set(name, table(name));
    else if (role !== "head") tensors.set(name, await wholeWeight(find(name)));
  }
  const layer = async (index: number): Promise<Page> => {
    const page = new Map<string, Tensor>();
    for (const name of ofLayer[index] ?? []) page.set(name, await wholeWeight(find(name)));
    return page;
  };
  return {
    arch,
    tensors,
    tables,
    pages: {
      layer: cyclicCache(layer, layerBytes(arch), heldBytes),
      head: (part) => decodedRows(find(headName(arch)), part, arch.hidden),
    },
  };
}

/** All values of a weight in fp32, decoded piece by piece. */
export async function wholeWeight(w: CompressedWeight | DeferredWeight): Promise<Tensor> {
  if (w.kind !== "deferred") return f32(w.shape, decodeWeight(w));
  const values = new Float32Array(elementCount(w.form.shape));
  let at = 0;
  for await (const piece of w.pieces()) {
    const part = decoded(piece);
    values.set(part, at);
    at += part.length;
  }
  return f32(w.form.shape, values);
}

/** The rows of a matrix, each read and decoded alone. */
export function rowsOfWeight(w: CompressedWeight | DeferredWeight): RowTable {
  const shape = w.kind === "deferred" ? w.form.shape : w.shape;
  const columns = dim(shape, 1);
  const row = async (from: number): Promise<Float32Array> =>
    float32Data(await decodedRows(w, { from, to: from + 1 }, columns));
  return { shape, rows: (indices) => distinctRows(indices, columns, row) };
}

async function decodedRows(
  w: CompressedWeight | DeferredWeight,
  { from, to }: VocabularyPart,
  columns: number,
): Promise<Tensor> {
  const values = new Float32Array((to - from) * columns);
  if (w.kind !== "deferred") values.set(await hostEmbedding(w).rows(range(from, to)));
  else {
    let at = 0;
    for await (const piece of w.pieces({ from, to })) {
      const part = decoded(piece);
      values.set(part, at);
      at += part.length;
    }
  }
  return f32([to - from, columns], values);
}

/** Values that are copied at once need no copy of their own. */
const decoded = (w: CompressedWeight): Float32Array =>
  w.kind === "dense" && w.dtype === "fp32" ? w.values : decodeWeight(w);

const range = (from: number, to: number): Int32Array => Int32Array.from({ length: to - from }, (_, i) => from + i);

type Page = ReadonlyMap<string, Tensor>;

function cyclicCache(
  read: (layer: number) => Promise<Page>,
  sizesBytes: readonly number[],
  heldBytes: number,
): (layer: number) => Promise<Page> {
  // In the order in which they were read.
  const held = new Map<number, Promise<Page>>();
  const sizeOf = (layer: number): number => sizesBytes[layer] ?? 0;
  let bytes = 0;
  const drop = (layer: number): void => {
    if (held.delete(layer)) bytes -= sizeOf(layer);
  };
  return (layer) => {
    const known = held.get(layer);
    if (known) return known;
    // Before the next is read, so that the two are never in memory together.
    for (const last of [...held.keys()].reverse()) if (bytes + sizeOf(layer) > heldBytes) drop(last);
    const page = read(layer);
    held.set(layer, page);
    bytes += sizeOf(layer);
    page.catch(() => drop(layer));
    return page;
  };
}
