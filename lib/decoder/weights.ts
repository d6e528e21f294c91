/**
 * @file The fp32 weights of a decoder in memory, by role.
 *
 * Names are those of the whole-model program: `embedding`, `finalNorm`, `head`, `L3_query`. There
 * is one copy of a model: programs read these arrays, and training updates them in place. The table
 * of per-layer embeddings, half of a small Gemma 4, is not included: only the rows of the current
 * tokens are read, from where the table is stored. Of a model larger than memory
 * (`paged-weights.ts`) neither are the layers, the embedding and the head.
 */
import { dim, numberAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { sameShape } from "../mil/types.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  isRowTable,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import { globalName, layerName } from "./sequence-programs.ts";

/** A matrix whose rows are read when needed. */
export interface RowTable {
  readonly shape: readonly number[]; // (rows, columns)
  /** The rows at `indices`, one after the other, (indices.length, columns). */
  rows(indices: ArrayLike<number>): Promise<Float32Array>;
}

/** Reads each row once, however often it is requested: texts repeat their tokens. */
export async function distinctRows(
  indices: ArrayLike<number>,
  columns: number,
  row: (index: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const out = new Float32Array(indices.length * columns);
  const places = new Map<number, number>();
  for (let i = 0; i < indices.length; i++) {
    const index = numberAt(indices, i);
    const before = places.get(index);
    if (before === undefined) out.set(await row(index), i * columns);
    else out.copyWithin(i * columns, before * columns, (before + 1) * columns);
    places.set(index, before ?? i);
  }
  return out;
}

export interface DecoderWeights {
  readonly arch: DecoderArchitecture;
  /** The inputs of the programs. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Those that `isRowTable` names; of a model in pages also the embedding. */
  readonly tables: ReadonlyMap<string, RowTable>;
  /** Where those are that are not among the tensors; absent if all are. */
  readonly pages?: WeightPages;
}

/** Weights that are read when they are needed. */
export interface WeightPages {
  /** Those of one layer, by flat name. */
  layer(index: number): Promise<ReadonlyMap<string, Tensor>>;
  /** Rows of the output projection, (to − from, hidden). */
  head(part: VocabularyPart): Promise<Tensor>;
}

/** The tokens [from, to) of a vocabulary. */
export interface VocabularyPart {
  readonly from: number;
  readonly to: number;
}

/** A table in memory. */
export function memoryTable(t: Tensor): RowTable {
  const values = float32Data(t);
  const columns = dim(t.shape, 1);
  return {
    shape: t.shape,
    async rows(indices) {
      const out = new Float32Array(indices.length * columns);
      for (let i = 0; i < indices.length; i++) {
        const row = numberAt(indices, i);
        out.set(values.subarray(row * columns, (row + 1) * columns), i * columns);
      }
      return out;
    },
  };
}

export type WeightEntry = { readonly name: string; readonly shape: number[] } & (
  | { readonly layer: null; readonly role: GlobalTensor }
  | { readonly layer: number; readonly role: LayerTensor }
);

/** Every weight a decoder of this architecture has: flat name, role, layer and shape, in a fixed order. */
export function weightList(arch: DecoderArchitecture): WeightEntry[] {
  const globals = (Object.entries(globalTensorShapes(arch)) as [GlobalTensor, number[]][]).map(
    ([role, shape]): WeightEntry => ({ name: globalName(role), shape, layer: null, role }),
  );
  const layers = arch.layers.flatMap((layer, i) =>
    (Object.entries(layerTensorShapes(arch, layer)) as [LayerTensor, number[]][]).map(
      ([role, shape]): WeightEntry => ({ name: layerName(i, role), shape, layer: i, role }),
    ),
  );
  return [...globals, ...layers];
}

/** Checks names and shapes against the architecture. Throws `model/missing-tensor` or `model/shape-mismatch`. */
export function decoderWeights(
  arch: DecoderArchitecture,
  tensors: ReadonlyMap<string, Tensor>,
  tables: ReadonlyMap<string, RowTable> = new Map(),
): DecoderWeights {
  for (const { name, shape, role } of weightList(arch)) {
    const t = (isRowTable(role) ? tables : tensors).get(name);
    if (!t) throw new EspalierError("model/missing-tensor", `the weight ${name} [${shape.join(", ")}] is missing`);
    if (!sameShape(t.shape, shape)) {
      throw new EspalierError(
        "model/shape-mismatch",
        `the weight ${name} must be [${shape.join(", ")}], found [${t.shape.join(", ")}]`,
      );
    }
  }
  return { arch, tensors, tables };
}

export function weight(weights: DecoderWeights, name: string): Tensor {
  const t = weights.tensors.get(name);
  if (!t) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
  return t;
}

/** A model whose tensors, tables too, are all in memory. */
export function inMemoryWeights(arch: DecoderArchitecture, all: ReadonlyMap<string, Tensor>): DecoderWeights {
  const tables = weightList(arch).flatMap(({ name, role }) => {
    const t = isRowTable(role) ? all.get(name) : undefined;
    return t ? [[name, memoryTable(t)] as const] : [];
  });
  const inTables = new Set<string>(tables.map(([name]) => name));
  return decoderWeights(arch, new Map([...all].filter(([name]) => !inTables.has(name))), new Map(tables));
}

/** The rows of the per-layer table for token ids (batch, length), as the input of that name; none where there is no table. */
export async function perLayerRows(
  weights: DecoderWeights,
  ids: ArrayLike<number>,
  batch: number,
): Promise<{ perLayerRows?: Tensor }> {
  const table = weights.tables.get("perLayerEmbedding");
  if (!table) return {};
  return { perLayerRows: f32([batch, ids.length / batch, dim(table.shape, 1)], await table.rows(ids)) };
}

/** Where the output projection is: the head, or the embedding it is tied to. */
export const headName = (arch: DecoderArchitecture): "embedding" | "head" => (arch.tiedHead ? "embedding" : "head");

/** The output projection. Throws `model/missing-tensor` for a model in pages. */
export const headWeight = (weights: DecoderWeights): Tensor => weight(weights, headName(weights.arch));

/** Rows of the output projection, (to − from, hidden): a view if it is in memory. */
export async function headPart(weights: DecoderWeights, part: VocabularyPart): Promise<Tensor> {
  const { arch, pages, tensors } = weights;
  if (pages && !tensors.has(headName(arch))) return pages.head(part);
  const values = float32Data(headWeight(weights)).subarray(part.from * arch.hidden, part.to * arch.hidden);
  return f32([part.to - part.from, arch.hidden], values);
}

/** The weights of one layer by role, as inputs of the block program. */
export async function layerWeights(weights: DecoderWeights, index: number): Promise<Record<string, Tensor>> {
  const { arch, tensors, pages } = weights;
  const layer = arch.layers[index];
  if (!layer)
    throw new EspalierError("input/invalid", `there is no layer ${index}; the model has ${arch.layers.length}`);
  const names = Object.keys(layerTensorShapes(arch, layer)).map((role) => [role, `L${index}_${role}`] as const);
  const page = pages && names.some(([, name]) => !tensors.has(name)) ? await pages.layer(index) : tensors;
  return Object.fromEntries(
    names.map(([role, name]) => [role, tensors.get(name) ?? weight({ ...weights, tensors: page }, name)]),
  );
}

/** One weight, in memory or in pages. */
export async function readWeight(weights: DecoderWeights, { name, layer, role }: WeightEntry): Promise<Tensor> {
  const { arch, tensors, pages } = weights;
  if (!pages || tensors.has(name)) return weight(weights, name);
  if (layer !== null) return weight({ ...weights, tensors: await pages.layer(layer) }, name);
  if (role === headName(arch)) return pages.head({ from: 0, to: arch.vocab });
  return weight(weights, name);
}

export const parameterCount = (arch: DecoderArchitecture): number =>
  weightList(arch).reduce((n, w) => n + w.shape.reduce((p, d) => p * d, 1), 0);
