/**
 * @file A Hugging Face checkpoint directory: config, safetensors (one file or shards), tokenizer files.
 *
 * Opening checks that every tensor the config asks for is there with the right shape; reading is lazy, one tensor at a
 * time. Writing builds the whole folder beside its destination and renames it.
 */
import { createHash } from "node:crypto";
import { copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type DecoderArchitecture, type GlobalTensor, type LayerTensor, tensorName } from "../decoder/architecture.ts";
import { architectureOf, configFor } from "../decoder/families/registry.ts";
import { distinctRows, type RowTable, type WeightEntry, weightList } from "../decoder/weights.ts";
import { EspalierError, invariant } from "../errors.ts";
import { withOutputDirectory } from "../files/atomic.ts";
import { bfloat16FromFloat32, float16FromFloat32 } from "../float16.ts";
import {
  asBytes,
  openSafetensors,
  parseShardIndex,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../formats/safetensors.ts";
import { elementCount, sameShape } from "../mil/types.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight, WeightForm } from "../weights/weight.ts";
import {
  type CompressionScheme,
  compressedForm,
  compressedNames,
  compressedTensors,
  compressionScheme,
  readCompressed,
  readCompressedRow,
} from "./compressed-tensors.ts";

export interface Checkpoint {
  readonly directory: string;
  readonly architecture: DecoderArchitecture;
  readonly config: Readonly<Record<string, unknown>>;
  /** Bytes of all safetensors files. */
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
  /** SHA-256 over the config and every byte of the weights; computed once. */
  hash(): Promise<string>;
  close(): Promise<void>;
}

/** The parts of a weight as they lie in a checkpoint. */
export interface StoredWeight {
  readonly kind: "stored";
  readonly shape: readonly number[];
  /** Null for one dense tensor. */
  readonly scheme: CompressionScheme | null;
  readonly sizeBytes: number;
  /** Under `name`, which takes the place of the name they had. */
  tensors(name: string): TensorToWrite[];
}

const compressionMap = z.looseObject({ compression: z.record(z.string(), compressionScheme).optional() });

async function readConfig(directory: string): Promise<{ text: string; config: Record<string, unknown> }> {
  const path = join(directory, "config.json");
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `${directory} has no config.json`, {
      hint: "Give the folder of a Hugging Face checkpoint.",
      cause,
    });
  });
  try {
    return { text, config: z.record(z.string(), z.unknown()).parse(JSON.parse(text)) };
  } catch (cause) {
    throw new EspalierError("format/malformed", `${path} is not a JSON object`, { cause });
  }
}

/** More than any model has, and few enough to describe: a descriptor lists layers, heads and rotary frequencies one by one. */
const mostOf = {
  num_hidden_layers: 4096,
  num_attention_heads: 4096,
  num_key_value_heads: 4096,
  head_dim: 4096,
  global_head_dim: 4096,
  num_global_key_value_heads: 4096,
  num_kv_shared_layers: 4096,
  hidden_size_per_layer_input: 65_536,
  hidden_size: 65_536,
} as const;

/** Throws `model/config` for sizes that no checkpoint can have, before anything is made of them. */
function checkSizes(config: Record<string, unknown>): void {
  const nested = z.record(z.string(), z.unknown()).safeParse(config.text_config);
  for (const part of nested.success ? [config, nested.data] : [config]) {
    for (const [key, most] of Object.entries(mostOf)) {
      const value = part[key];
      if (typeof value === "number" && value > most)
        throw new EspalierError("model/config", `config.json: ${key} is ${value}, more than ${most}`, {
          hint: "The config is damaged, or not one of a language model.",
        });
    }
  }
}

