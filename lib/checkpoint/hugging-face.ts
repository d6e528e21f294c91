/**
 * @file A Hugging Face checkpoint folder: config, safetensors (one file or shards), tokenizer files.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { DecoderArchitecture, GlobalTensor } from "../decoder/architecture.ts";
import { architectureOf } from "../decoder/families/registry.ts";
import { globalTensorName, storedPlaces } from "../decoder/families/stored-tensors.ts";
import { distinctRows, type RowTable, weightList } from "../decoder/weights.ts";
import { EspalierError, invariant } from "../errors.ts";
import { parsedJson } from "../files/json-text.ts";
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
  const bytes = await readFile(path);
  const config = z.record(z.string(), z.unknown()).safeParse(parsedJson(bytes, path));
  if (config.success) return { text: bytes.toString("utf8"), config: config.data };
  throw new EspalierError("format/malformed", `${path} is not a JSON object`, {
    hint: "Copy config.json again from the model it belongs to.",
  });
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
 * A config may tie the head to the embedding while the weights hold a separate head. As in
 * transformers 5 the weights decide: if the two are equal the head is tied, otherwise it is not.
 */
async function withOwnHead(
  architecture: DecoderArchitecture,
  compression: ReadonlyMap<string, CompressionScheme>,
  { byName }: Shards,
): Promise<DecoderArchitecture> {
  if (!architecture.tiedHead) return architecture;
  const found = (role: GlobalTensor): string | undefined =>
    variants(globalTensorName(architecture, role)).find((n) => byName.has(n) && !compression.has(n));
  const [embedding, head] = [found("embedding"), found("head")];
  if (embedding === undefined || head === undefined) return architecture;
  const [a, b] = [byName.get(embedding), byName.get(head)];
  if (!a || !b || (await equalTensors(a, embedding, b, head))) return architecture;
  return { ...architecture, tiedHead: false };
}

/** Whether two matrices have the same shape and values. */
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

/** The names under which `transformers` finds a tensor. A decoder that was saved without its head, as models that embed texts
 * are, has none of the prefix `model.`. */
function variants(name: string): string[] {
  const bare = name.replace(/^model\./, "");
  const withoutHead = bare === name ? [] : [bare, `language_model.${bare}`];
  return [...prefixes.map((p) => `${p}${name}`), `model.language_model.${bare}`, ...withoutHead];
}

/** Tensors that transformers ignores silently: computed tables. */
const computed = /(^|\.)rotary_emb\.inv_freq$|(^|\.)position_ids$/;

/** The tensors that GPTQ, AWQ, compressed-tensors, bitsandbytes and HQQ store instead of a weight.
 */
const packings = ["qweight", "weight_packed", "weight_scale", "W_q", "weight.quant_state", "weight.absmax", "SCB"];

function packedInstead(name: string, byName: ReadonlyMap<string, unknown>): string | undefined {
  const bare = name.replace(/\.weight$/, "");
  const beside = variants(bare).flatMap((n) => packings.map((packing) => `${n}.${packing}`));
  return beside.find((n) => byName.has(n));
}

/** What to do about a tensor that is not there, from the names of those that are. */
function lacking(name: string, byName: ReadonlyMap<string, unknown>): string {
  const packed = packedInstead(name, byName);
  if (packed)
    return `The weights are packed by another quantizer (${packed} is there); take the checkpoint in bf16, fp16 or fp32, or a GGUF file.`;
  const names = [...byName.keys()];
  const adapted = names.find((n) => /\.base_layer\.|\.lora_[AB]\./.test(n));
  if (adapted)
    return `An adapter (LoRA) is not merged yet (${adapted} is there); merge it (peft: merge_and_unload) and save again.`;
  const wrapped = names.find((n) => n.endsWith(`.${name}`));
  if (wrapped) {
    const prefix = wrapped.slice(0, -name.length);
    return `It is there as ${wrapped}: something wrapped around the model (torch.compile, DDP, FSDP, peft) was saved with it. Save the model inside it, or take “${prefix}” off every name.`;
  }
  if (/^lm_head\.weight$/.test(name))
    return "If its output head is the embedding, set tie_word_embeddings to true in config.json; a model that embeds or classifies texts has none.";
  return "The checkpoint is incomplete, or its config belongs to another model.";
}

