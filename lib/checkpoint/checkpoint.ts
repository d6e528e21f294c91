/**
 * @file A checkpoint: a model as a person brings it, and the one opener that looks at what lies there.
 *
 * What can be brought: a Hugging Face folder (config.json and safetensors) or a `.gguf` file, by the places that `place.ts` knows. Opening checks that every tensor is there with the right shape; reading is lazy, one
 * tensor at a time.
 */
import type { DecoderArchitecture, GlobalTensor, LayerTensor } from "../decoder/architecture.ts";
import type { RowTable } from "../decoder/weights.ts";
import type { NamedFiles } from "../files/named-files.ts";
import type { TensorToWrite } from "../formats/safetensors.ts";
import type { CompressedWeight, WeightForm } from "../weights/weight.ts";
import type { CompressionScheme } from "./compressed-tensors.ts";
import { openGgufCheckpoint } from "./gguf/gguf-checkpoint.ts";
import { openFolderCheckpoint } from "./hugging-face.ts";
import { placeOf } from "./place.ts";

export interface Checkpoint extends NamedFiles {
  readonly architecture: DecoderArchitecture;
  /** In the form of a Hugging Face `config.json`, whatever the checkpoint itself holds. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors that lie there and are no part of the decoder: vision towers, biases that the config does not speak of. */
  readonly unused: readonly string[];
  /** Bytes of the weights as they are stored. */
  readonly sizeBytes: number;
  /** fp32 values of a tensor, compressed ones decoded. */
  globalTensor(role: GlobalTensor): Promise<Float32Array>;
  layerTensor(layer: number, role: LayerTensor): Promise<Float32Array>;
  /** By flat name (`embedding`, `L3_query`): the very codes when it is compressed. */
  weight(flatName: string): Promise<CompressedWeight>;
  /** A matrix whose rows are read by byte range and decoded, so that it is never in memory as a whole. */
  table(flatName: string): RowTable;
  /** A weight as it lies in the file, for writing it again unchanged without reading it whole. */
  stored(flatName: string): StoredWeight;
  /** What `weight` will give, without reading its data. */
  form(flatName: string): WeightForm;
  /** fp32 values of the rows [from, to) of a dense weight, read by byte range. */
  rows(flatName: string, from: number, to: number): Promise<Float32Array>;
  /** SHA-256 over what describes the model and every byte of its weights; computed once. */
  hash(): Promise<string>;
  close(): Promise<void>;
}

/** The parts of a weight as they lie in a checkpoint. */
export interface StoredWeight {
  readonly kind: "stored";
  readonly shape: readonly number[];
  /** Null for one dense tensor. */
  readonly scheme: CompressionScheme | null;
  /** What the file calls its elements: `BF16`, `Q4_K`; of a compressed weight, the kind of its scheme. */
  readonly type: string;
  readonly sizeBytes: number;
  /** Under `name`, which takes the place of the name they had. */
  tensors(name: string): TensorToWrite[];
}

/** Element types in which dense values are written. */
export type StoredFloat = "bf16" | "f16" | "f32";

/** The smallest of them that holds every value of the weight as it is stored: fp16 for codes, which decode to that. */
export function storedFloat({ type, scheme }: StoredWeight): StoredFloat {
  if (scheme) return scheme.kind === "scaled" ? "f32" : "f16";
  return type === "BF16" ? "bf16" : type === "F16" ? "f16" : "f32";
}

/** Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const place = await placeOf(path);
  return place.kind === "folder" ? openFolderCheckpoint(place.path) : openGgufCheckpoint(place.path);
}