async function openFiles(directory: string): Promise<SafetensorsFile[]> {
  const single = join(directory, "model.safetensors");
  if (await stat(single).catch(() => null)) return [await openSafetensors(single)];
  const indexPath = join(directory, "model.safetensors.index.json");
  const index = await readFile(indexPath, "utf8").catch((cause: unknown) => {
    throw new EspalierError(
      "model/missing-file",
      `${directory} has neither model.safetensors nor model.safetensors.index.json`,
      {
        hint: "Only safetensors checkpoints are read; convert .bin files first.",
        cause,
      },
    );
  });
  const shards = [...new Set(parseShardIndex(index, indexPath).values())].sort();
  const open: SafetensorsFile[] = [];
  try {
    for (const shard of shards) {
      const path = join(directory, shard);
      if (!(await stat(path).catch(() => null))) {
        throw new EspalierError(
          "model/missing-file",
          `the shard ${shard} of ${shards.length} is missing from ${directory}`,
          { hint: "Download it again." },
        );
      }
      open.push(await openSafetensors(path));
    }
    return open;
  } catch (thrown) {
    for (const f of open) await f.close();
    throw thrown;
  }
}

/** Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const { text, config } = await readConfig(directory);
  checkSizes(config);
  const architecture = architectureOf(config);
  const schemes = compressionMap.safeParse(config.espalier ?? {});
  if (!schemes.success)
    throw new EspalierError("model/config", `config.json: espalier.compression: ${schemes.error.issues[0]?.message}`);
  const compression = new Map<string, CompressionScheme>(Object.entries(schemes.data.compression ?? {}));
  const files = await openFiles(directory);
  try {
    return checkedCheckpoint(directory, text, config, architecture, compression, files);
  } catch (thrown) {
    for (const f of files) await f.close();
    throw thrown;
  }
}

/** Older multimodal checkpoints put the decoder behind one of these. */
const prefixes = ["", "language_model.", "model.language_model."];

