/**
 * @file A `.gguf` file as a checkpoint: its metadata as a config, its tensors as fp32 values in Hugging Face's order.
 *
 * Weights are decoded on request, a piece at a time, so that memory holds one tensor's values and a
 * megabyte of the file. A tensor that the architecture does not use is refused: without it the
 * result would be a different model. Row r of a head of q and k is row 2 (r mod d/2) + ⌊r / (d/2)⌋
 * of the file where `neighboursTurn`; norm weights are the file's less 1 where `normsPlusOne`.
 */
import { createHash } from "node:crypto";
import { architectureOf } from "../../decoder/families/registry.ts";
import { distinctRows, type WeightEntry, weightList } from "../../decoder/weights.ts";
import { EspalierError } from "../../errors.ts";
import { type GgufFile, openGguf } from "../../formats/gguf/gguf.ts";
import type { GgufTensor } from "../../formats/gguf/header.ts";
import { asBytes } from "../../formats/safetensors.ts";
import { elementCount, sameShape } from "../../mil/types.ts";
import { type TokenizerFiles, tokenizerFilesFromGguf } from "../../tokenizer/gguf-tokenizer.ts";
import type { Checkpoint, StoredWeight } from "../checkpoint.ts";
import { checkSizes } from "../config-sizes.ts";
import { type GgufFamily, ggufName, ggufOffset, turnedHeads, turnedRow } from "./family.ts";
import { ggufFamilies } from "./registry.ts";

/** Values read at once when a weight is copied in pieces. */
const COPIED_VALUES = 1 << 20;

