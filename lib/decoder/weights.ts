/**
 * @file The fp32 weights of a decoder in memory, by role.
 *
 * Names are those of the whole-model program: `embedding`, `finalNorm`, `head`, `L3_query`. One copy of a model:
 * programs read these very arrays, and training updates them in place.
 */
import { EspalierError } from "../errors.ts";
import type { Tensor } from "../mil/tensor.ts";
import { sameShape } from "../mil/types.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import { globalName, layerName } from "./programs.ts";

export interface DecoderWeights {
  readonly arch: DecoderArchitecture;
  readonly tensors: ReadonlyMap<string, Tensor>;
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
export function decoderWeights(arch: DecoderArchitecture, tensors: ReadonlyMap<string, Tensor>): DecoderWeights {
  for (const { name, shape } of weightList(arch)) {
    const t = tensors.get(name);
    if (!t) throw new EspalierError("model/missing-tensor", `the weight ${name} [${shape.join(", ")}] is missing`);
    if (!sameShape(t.shape, shape)) {
      throw new EspalierError(
        "model/shape-mismatch",
        `the weight ${name} must be [${shape.join(", ")}], found [${t.shape.join(", ")}]`,
      );
    }
  }
  return { arch, tensors };
}

export function weight(weights: DecoderWeights, name: string): Tensor {
  const t = weights.tensors.get(name);
  if (!t) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
  return t;
}

/** The output projection: the head, or the embedding it is tied to. */
export const headWeight = (weights: DecoderWeights): Tensor =>
  weight(weights, weights.arch.tiedHead ? "embedding" : "head");

/** The weights of one layer by role, as inputs of the block program. */
export function layerWeights(weights: DecoderWeights, index: number): Record<string, Tensor> {
  const layer = weights.arch.layers[index];
  if (!layer)
    throw new EspalierError("input/invalid", `there is no layer ${index}; the model has ${weights.arch.layers.length}`);
  return Object.fromEntries(
    Object.keys(layerTensorShapes(weights.arch, layer)).map((role) => [role, weight(weights, `L${index}_${role}`)]),
  );
}

export const parameterCount = (arch: DecoderArchitecture): number =>
  weightList(arch).reduce((n, w) => n + w.shape.reduce((p, d) => p * d, 1), 0);