function checkedCheckpoint(
  directory: string,
  configText: string,
  config: Record<string, unknown>,
  architecture: DecoderArchitecture,
  compression: ReadonlyMap<string, CompressionScheme>,
  files: readonly SafetensorsFile[],
): Checkpoint {
  const byName = new Map<string, SafetensorsFile>();
  for (const f of files) {
    for (const name of f.tensors.keys()) {
      if (byName.has(name)) throw new EspalierError("format/malformed", `the tensor ${name} lies in two shards`);
      byName.set(name, f);
    }
  }
  const fileOf = (name: string): SafetensorsFile => {
    const f = byName.get(name);
    if (!f)
      throw new EspalierError("model/missing-tensor", `the tensor ${name} is missing from ${directory}`, {
        hint: "The checkpoint is incomplete, or its config belongs to another model.",
      });
    return f;
  };
  const variants = (name: string): string[] => {
    const bare = name.replace(/^model\./, "");
    return [...prefixes.map((p) => `${p}${name}`), `model.language_model.${bare}`];
  };
  const present = (name: string): string | undefined => variants(name).find((n) => byName.has(n) || compression.has(n));

  const stored = new Map<string, string>();
  for (const entry of weightList(architecture)) {
    const { name, shape, role } = entry;
    const wanted = storedTensorName(architecture, entry);
    // A tied model stores one of the two; which one is up to who saved it.
    const found =
      present(wanted) ?? (role === "embedding" && architecture.tiedHead ? present(tensorName("head")) : undefined);
    if (found === undefined) {
      fileOf(wanted);
      continue;
    }
    const scheme = compression.get(found);
    const actual = scheme ? scheme.shape : (fileOf(found).tensors.get(found)?.shape ?? []);
    if (scheme) for (const part of compressedNames(found, scheme)) fileOf(part);
    if (!sameShape(actual, shape)) {
      throw new EspalierError(
        "model/shape-mismatch",
        `${found} is [${actual.join(", ")}], config.json asks for [${shape.join(", ")}]`,
        {
          hint: "config.json and the weights belong to different models, or one was edited.",
        },
      );
    }
    stored.set(name, found);
  }

  const storedName = (flat: string): string => {
    const found = stored.get(flat);
    if (found === undefined) throw new EspalierError("model/missing-tensor", `the model has no weight ${flat}`);
    return found;
  };
  const weight = async (flat: string): Promise<CompressedWeight> => {
    const name = storedName(flat);
    const scheme = compression.get(name);
    if (scheme) return readCompressed(fileOf, name, scheme);
    const file = fileOf(name);
    return {
      kind: "dense",
      dtype: "fp32",
      shape: file.tensors.get(name)?.shape ?? [],
      values: await file.readFloat32(name),
    };
  };
  const form = (flat: string): WeightForm => {
    const name = storedName(flat);
    const scheme = compression.get(name);
    const shapeOf = (part: string): readonly number[] => fileOf(part).tensors.get(part)?.shape ?? [];
    return scheme
      ? compressedForm(scheme, () => shapeOf(`${name}.nonzeros`)[0] ?? 0)
      : { kind: "dense", dtype: "fp32", shape: shapeOf(name) };
  };
  const rows = async (flat: string, from: number, to: number): Promise<Float32Array> => {
    const name = storedName(flat);
    invariant(!compression.has(name), `${name} is compressed and has no rows to read`);
    const file = fileOf(name);
    const columns = elementCount((file.tensors.get(name)?.shape ?? []).slice(1));
    return file.readFloat32(name, { from: from * columns, to: to * columns });
  };
  const values = async (flat: string): Promise<Float32Array> => {
    const w = await weight(flat);
    return w.kind === "dense" ? w.values : decodeWeight(w);
  };
  const shapeOf = (flat: string): readonly number[] => {
    const name = storedName(flat);
    return compression.get(name)?.shape ?? fileOf(name).tensors.get(name)?.shape ?? [];
  };
  const table = (flat: string): RowTable => {
    const name = storedName(flat);
    const scheme = compression.get(name);
    const shape = shapeOf(flat);
    const row = (index: number): Promise<Float32Array> =>
      scheme ? readCompressedRow(fileOf, name, scheme, index) : fileOf(name).readFloat32Row(name, index);
    return { shape, rows: (indices) => distinctRows(indices, shape[1] ?? 1, row) };
  };
  const asStored = (flat: string): StoredWeight => {
    const name = storedName(flat);
    const scheme = compression.get(name) ?? null;
    const parts = scheme ? compressedNames(name, scheme) : [name];
    const tensors = (as: string): TensorToWrite[] =>
      parts.map((part) => {
        const file = fileOf(part);
        const info = file.tensors.get(part);
        invariant(info, `no tensor ${part}`);
        const { dtype, shape } = info;
        return { name: as + part.slice(name.length), dtype, shape, bytes: () => file.pieces(part) };
      });
    const sizeBytes = parts.reduce((n, part) => n + (fileOf(part).tensors.get(part)?.sizeBytes ?? 0), 0);
    return { kind: "stored", shape: shapeOf(flat), scheme, sizeBytes, tensors };
  };
  let digest: Promise<string> | undefined;
  return {
    directory,
    architecture,
    config,
    sizeBytes: files.reduce((n, f) => n + f.sizeBytes, 0),
    globalTensor: (role) => values(role),
    layerTensor: (layer, role) => values(`L${layer}_${role}`),
    weight,
    table,
    stored: asStored,
    form,
    rows,
    hash() {
      digest ??= hashOf(configText, files);
      return digest;
    },
    async close() {
      for (const f of files) await f.close();
    },
  };
}

/** The Hugging Face name of a weight. */
function storedTensorName(arch: DecoderArchitecture, entry: WeightEntry): string {
  if (entry.layer === null) return tensorName(entry.role);
  const layer = arch.layers[entry.layer];
  invariant(layer, `no layer ${entry.layer}`);
  return tensorName(entry.role, entry.layer, layer);
}

async function hashOf(config: string, files: readonly SafetensorsFile[]): Promise<string> {
  const hash = createHash("sha256").update(config);
  for (const f of files) {
    for (const name of [...f.tensors.keys()].sort()) {
      hash.update(name);
      for await (const piece of f.pieces(name)) hash.update(piece);
    }
  }
  return hash.digest("hex");
}

