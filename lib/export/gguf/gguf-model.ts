/**
 * @file A model as a GGUF file: which type holds each weight, the metadata, and the data, some rows at a time.
 *
 * Codes that a type can hold are copied unchanged: symmetric int4 and int8 whose scales cover
 * blocks of 32 become Q4_0 and Q8_0, w = d q. Everything else is quantized from its decoded values
 * to the requested type or to the nearest one (`tensor-types.ts`), with errors weighted by the importance of
 * their columns where it is known.
 * Vectors are F32. In families with query norms the attention scale may differ from llama.cpp's:
 * the quotient goes into the gain of that norm.
 *
 * Reference: `convert_hf_to_gguf.py` of ggml-org/llama.cpp for names and orders. Not included: experts.
 */
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { storedFloat } from "../../checkpoint/checkpoint.ts";
import { type GgufFamily, ggufName, ggufOffset, turnedHeads, turnedRow } from "../../checkpoint/gguf/family.ts";
import { ggufFamilies } from "../../checkpoint/gguf/registry.ts";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { type WeightEntry, weightList } from "../../decoder/weights.ts";
import { EspalierError, invariant } from "../../errors.ts";
import { codesToBlocks, encode, isBlockType, type WrittenType } from "../../formats/gguf/quantize.ts";
import { type GgufKey, type GgufTensorToWrite, tensorBytes } from "../../formats/gguf/write.ts";
import { elementCount } from "../../mil/types.ts";
import { decodeWeight } from "../../weights/decode.ts";
import type { WeightForm } from "../../weights/weight.ts";
import { type EvenSource, evenRows, fillRow, oneScaleABlock, placedImportance } from "../even-rows.ts";
import { evenWidths, type Places, placesOf } from "../even-widths.ts";
import { type AskedType, askedType, fileTypes, fittingType, nearestType } from "./tensor-types.ts";

export interface PlannedTensor extends GgufTensorToWrite {
  readonly type: WrittenType;
  readonly sizeBytes: number;
  /** The weight, by flat name; null for a tensor of the metadata's. */
  readonly weight: string | null;
  /**
   * `kept`: the unchanged codes or numbers of the model; `rounded`: floats to a shorter float;
   * `quantized`: decoded values to another type.
   */
  readonly fidelity: "kept" | "rounded" | "quantized";
}

export interface GgufModel {
  /** general.architecture */
  readonly architecture: string;
  /** As the file has it, with even widths. */
  readonly even: DecoderArchitecture;
  /** Without the tokenizer's. */
  readonly keys: readonly GgufKey[];
  readonly tensors: readonly PlannedTensor[];
  /** Number of zero weights that were added. */
  readonly paddedWeights: number;
}

/** The GGUF architecture that holds this model, whose keys are what other formats must say too. Throws `export/unsupported`. */
export function ggufFamilyOf(arch: DecoderArchitecture): GgufFamily {
  const family = ggufFamilies.find((f) => f.families.includes(arch.family));
  if (family) return family;
  throw new EspalierError("export/unsupported", `models of the family ${arch.family} are not written as GGUF`, {
    hint: `Written are ${ggufFamilies.flatMap((f) => f.families).join(", ")}.`,
  });
}

/** How much an error in each input column of a matrix counts, by flat name: (columns). */
export type Importances = ReadonlyMap<string, Float32Array>;

/** `type`: the type for weights whose codes no GGUF type can hold; null: floats as the checkpoint
 * stores them, codes as the nearest type. */
export function ggufModel(
  checkpoint: Checkpoint,
  type: AskedType | null,
  name: string,
  importances: Importances = new Map(),
): GgufModel {
  const { architecture, config } = checkpoint;
  const family = ggufFamilyOf(architecture);
  const even = evenWidths(architecture);
  const inFamily = family.keys(even, config).map((k) => ({ ...k, key: `${family.architecture}.${k.key}` }));
  const factors = [...(family.tensors?.(even, config) ?? [])].map(
    ([tensor, values]): PlannedTensor => ({
      name: tensor,
      type: "F32",
      shape: [values.length],
      sizeBytes: 4 * values.length,
      weight: null,
      fidelity: "kept",
      async *bytes() {
        yield encode("F32", values);
      },
    }),
  );
  const evenShapes = new Map(weightList(even).map((e) => [e.name, e.shape]));
  const plan: Plan = { checkpoint, family, even, type, importances };
  const tensors = weightList(architecture).map((entry) => plannedTensor(plan, entry, evenShapes.get(entry.name) ?? []));
  const keys: GgufKey[] = [
    { key: "general.architecture", type: "string", value: family.architecture },
    { key: "general.type", type: "string", value: "model" },
    { key: "general.name", type: "string", value: name },
    { key: "general.file_type", type: "u32", value: fileTypes[commonest(tensors)] },
    { key: "general.quantization_version", type: "u32", value: 2 },
    ...inFamily,
  ];
  const paddedWeights = weightList(even).reduce((n, e) => n + elementCount(e.shape), 0);
  const weights = weightList(architecture).reduce((n, e) => n + elementCount(e.shape), 0);
  return {
    architecture: family.architecture,
    even,
    keys,
    tensors: [...factors, ...tensors],
    paddedWeights: paddedWeights - weights,
  };
}

