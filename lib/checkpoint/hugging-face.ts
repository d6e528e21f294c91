/**
 * @file A Hugging Face checkpoint folder: config, safetensors (one file or shards), tokenizer files.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type DecoderArchitecture, type GlobalTensor, tensorName } from "../decoder/architecture.ts";
import { architectureOf } from "../decoder/families/registry.ts";
import { distinctRows, type RowTable, type WeightEntry, weightList } from "../decoder/weights.ts";
import { EspalierError, invariant } from "../errors.ts";
import { folderFiles } from "../files/named-files.ts";
import { isFloat, type SafetensorsFile, type TensorToWrite } from "../formats/safetensors.ts";
import { elementCount, sameShape } from "../mil/types.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight, WeightForm } from "../weights/weight.ts";
import type { Checkpoint, StoredWeight } from "./checkpoint.ts";
import {
  type CompressionScheme,
  compressedForm,
  compressedNames,
  compressionScheme,
  readCompressed,
  readCompressedRow,
} from "./compressed-tensors.ts";
import { checkSizes } from "./config-sizes.ts";
import { openShards, type Shards } from "./shards.ts";

const compressionMap = z.looseObject({ compression: z.record(z.string(), compressionScheme).optional() });

async function readConfig(directory: string): Promise<{ text: string; config: Record<string, unknown> }> {
  const path = join(directory, "config.json");
  const text = await readFile(path, "utf8");
  try {
    return { text, config: z.record(z.string(), z.unknown()).parse(JSON.parse(text)) };
  } catch (cause) {
    throw new EspalierError("format/malformed", `${path} is not a JSON object`, { cause });
  }
}

/** Opens a folder that holds a config.json. Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openFolderCheckpoint(directory: string): Promise<Checkpoint> {
  const { text, config } = await readConfig(directory);
  checkSizes(config);
  const architecture = architectureOf(config);
  const schemes = compressionMap.safeParse(config.espalier ?? {});
  if (!schemes.success)
    throw new EspalierError("model/config", `config.json: espalier.compression: ${schemes.error.issues[0]?.message}`);
  const compression = new Map<string, CompressionScheme>(Object.entries(schemes.data.compression ?? {}));
  const shards = await openShards(directory);
  try {
    const described = { text, config, architecture: await withOwnHead(architecture, compression, shards) };
    return checkedCheckpoint(directory, described, compression, shards);
  } catch (thrown) {
    await shards.close();
    throw thrown;
  }
}

/**
 * A config may say that the head is the embedding while the weights hold another one. As in transformers 5 the weights decide:
 * two that are equal are one, two that differ are two.
 */
async function withOwnHead(
  architecture: DecoderArchitecture,
  compression: ReadonlyMap<string, CompressionScheme>,
  { byName }: Shards,
): Promise<DecoderArchitecture> {
  if (!architecture.tiedHead) return architecture;
  const found = (role: GlobalTensor): string | undefined =>
    variants(tensorName(role)).find((n) => byName.has(n) && !compression.has(n));
  const [embedding, head] = [found("embedding"), found("head")];
  if (embedding === undefined || head === undefined) return architecture;
  const [a, b] = [byName.get(embedding), byName.get(head)];
  if (!a || !b || (await equalTensors(a, embedding, b, head))) return architecture;
  return { ...architecture, tiedHead: false };
}

/** Whether two matrices have one shape and the same values. */
async function equalTensors(a: SafetensorsFile, aName: string, b: SafetensorsFile, bName: string): Promise<boolean> {
  const [first, second] = [a.tensors.get(aName), b.tensors.get(bName)];
  if (!first || !second || !sameShape(first.shape, second.shape)) return false;
  if (first.dtype === second.dtype) {
    const others = b.pieces(bName)[Symbol.asyncIterator]();
    for await (const piece of a.pieces(aName)) {
      const other = await others.next();
      if (other.done || Buffer.compare(piece, other.value) !== 0) return false;
    }
    return true;
  }
  for (let row = 0; row < (first.shape[0] ?? 0); row++) {
    const [x, y] = [await a.readFloat32Row(aName, row), await b.readFloat32Row(bName, row)];
    if (x.some((v, i) => v !== y[i])) return false;
  }
  return true;
}

/** Older multimodal checkpoints put the decoder behind one of these. */
const prefixes = ["", "language_model.", "model.language_model."];

function variants(name: string): string[] {
  const bare = name.replace(/^model\./, "");
  return [...prefixes.map((p) => `${p}${name}`), `model.language_model.${bare}`];
}

/** What transformers leaves unread without a word: tables that are computed. */
const computed = /(^|\.)rotary_emb\.inv_freq$|(^|\.)position_ids$/;

function checkedCheckpoint(
  directory: string,
  described: {
    readonly text: string;
    readonly config: Record<string, unknown>;
    readonly architecture: DecoderArchitecture;
  },
  compression: ReadonlyMap<string, CompressionScheme>,
  shards: Shards,
): Checkpoint {
  const { text: configText, config, architecture } = described;
  const { files, byName } = shards;
  const fileOf = (name: string): SafetensorsFile => {
    const f = byName.get(name);
    if (f) return f;
    const shard = shards.missingShard(name);
    if (shard !== null) {
      throw new EspalierError(
        "model/missing-file",
        `the shard ${shard} is missing from ${directory}: ${name} lies in it`,
        {
          hint: "Download it again.",
        },
      );
    }
    throw new EspalierError("model/missing-tensor", `the tensor ${name} is missing from ${directory}`, {
      hint: "The checkpoint is incomplete, or its config belongs to another model.",
    });
  };
  const present = (name: string): string | undefined =>
    variants(name).find((n) => byName.has(n) || compression.has(n) || shards.missingShard(n) !== null);

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
    const dtype = scheme ? undefined : fileOf(found).tensors.get(found)?.dtype;
    if (dtype !== undefined && !isFloat(dtype)) {
      throw new EspalierError("format/unsupported", `${found} is ${dtype}, a floating point type was expected`, {
        hint: "The weights are quantized or packed by another tool; take the checkpoint in bf16, fp16 or fp32.",
      });
    }
    stored.set(name, found);
  }
  const used = new Set(
    [...stored.values()].flatMap((name) => {
      const scheme = compression.get(name);
      return scheme ? compressedNames(name, scheme) : [name];
    }),
  );
  const tiedTo = new Set(
    architecture.tiedHead ? [...variants(tensorName("head")), ...variants(tensorName("embedding"))] : [],
  );

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
    const type = scheme?.kind ?? fileOf(name).tensors.get(name)?.dtype ?? "";
    return { kind: "stored", shape: shapeOf(flat), scheme, type, sizeBytes, tensors };
  };
  let digest: Promise<string> | undefined;
  return {
    ...folderFiles(directory),
    architecture,
    config,
    unused: [...byName.keys()].filter((name) => !used.has(name) && !tiedTo.has(name) && !computed.test(name)).sort(),
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
    close: () => shards.close(),
  };
}

/** The Hugging Face name of a weight. */
export function storedTensorName(arch: DecoderArchitecture, entry: WeightEntry): string {
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
