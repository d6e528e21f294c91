/**
 * @file A checkpoint: a model in the form a person has it, and the one function that opens it.
 *
 * Accepted are a Hugging Face folder (config.json and safetensors) or a `.gguf` file, at the places
 * that `place.ts` knows. Opening checks that every tensor is there with the right shape; reading is
 * lazy, one tensor at a time.
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
  /** In the form of a Hugging Face `config.json`, for every kind of checkpoint. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors that are not part of the decoder: vision towers, biases that the config does not
   * mention. */
  readonly unused: readonly string[];
  /** Bytes of the stored weights. */
  readonly sizeBytes: number;
  /** fp32 values of a tensor, compressed ones decoded. */
  globalTensor(role: GlobalTensor): Promise<Float32Array>;
  layerTensor(layer: number, role: LayerTensor): Promise<Float32Array>;
  /** By flat name (`embedding`, `L3_query`): the stored codes if it is compressed. */
  weight(flatName: string): Promise<CompressedWeight>;
  /** A matrix whose rows are read by byte range and decoded, so that it is never in memory as a whole. */
  table(flatName: string): RowTable;
  /** A weight as stored in the file, for copying it unchanged without reading it whole. */
  stored(flatName: string): StoredWeight;
  /** A description of what `weight` returns, without reading its data. */
  form(flatName: string): WeightForm;
  /** fp32 values of the rows [from, to) of a dense weight, read by byte range. */
  rows(flatName: string, from: number, to: number): Promise<Float32Array>;
  /** SHA-256 over what describes the model and every byte of its weights; computed once. */
  hash(): Promise<string>;
  close(): Promise<void>;
}

/** The parts of a weight as stored in a checkpoint. */
export interface StoredWeight {
  readonly kind: "stored";
  readonly shape: readonly number[];
  /** Null for one dense tensor. */
  readonly scheme: CompressionScheme | null;
  /** The file's name for its elements, such as `BF16` or `Q4_K`; for a compressed weight, the kind
   * of its scheme. */
  readonly type: string;
  readonly sizeBytes: number;
  /** Under `name`, which replaces their old name. */
  tensors(name: string): TensorToWrite[];
}

/** Element types in which dense values are written. */
export type StoredFloat = "bf16" | "f16" | "f32";

/** The smallest type that holds every stored value of the weight exactly: fp16 for codes, which
 * decode to fp16. */
export function storedFloat({ type, scheme }: StoredWeight): StoredFloat {
  if (scheme) return scheme.kind === "scaled" ? "f32" : "f16";
  return type === "BF16" ? "bf16" : type === "F16" ? "f16" : "f32";
}

/** Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const place = await placeOf(path);
  return place.kind === "folder" ? openFolderCheckpoint(place.path) : openGgufCheckpoint(place.path);
}