/** Throws `model/…` and `format/…` errors naming file, tensor, expected and found. */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const file = await openGguf(path);
  try {
    return await checkpointOf(file);
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

function familyOf(file: GgufFile): GgufFamily {
  const { path, metadata } = file;
  const type = metadata.get("general.type") ?? "model";
  if (type !== "model") {
    const hint =
      type === "adapter"
        ? "Merge the adapter into its model first (llama-export-lora), or give the model it belongs to."
        : "Give the file of the model itself.";
    throw new EspalierError("format/unsupported", `${path} is no model: its general.type is "${String(type)}"`, {
      hint,
    });
  }
  const name = metadata.get("general.architecture");
  const family = ggufFamilies.find((f) => f.architecture === name);
  if (family) return family;
  throw new EspalierError(
    "model/unknown-architecture",
    `${path}: general.architecture ${JSON.stringify(String(name))} is not known`,
    { hint: `Known are ${ggufFamilies.map((f) => f.architecture).join(", ")}.` },
  );
}

/** A weight of the decoder and the tensor it is made from. */
interface Source {
  readonly entry: WeightEntry;
  readonly tensor: GgufTensor;
  /** Rows of a head to reorder; null for the order of the file. */
  readonly headDim: number | null;
  /** Taken from every value. */
  readonly offset: 0 | 1;
}

async function checkpointOf(file: GgufFile): Promise<Checkpoint> {
  const { path } = file;
  const family = familyOf(file);
  const config = { ...(await family.config(file)), torch_dtype: "float32" };
  checkSizes(config);
  const architecture = architectureOf(config);

  const sources = new Map<string, Source>();
  const used = new Set(family.configTensors);
  for (const entry of weightList(architecture)) {
    const name = ggufName(family, entry);
    const tensor = file.tensors.get(name);
    if (!tensor) {
      throw new EspalierError("model/missing-tensor", `the tensor ${name} is missing from ${path}`, {
        hint: "The file is incomplete; download it again.",
      });
    }
    if (!sameShape(tensor.shape, entry.shape)) {
      throw new EspalierError(
        "model/shape-mismatch",
        `${path}: ${name} is [${tensor.shape.join(", ")}], the metadata ask for [${entry.shape.join(", ")}]`,
      );
    }
    const headDim = turnedHeads(family, architecture, entry);
    sources.set(entry.name, { entry, tensor, headDim, offset: ggufOffset(family, entry.role) });
    used.add(name);
  }
  const unused = [...file.tensors.keys()].find((name) => !used.has(name));
  if (unused !== undefined) {
    throw new EspalierError(
      "format/unsupported",
      `${path}: the tensor ${unused} is no part of a ${family.architecture} model as it is read here`,
      {
        hint: "The model has something that Espalier cannot run yet, such as experts.",
      },
    );
  }

  const source = (flat: string): Source => {
    const found = sources.get(flat);
    if (!found) throw new EspalierError("model/missing-tensor", `the model has no weight ${flat}`);
    return found;
  };
  const rowCount = ({ entry }: Source): number => entry.shape[0] ?? 1;
  const read = async (from: Source): Promise<Float32Array<ArrayBuffer>> => valuesOf(file, from, 0, rowCount(from));
  let digest: Promise<string> | undefined;
  return {
    path,
    architecture,
    config,
    unused: [],
    sizeBytes: [...file.tensors.values()].reduce((n, t) => n + t.sizeBytes, 0),
    ...companions(file, config),
    globalTensor: (role) => read(source(role)),
    layerTensor: (layer, role) => read(source(`L${layer}_${role}`)),
    async weight(flat) {
      const from = source(flat);
      return { kind: "dense", dtype: "fp32", shape: from.entry.shape, values: await read(from) };
    },
    table(flat) {
      const from = source(flat);
      const row = (index: number): Promise<Float32Array> => valuesOf(file, from, index, index + 1);
      return { shape: from.entry.shape, rows: (indices) => distinctRows(indices, from.entry.shape[1] ?? 1, row) };
    },
    stored: (flat) => decodedWhenWritten(file, source(flat)),
    form: (flat) => ({ kind: "dense", dtype: "fp32", shape: source(flat).entry.shape }),
    rows: (flat, from, to) => valuesOf(file, source(flat), from, to),
    hash() {
      digest ??= hashOf(file);
      return digest;
    },
    close: () => file.close(),
  };
}

/** The files of a Hugging Face folder that can be made from the metadata, each on request. */
function companions(file: GgufFile, config: Readonly<Record<string, unknown>>): Pick<Checkpoint, "file" | "json"> {
  let made: TokenizerFiles | undefined;
  const tokenizer = (): TokenizerFiles => {
    made ??= tokenizerFilesFromGguf(file.metadata);
    return made;
  };
  const contents = new Map<string, () => object>([
    ["config.json", () => config],
    ["tokenizer.json", () => tokenizer().tokenizer],
    ["tokenizer_config.json", () => tokenizer().config],
    ["generation_config.json", () => tokenizer().generation],
  ]);
  return {
    json: (name) => contents.get(name)?.(),
    async file(name) {
      if (name === "chat_template.jinja") {
        const { chatTemplate } = tokenizer();
        return chatTemplate === null ? null : new TextEncoder().encode(chatTemplate);
      }
      const value = contents.get(name)?.();
      if (!value) return null;
      const text = JSON.stringify(value, null, name === "tokenizer.json" ? 0 : 2);
      return new TextEncoder().encode(`${text}\n`);
    },
  };
}

/** Rows [from, to) of a weight. */
async function valuesOf(file: GgufFile, source: Source, from: number, to: number): Promise<Float32Array<ArrayBuffer>> {
  const { tensor, headDim, offset, entry } = source;
  if (headDim !== null) return reordered(file, source, headDim, from, to);
  const values = await file.readFloat32(tensor.name, entry.shape.length > 1 ? { from, to } : undefined);
  if (offset !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) - offset;
  return values;
}

/** The heads that hold rows [from, to), with the rows of each in Hugging Face's order. */
async function reordered(
  file: GgufFile,
  { tensor, entry }: Source,
  headDim: number,
  from: number,
  to: number,
): Promise<Float32Array<ArrayBuffer>> {
  const columns = entry.shape[1] ?? 1;
  const isMatrix = entry.shape.length > 1;
  const first = isMatrix ? Math.floor(from / headDim) * headDim : 0;
  const last = Math.ceil(to / headDim) * headDim;
  const stored = await file.readFloat32(tensor.name, isMatrix ? { from: first, to: last } : undefined);
  const out = new Float32Array((to - from) * columns);
  for (let row = from; row < to; row++) {
    const at = turnedRow(row, headDim) - first;
    out.set(stored.subarray(at * columns, (at + 1) * columns), (row - from) * columns);
  }
  return out;
}

/** The file holds codes of its own types; they are written as decoded fp32 values. */
function decodedWhenWritten(file: GgufFile, source: Source): StoredWeight {
  const { shape } = source.entry;
  const rows = shape[0] ?? 1;
  const atOnce = Math.max(1, Math.floor(COPIED_VALUES / elementCount(shape.slice(1))));
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let row = 0; row < rows; row += atOnce)
      yield asBytes(await valuesOf(file, source, row, Math.min(rows, row + atOnce)));
  }
  const vector = async (): Promise<Uint8Array> => asBytes(await valuesOf(file, source, 0, rows));
  return {
    kind: "stored",
    shape,
    scheme: null,
    type: source.tensor.type,
    sizeBytes: source.tensor.sizeBytes,
    tensors: (name) => [{ name, dtype: "F32", shape, bytes: shape.length > 1 ? pieces : vector }],
  };
}

async function hashOf(file: GgufFile): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of file.pieces()) hash.update(piece);
  return hash.digest("hex");
}
