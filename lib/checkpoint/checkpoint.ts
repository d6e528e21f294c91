/**
 * @file A checkpoint: a model as a person brings it, and the one opener that looks at what lies there.
 *
 * What can be brought: a Hugging Face folder (config.json and safetensors), a `.gguf` file, or a folder that holds one
 * `.gguf` file and no config.json. Opening checks that every tensor is there with the right shape; reading is lazy, one
 * tensor at a time.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DecoderArchitecture, GlobalTensor, LayerTensor } from "../decoder/architecture.ts";
import type { RowTable } from "../decoder/weights.ts";
import { EspalierError } from "../errors.ts";
import { openByteRanges } from "../files/byte-ranges.ts";
import type { NamedFiles } from "../files/named-files.ts";
import { refuseMistakenFile } from "../formats/mistaken-file.ts";
import type { TensorToWrite } from "../formats/safetensors.ts";
import type { CompressedWeight, WeightForm } from "../weights/weight.ts";
import type { CompressionScheme } from "./compressed-tensors.ts";
import { openGgufCheckpoint } from "./gguf/gguf-checkpoint.ts";
import { openFolderCheckpoint } from "./hugging-face.ts";

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

const isGguf = (name: string): boolean => /\.gguf$/i.test(name);

/** Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const gguf = await ggufAt(path);
  return gguf === null ? openFolderCheckpoint(path) : openGgufCheckpoint(gguf);
}

/** Whether something lies at `path` that `openCheckpoint` takes for a model, damaged or not. */
export async function holdsCheckpoint(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  if (!found) return false;
  if (!found.isDirectory()) return isGguf(path);
  const names = await readdir(path);
  return names.includes("config.json") || names.some(isGguf);
}

/** The GGUF file that is meant by `path`; null when it is a Hugging Face folder. */
async function ggufAt(path: string): Promise<string | null> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `there is nothing at ${path}`, { hint: "Check the path.", cause });
  });
  if (!found.isDirectory()) {
    if (isGguf(path)) return path;
    const file = await openByteRanges(path);
    try {
      refuseMistakenFile(path, await file.read(0, Math.min(64, file.sizeBytes)), null);
    } finally {
      await file.close();
    }
    throw new EspalierError("format/unsupported", `${path} is no model`, {
      hint: "Give a .gguf file, or the folder that holds config.json and the safetensors files.",
    });
  }
  const names = await readdir(path);
  if (names.includes("config.json")) return null;
  const ggufs = names.filter(isGguf).sort();
  if (ggufs.length > 1) {
    throw new EspalierError("model/missing-file", `${path} holds ${ggufs.length} .gguf files: ${listed(ggufs)}`, {
      hint: "Name the one that is meant.",
    });
  }
  if (ggufs[0] !== undefined) return join(path, ggufs[0]);
  if (names.includes("adapter_config.json")) {
    throw new EspalierError("model/missing-file", `${path} holds an adapter (LoRA), not a model`, {
      hint: "Merge it into the model it was trained on (peft: merge_and_unload, then save_pretrained) and give that folder.",
    });
  }
  throw new EspalierError("model/missing-file", `${path} holds neither a config.json nor a .gguf file`, {
    hint: "Give the folder of a Hugging Face checkpoint, or a .gguf file.",
  });
}

const listed = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(", ")} …` : names.join(", ");
