/**
 * @file A Hugging Face checkpoint folder: config, safetensors (one file or shards), tokenizer files.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type DecoderArchitecture, tensorName } from "../decoder/architecture.ts";
import { architectureOf } from "../decoder/families/registry.ts";
import { distinctRows, type RowTable, type WeightEntry, weightList } from "../decoder/weights.ts";
import { EspalierError, invariant } from "../errors.ts";
import { folderFiles } from "../files/named-files.ts";
import { openSafetensors, parseShardIndex, type SafetensorsFile, type TensorToWrite } from "../formats/safetensors.ts";
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

async function openFiles(directory: string): Promise<SafetensorsFile[]> {
  const single = join(directory, "model.safetensors");
  if (await stat(single).catch(() => null)) return [await openSafetensors(single)];
  const indexPath = join(directory, "model.safetensors.index.json");
  const index = await readFile(indexPath, "utf8").catch(async (cause: unknown) => {
    throw new EspalierError(
      "model/missing-file",
      `${directory} has neither model.safetensors nor model.safetensors.index.json`,
      { hint: whatLiesThere(await readdir(directory)), cause },
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

/** What to do about a folder without safetensors files. */
function whatLiesThere(names: readonly string[]): string {
  const gguf = names.find((n) => n.endsWith(".gguf"));
  if (gguf !== undefined) return `Give the file itself: ${gguf}.`;
  if (names.some((n) => /\.(bin|pt|pth)$/.test(n)))
    return "Its weights are PyTorch pickles, which can run code and are not read; save it again with transformers (save_pretrained).";
  if (names.includes("adapter_config.json") || names.some((n) => n.startsWith("adapter_model.")))
    return "It holds an adapter (LoRA); merge it into the model it was trained on (peft: merge_and_unload) first.";
  return "Download the model.safetensors files into that folder.";
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
    const type = scheme?.kind ?? fileOf(name).tensors.get(name)?.dtype ?? "";
    return { kind: "stored", shape: shapeOf(flat), scheme, type, sizeBytes, tensors };
  };
  let digest: Promise<string> | undefined;
  return {
    ...folderFiles(directory),
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