export interface CheckpointToWrite {
  readonly architecture: DecoderArchitecture;
  /** What `config.json` is made from; widths and compression are brought up to date. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By flat name, in turn; dense ones are asked for again when they are written. */
  weight(flatName: string): Promise<CompressedWeight | StoredWeight>;
  /** Element type of dense matrices and norms in the file. */
  readonly dtype: "bf16" | "f16" | "f32";
  /** Tokenizer and generation files come from here. */
  readonly copyFrom: string | null;
  readonly replace?: boolean | undefined;
  /** How the weights came to be, kept in `config.json` under `espalier`. */
  readonly provenance?: Readonly<Record<string, unknown>> | undefined;
  /** Further files by name. */
  readonly extraFiles?: Readonly<Record<string, string>>;
}

const companions = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "generation_config.json",
  "tokenizer.model",
  "chat_template.jinja",
];

/** Writes a checkpoint directory, whole or not at all. */
export async function writeCheckpoint(directory: string, checkpoint: CheckpointToWrite): Promise<void> {
  const { architecture, dtype } = checkpoint;
  await withOutputDirectory(
    directory,
    async (partial) => {
      const tensors: TensorToWrite[] = [];
      const compression: Record<string, CompressionScheme> = {};
      for (const entry of weightList(architecture)) {
        const { name, shape } = entry;
        const stored = storedTensorName(architecture, entry);
        const first = await checkpoint.weight(name);
        if (!sameShape(first.shape, shape)) {
          throw new EspalierError(
            "model/shape-mismatch",
            `${stored} is [${first.shape.join(", ")}], the architecture asks for [${shape.join(", ")}]`,
          );
        }
        if (first.kind === "stored") {
          tensors.push(...first.tensors(stored));
          if (first.scheme) compression[stored] = first.scheme;
        } else if (first.kind === "dense") {
          tensors.push(
            denseTensor(stored, first.shape, dtype, async () => {
              const again = await checkpoint.weight(name);
              invariant(again.kind === "dense", `${name} was dense and is ${again.kind}`);
              return again.values;
            }),
          );
        } else {
          const parts = compressedTensors(stored, first);
          tensors.push(...parts.tensors);
          compression[stored] = parts.scheme;
        }
      }
      await writeSafetensors(join(partial, "model.safetensors"), tensors);
      const config = configFor(architecture, checkpoint.config);
      const espalier = typeof config.espalier === "object" ? config.espalier : { version: 1 };
      const ours = {
        ...checkpoint.provenance,
        ...(Object.keys(compression).length > 0 ? { compression } : {}),
      };
      const full = Object.keys(ours).length > 0 ? { ...config, espalier: { ...espalier, ...ours } } : config;
      await writeFile(
        join(partial, "config.json"),
        `${JSON.stringify({ ...full, ...dtypeKeys(full, dtype) }, null, 2)}\n`,
      );
      for (const [file, content] of Object.entries(checkpoint.extraFiles ?? {}))
        await writeFile(join(partial, file), content);
      for (const file of checkpoint.copyFrom === null ? [] : companions) {
        const from = join(checkpoint.copyFrom ?? "", file);
        if (await stat(from).catch(() => null)) await copyFile(from, join(partial, file));
      }
    },
    { marked: true, replace: checkpoint.replace ?? false },
  );
}

/** The element type under the name older loaders know, and under the newer one where the config has it. */
function dtypeKeys(config: Record<string, unknown>, dtype: "bf16" | "f16" | "f32"): Record<string, string> {
  const name = { bf16: "bfloat16", f16: "float16", f32: "float32" }[dtype];
  return { torch_dtype: name, ...("dtype" in config ? { dtype: name } : {}) };
}

function denseTensor(
  name: string,
  shape: readonly number[],
  dtype: "bf16" | "f16" | "f32",
  values: () => Promise<Float32Array>,
): TensorToWrite {
  const encode = async (): Promise<Uint8Array> => {
    const v = await values();
    if (v.length !== elementCount(shape))
      throw new EspalierError("internal/invariant", `internal: ${name} has ${v.length} values`);
    if (dtype === "f32") return asBytes(v);
    return asBytes(dtype === "bf16" ? bfloat16FromFloat32(v) : float16FromFloat32(v));
  };
  return { name, shape, dtype: dtype === "bf16" ? "BF16" : dtype === "f16" ? "F16" : "F32", bytes: encode };
}