/** The type that holds the most weights. */
function commonest(tensors: readonly PlannedTensor[]): WrittenType {
  const held = new Map<WrittenType, number>();
  for (const { type, shape } of tensors) held.set(type, (held.get(type) ?? 0) + elementCount(shape));
  const [first] = [...held].sort((a, b) => b[1] - a[1]);
  return first?.[0] ?? "F32";
}

interface Plan {
  readonly checkpoint: Checkpoint;
  readonly family: GgufFamily;
  readonly even: DecoderArchitecture;
  readonly type: AskedType | null;
  readonly importances: Importances;
}

function plannedTensor(plan: Plan, entry: WeightEntry, shape: readonly number[]): PlannedTensor {
  const { checkpoint, family, even, type, importances } = plan;
  const name = ggufName(family, entry);
  const places = turned(
    placesOf(checkpoint.architecture, even, entry),
    turnedHeads(family, even, entry),
    shape[0] ?? 1,
  );
  const source: EvenSource = { checkpoint, entry, shape, places };
  const asked = type === null ? null : askedType(type, entry, even);
  const importance = importances.get(entry.name) ?? null;
  const chosen = shape.length === 1 ? vector(source, family) : matrix(source, asked, importance);
  const of = { name, type: chosen.type, shape };
  return { ...of, sizeBytes: tensorBytes(of), weight: entry.name, fidelity: chosen.fidelity, bytes: chosen.bytes };
}

type Chosen = Pick<PlannedTensor, "type" | "fidelity" | "bytes">;

function turned(places: Places, headDim: number | null, count: number): Places {
  if (headDim === null) return places;
  const rows = new Int32Array(count);
  for (let row = 0; row < count; row++) rows[turnedRow(row, headDim)] = places.rows ? (places.rows[row] ?? -1) : row;
  return { ...places, rows };
}

function vector({ checkpoint, entry, places }: EvenSource, family: GgufFamily): Chosen {
  const { role, layer } = entry;
  const arch = checkpoint.architecture;
  const offset = ggufOffset(family, role);
  const own = layer === null ? undefined : arch.layers[layer];
  const gain = own && role === "queryNorm" ? own.attentionScale / family.attentionScale(arch, own) : 1;
  return {
    type: "F32",
    fidelity: "kept",
    async *bytes() {
      const stored = decodeWeight(await checkpoint.weight(entry.name));
      const { rows } = places;
      const values = rows ? Float32Array.from(rows, (from) => (from < 0 ? 0 : (stored[from] ?? 0))) : stored;
      yield encode("F32", offset === 0 && gain === 1 ? values : values.map((v) => (v + offset) * gain));
    },
  };
}

function matrix(source: EvenSource, wanted: WrittenType | null, importance: Float32Array | null): Chosen {
  const { checkpoint, entry, shape, places } = source;
  const form = checkpoint.form(entry.name);
  const columns = shape[1] ?? 1;
  const kept = columns % 32 === 0 ? codesOf(source, form) : null;
  if (kept) return kept;
  const stored =
    form.kind === "dense"
      ? ({ f32: "F16", f16: "F16", bf16: "BF16" } as const)[storedFloat(checkpoint.stored(entry.name))]
      : nearestType(form);
  const type = fittingType(wanted ?? stored, columns);
  const isKept =
    form.kind === "dense" && (type === "F32" || (wanted === null && checkpoint.stored(entry.name).type === type));
  return {
    type,
    fidelity: isKept ? "kept" : isBlockType(type) ? "quantized" : "rounded",
    async *bytes() {
      const placed = importance && placedImportance(importance, places.columns);
      for await (const values of evenRows(source)) yield encode(type, values, placed);
    },
  };
}

/** Symmetric codes with scales over blocks of 32, in the file's order; null where the weight has none. */
function codesOf(source: EvenSource, form: WeightForm): Chosen | null {
  const { checkpoint, entry, shape, places } = source;
  if (form.kind !== "affine" || form.offsets) return null;
  const [, columns = 1] = form.shape;
  const [, scaleColumns = 1] = form.scaleShape;
  const columnStep = columns / scaleColumns;
  if (!oneScaleABlock(places.columns, columns, columnStep, 32)) return null;
  const type = form.bits === 4 ? "Q4_0" : "Q8_0";
  return {
    type,
    fidelity: "kept",
    async *bytes() {
      const weight = await checkpoint.weight(entry.name);
      invariant(weight.kind === "affine", `${entry.name} was affine and is ${weight.kind}`);
      const width = shape[1] ?? 1;
      for (let row = 0; row < (shape[0] ?? 1); row++) {
        const from = places.rows ? (places.rows[row] ?? -1) : row;
        const codes = new Int8Array(width);
        const scales = new Float32Array(width / 32);
        if (from >= 0) fillRow(weight, places.columns, from, codes, scales);
        yield codesToBlocks(type, codes, scales);
      }
    },
  };
}