/** Where a weight was found. */
interface Held {
  readonly name: string;
  /** Null for a dense one. */
  readonly scheme: CompressionScheme | null;
  readonly shape: readonly number[];
  /** Its place in a shared tensor; null if it has its own. */
  readonly firstRow: number | null;
}

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
      hint: lacking(name, byName),
    });
  };
  const present = (name: string): string | undefined =>
    variants(name).find((n) => byName.has(n) || compression.has(n) || shards.missingShard(n) !== null);

  const places = storedPlaces(architecture);
  const found = new Map<string, Held>();
  for (const { name: flat, shape, role } of weightList(architecture)) {
    const place = places.get(flat);
    invariant(place, `no place for ${flat}`);
    const alone = present(place.name);
    const shared = alone === undefined && place.shared ? present(place.shared.name) : undefined;
    // A tied model stores one of the two; which one is up to who saved it.
    const tied =
      role === "embedding" && architecture.tiedHead ? present(globalTensorName(architecture, "head")) : undefined;
    const name = alone ?? shared ?? tied;
    if (name === undefined) {
      fileOf(place.shared?.name ?? place.name);
      continue;
    }
    const scheme = compression.get(name) ?? null;
    const actual = scheme ? scheme.shape : (fileOf(name).tensors.get(name)?.shape ?? []);
    if (scheme) for (const part of compressedNames(name, scheme)) fileOf(part);
    const expected = shared !== undefined && place.shared ? [place.shared.rows, ...shape.slice(1)] : shape;
    if (!sameShape(actual, expected)) {
      throw new EspalierError(
        "model/shape-mismatch",
        `${name} is [${actual.join(", ")}], config.json asks for [${expected.join(", ")}]`,
        {
          hint: "config.json and the weights belong to different models, or one was edited.",
        },
      );
    }
    const dtype = scheme ? undefined : fileOf(name).tensors.get(name)?.dtype;
    if (dtype !== undefined && !isFloat(dtype)) {
      throw new EspalierError("format/unsupported", `${name} is ${dtype}, a floating point type was expected`, {
        hint: "The weights are quantized or packed by another tool; take the checkpoint in bf16, fp16 or fp32.",
      });
    }
    if (scheme && shared !== undefined) {
      throw new EspalierError("model/config", `config.json: espalier.compression: ${name} holds several weights`, {
        hint: "A compressed weight stands alone, under a name of its own.",
      });
    }
    found.set(flat, { name, scheme, shape, firstRow: shared === undefined ? null : (place.shared?.firstRow ?? 0) });
  }
  const used = new Set(
    [...found.values()].flatMap(({ name, scheme }) => (scheme ? compressedNames(name, scheme) : [name])),
  );
  const tiedTo = new Set(
    architecture.tiedHead
      ? (["head", "embedding"] as const).flatMap((role) => variants(globalTensorName(architecture, role)))
      : [],
  );

  const held = (flat: string): Held => {
    const h = found.get(flat);
    if (!h) throw new EspalierError("model/missing-tensor", `the model has no weight ${flat}`);
    return h;
  };
  const dense = ({ name, shape, firstRow }: Held, from: number, to: number): Promise<Float32Array> => {
    const columns = elementCount(shape.slice(1));
    const first = firstRow ?? 0;
    return fileOf(name).readFloat32(name, { from: (first + from) * columns, to: (first + to) * columns });
  };
  const weight = async (flat: string): Promise<CompressedWeight> => {
    const h = held(flat);
    if (h.scheme) return readCompressed(fileOf, h.name, h.scheme);
    return { kind: "dense", dtype: "fp32", shape: h.shape, values: await dense(h, 0, h.shape[0] ?? 1) };
  };
  const form = (flat: string): WeightForm => {
    const { name, scheme, shape } = held(flat);
    const nonzeros = `${name}.nonzeros`;
    return scheme
      ? compressedForm(scheme, () => fileOf(nonzeros).tensors.get(nonzeros)?.shape[0] ?? 0)
      : { kind: "dense", dtype: "fp32", shape };
  };
  const rows = async (flat: string, from: number, to: number): Promise<Float32Array> => {
    const h = held(flat);
    invariant(!h.scheme, `${h.name} is compressed and has no rows to read`);
    return dense(h, from, to);
  };
  const values = async (flat: string): Promise<Float32Array> => {
    const w = await weight(flat);
    return w.kind === "dense" ? w.values : decodeWeight(w);
  };
  const table = (flat: string): RowTable => {
    const h = held(flat);
    const { name, scheme, shape } = h;
    const row = (index: number): Promise<Float32Array> =>
      scheme ? readCompressedRow(fileOf, name, scheme, index) : dense(h, index, index + 1);
    return { shape, rows: (indices) => distinctRows(indices, shape[1] ?? 1, row) };
  };
  const asStored = (flat: string): StoredWeight => {
    const { name, scheme, shape, firstRow } = held(flat);
    const parts = scheme ? compressedNames(name, scheme) : [name];
    const written = parts.map((part) => {
      const file = fileOf(part);
      const info = file.tensors.get(part);
      invariant(info, `no tensor ${part}`);
      const suffix = part.slice(name.length);
      if (firstRow === null)
        return {
          suffix,
          dtype: info.dtype,
          shape: info.shape,
          sizeBytes: info.sizeBytes,
          bytes: () => file.pieces(part),
        };
      const rowBytes = info.sizeBytes / (info.shape[0] ?? 1);
      const range = { from: firstRow * rowBytes, length: (shape[0] ?? 1) * rowBytes };
      return { suffix, dtype: info.dtype, shape, sizeBytes: range.length, bytes: () => file.pieces(part, range) };
    });
    const tensors = (as: string): TensorToWrite[] =>
      written.map(({ suffix, dtype, shape, bytes }) => ({ name: as + suffix, dtype, shape, bytes }));
    const sizeBytes = written.reduce((n, part) => n + part.sizeBytes, 0);
    const type = scheme?.kind ?? written[0]?.dtype ?? "";
    return { kind: "stored", shape, scheme, type, sizeBytes, tensors };
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
