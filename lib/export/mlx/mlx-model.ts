/**
 * @file A model as a folder that mlx-lm loads: its config with a `quantization` for every path, and the tensors of its safetensors file.
 *
 * Codes that MLX's affine groups can hold are kept: int4 and int8 with a scale for a row or for a multiple of 32 columns become unsigned codes
 * with the bias −(offset + 2^(bits − 1)) s, exactly without offsets. Palettes and other codes are quantized again, to their own bits or those
 * asked for; dense matrices only where bits are asked for. Layers of different widths are filled with zeros, because the classes of mlx-lm
 * have one width for all. Norms of models with scaled embeddings (Gemma) are fp32, so that activations are: fp16 cannot hold them.
 *
 * Reference: `mlx_lm/utils.py` and `mlx_lm/models` of ml-explore/mlx-lm. Not included: shards, modes other than affine, model files.
 */
import { z } from "zod";
import { type Checkpoint, storedFloat } from "../../checkpoint/checkpoint.ts";
import { finiteFloat16 } from "../../checkpoint/finite-float16.ts";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { configFor } from "../../decoder/families/registry.ts";
import { storedTensors } from "../../decoder/families/stored-tensors.ts";
import { type WeightEntry, weightList } from "../../decoder/weights.ts";
import { EspalierError, invariant } from "../../errors.ts";
import { bfloat16FromFloat32 } from "../../float16.ts";
import { type AffineGroups, mlxBits, packCodes, quantizeGroups } from "../../formats/mlx/affine-groups.ts";
import { asBytes, type TensorToWrite } from "../../formats/safetensors.ts";
import { elementCount } from "../../mil/types.ts";
import type { WeightForm } from "../../weights/weight.ts";
import { type EvenSource, evenRows, fillRow, oneScaleABlock, placedImportance } from "../even-rows.ts";
import { evenWidths, placesOf } from "../even-widths.ts";
import { ggufFamilyOf, type Importances } from "../gguf/gguf-model.ts";

export interface MlxOptions {
  /** Of weights whose codes MLX cannot hold; null: floats as they are stored, other codes as many bits as they have. */
  readonly bits: AffineGroups["bits"] | null;
  /** The widest; rows that it does not divide get a narrower one. */
  readonly groupSize: AffineGroups["groupSize"];
}

export interface PlannedMatrix {
  /** Of the module, as in `quantization`. */
  readonly path: string;
  readonly shape: readonly number[];
  /** Null for floats. */
  readonly groups: AffineGroups | null;
  readonly fidelity: "kept" | "rounded" | "quantized";
  readonly sizeBytes: number;
}

export interface MlxModel {
  readonly even: DecoderArchitecture;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: readonly TensorToWrite[];
  /** Norms are not listed. */
  readonly matrices: readonly PlannedMatrix[];
  readonly paddedWeights: number;
}

/** Throws `export/unsupported` for what no class of mlx-lm computes. */
export function mlxModel(checkpoint: Checkpoint, options: MlxOptions, importances: Importances = new Map()): MlxModel {
  const { architecture } = checkpoint;
  const even = evenWidths(architecture);
  const described = describe(even, checkpoint.config);
  const evenShapes = new Map(weightList(even).map((e) => [e.name, e.shape]));
  const tensors: TensorToWrite[] = [];
  const matrices: PlannedMatrix[] = [];
  for (const [stored, entries] of storedTensors(architecture)) {
    const sources = entries.map(
      (entry): EvenSource => ({
        checkpoint,
        entry,
        shape: evenShapes.get(entry.name) ?? [],
        places: placesOf(architecture, even, entry),
      }),
    );
    const [first] = sources;
    invariant(first, `${stored} holds a weight`);
    if (first.shape.length === 1) {
      tensors.push(norm(stored, first, even));
      continue;
    }
    const shape = [sources.reduce((n, s) => n + (s.shape[0] ?? 0), 0), first.shape[1] ?? 1];
    const path = stored.replace(/\.weight$/, "");
    const { groups, fidelity } = plannedGroups(sources, options);
    const made = groups
      ? quantizedTensors(path, shape, sources, groups, fidelity, importances)
      : [floats(stored, shape, sources)];
    tensors.push(...made);
    matrices.push({ path, shape, groups, fidelity, sizeBytes: made.reduce((n, t) => n + tensorSizeBytes(t), 0) });
  }
  const weights = (arch: DecoderArchitecture): number =>
    weightList(arch).reduce((n, e) => n + elementCount(e.shape), 0);
  return {
    even,
    config: { ...described, ...quantizationKeys(matrices) },
    tensors,
    matrices,
    paddedWeights: weights(even) - weights(architecture),
  };
}

const tensorSizeBytes = ({ dtype, shape }: TensorToWrite): number =>
  elementCount(shape) * (dtype === "U32" || dtype === "F32" ? 4 : 2);

/** One entry a path; the numbers in front are those of most weights, which loaders take for paths that they do not find. */
function quantizationKeys(matrices: readonly PlannedMatrix[]): Record<string, unknown> {
  const quantized = matrices.flatMap(({ path, groups, shape }) => (groups ? [{ path, groups, shape }] : []));
  const [most] = [...quantized].sort((a, b) => elementCount(b.shape) - elementCount(a.shape));
  if (!most) return {};
  const say = ({ bits, groupSize }: AffineGroups) => ({ group_size: groupSize, bits });
  const quantization = {
    ...say(most.groups),
    mode: "affine",
    ...Object.fromEntries(quantized.map(({ path, groups }) => [path, say(groups)])),
  };
  return { quantization, quantization_config: quantization };
}

const ropeKeys = z.looseObject({
  rope_scaling: z.looseObject({}).nullish(),
  rope_parameters: z.looseObject({}).nullish(),
});

/** Families whose class in mlx-lm was seen to compute the same (`test/oracles/check_mlx.py`). */
const families: readonly string[] = ["llama", "qwen2", "qwen3", "gemma3_text"];

/** The keys that mlx-lm's classes read, in the flat form of transformers 4. */
function describe(even: DecoderArchitecture, original: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (!families.includes(even.family))
    throw new EspalierError("export/unsupported", `models of the family ${even.family} are not written for MLX`, {
      hint: `Those of ${families.join(", ")} are; export this one to Core ML.`,
    });
  const family = ggufFamilyOf(even);
  const said = new Map(family.keys(even, original).map((k) => [k.key, k.value]));
  const cannot = (what: string): EspalierError =>
    new EspalierError("export/unsupported", `${what} is nothing that mlx-lm computes for ${even.family}`, {
      hint: "Export to Core ML or GGUF.",
    });
  if (even.finalSoftcap !== null) throw cannot("a soft cap on the logits");
  const { espalier: _, quantization: __, ...config } = configFor(even, original);
  const [layer] = even.layers;
  const scale = layer?.attentionScale ?? 1;
  const isGemma = even.family === "gemma3_text";
  if (!isGemma && Math.abs(scale * Math.sqrt(layer?.headDim ?? 1) - 1) > 1e-6) throw cannot("the scale of attention");
  const rope = ropeKeys.parse(original);
  const { rope_theta: ___, ...stretched } = rope.rope_scaling ?? rope.rope_parameters ?? {};
  const factor = said.get("rope.scaling.factor");
  const scaling = isGemma ? (factor === undefined ? null : { rope_type: "linear", factor }) : stretched;
  const isPlain =
    scaling === null ||
    Object.keys(scaling).length === 0 ||
    ("rope_type" in scaling && scaling.rope_type === "default");
  return {
    ...config,
    model_type: even.family,
    tie_word_embeddings: even.tiedHead,
    rope_theta: said.get("rope.freq_base"),
    rope_scaling: isPlain ? null : scaling,
    rope_parameters: undefined,
    ...(isGemma
      ? {
          rope_local_base_freq: said.get("rope.freq_base_swa"),
          query_pre_attn_scalar: scale ** -2,
          sliding_window: said.get("attention.sliding_window"),
          sliding_window_pattern: said.get("attention.sliding_window_pattern"),
        }
      : {}),
  };
}

/** How a tensor of one or several weights is stored: alike for all of them. */
function plannedGroups(
  sources: readonly EvenSource[],
  { bits, groupSize }: MlxOptions,
): Pick<PlannedMatrix, "groups" | "fidelity"> {
  const forms = sources.map(({ checkpoint, entry }) => checkpoint.form(entry.name));
  const columns = sources[0]?.shape[1] ?? 1;
  const sizes = ([128, 64, 32] as const).filter((g) => columns % g === 0);
  const own = new Set(forms.map((f) => (f.kind === "affine" ? f.bits : null)));
  const [ownBits = null] = own;
  if (own.size === 1 && ownBits !== null) {
    const held = sizes.find((g) => sources.every((s, i) => isOneScale(s, forms[i], g)));
    const isExact = forms.every((f) => f.kind === "affine" && !f.offsets);
    if (held) return { groups: { bits: ownBits, groupSize: held }, fidelity: isExact ? "kept" : "rounded" };
  }
  const asked = bits ?? nearestBits(forms);
  const size = sizes.find((g) => g <= groupSize);
  if (asked === null || size === undefined) return { groups: null, fidelity: floatFidelity(sources, forms) };
  return { groups: { bits: asked, groupSize: size }, fidelity: "quantized" };
}

function isOneScale({ places }: EvenSource, form: WeightForm | undefined, size: number): boolean {
  if (form?.kind !== "affine") return false;
  const columns = form.shape[1] ?? 1;
  return oneScaleABlock(places.columns, columns, columns / (form.scaleShape[1] ?? 1), size);
}

/** The most bits that any of the codes has; null where all are dense. */
function nearestBits(forms: readonly WeightForm[]): AffineGroups["bits"] | null {
  const bits = forms.map((f) =>
    f.kind === "dense" ? 0 : f.kind === "sparse" ? 8 : f.kind === "scaled" ? f.inner.bits : f.bits,
  );
  const most = Math.max(...bits);
  return most === 0 ? null : (mlxBits.find((b) => b >= most) ?? 8);
}

const floatType = ({ checkpoint, entry }: EvenSource): "BF16" | "F16" =>
  storedFloat(checkpoint.stored(entry.name)) === "bf16" ? "BF16" : "F16";

function floatFidelity(sources: readonly EvenSource[], forms: readonly WeightForm[]): "kept" | "rounded" {
  const isKept = sources.every(
    ({ checkpoint, entry }, i) => forms[i]?.kind === "dense" && storedFloat(checkpoint.stored(entry.name)) !== "f32",
  );
  return isKept ? "kept" : "rounded";
}

function floatBytes(dtype: "BF16" | "F16", values: Float32Array, name: string): Uint8Array {
  return asBytes(dtype === "BF16" ? bfloat16FromFloat32(values) : finiteFloat16(values, name));
}

function floats(name: string, shape: readonly number[], sources: readonly EvenSource[]): TensorToWrite {
  const dtype = sources.every((s) => floatType(s) === "BF16") ? "BF16" : "F16";
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const source of sources) for await (const rows of evenRows(source)) yield floatBytes(dtype, rows, name);
  }
  return { name, dtype, shape, bytes };
}

function norm(
  name: string,
  { checkpoint, entry, shape, places }: EvenSource,
  { embeddingScale }: DecoderArchitecture,
): TensorToWrite {
  const dtype = embeddingScale === 1 ? "F16" : "F32";
  const bytes = async (): Promise<Uint8Array> => {
    const stored = await valuesOfVector(checkpoint, entry);
    const { rows } = places;
    const values = rows ? Float32Array.from(rows, (from) => (from < 0 ? 0 : (stored[from] ?? 0))) : stored;
    return dtype === "F32" ? asBytes(values) : asBytes(finiteFloat16(values, name));
  };
  return { name, dtype, shape, bytes };
}

const valuesOfVector = (checkpoint: Checkpoint, { layer, role }: WeightEntry): Promise<Float32Array> =>
  layer === null ? checkpoint.globalTensor(role) : checkpoint.layerTensor(layer, role);

/** `weight`, `scales` and `biases`, of which the file has the first before the others: it is made once, and what it leaves is small. */
function quantizedTensors(
  path: string,
  shape: readonly number[],
  sources: readonly EvenSource[],
  groups: AffineGroups,
  fidelity: PlannedMatrix["fidelity"],
  importances: Importances,
): TensorToWrite[] {
  const [rows = 1, columns = 1] = shape;
  const perRow = columns / groups.groupSize;
  const left = { scales: new Float32Array(rows * perRow), biases: new Float32Array(rows * perRow), made: false };
  async function* codes(): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (const source of sources) {
      const pieces = fidelity === "quantized" ? requantized(source, groups, importances) : kept(source, groups);
      for await (const piece of pieces) {
        left.scales.set(piece.scales, at);
        left.biases.set(piece.biases, at);
        at += piece.scales.length;
        yield packCodes(piece.codes, groups.bits);
      }
    }
    left.made = true;
  }
  const half = (name: "scales" | "biases"): TensorToWrite => ({
    name: `${path}.${name}`,
    dtype: "F16",
    shape: [rows, perRow],
    async bytes() {
      if (!left.made) for await (const _ of codes());
      return asBytes(finiteFloat16(left[name], `${path}.${name}`));
    },
  });
  const words = [rows, (columns * groups.bits) / 32];
  return [{ name: `${path}.weight`, dtype: "U32", shape: words, bytes: codes }, half("scales"), half("biases")];
}

async function* requantized(source: EvenSource, groups: AffineGroups, importances: Importances) {
  const importance = importances.get(source.entry.name);
  const placed = importance ? placedImportance(importance, source.places.columns) : null;
  for await (const values of evenRows(source)) yield quantizeGroups(values, groups, placed);
}

/** Signed codes and scales of the model as unsigned codes, scales and biases. */
async function* kept({ checkpoint, entry, shape, places }: EvenSource, { bits, groupSize }: AffineGroups) {
  const weight = await checkpoint.weight(entry.name);
  invariant(weight.kind === "affine", `${entry.name} was affine and is ${weight.kind}`);
  const [count = 1, width = 1] = shape;
  const half = 2 ** (bits - 1);
  for (let row = 0; row < count; row++) {
    const from = places.rows ? (places.rows[row] ?? -1) : row;
    const signed = new Int8Array(width);
    const scales = new Float32Array(width / groupSize);
    const offsets = new Float32Array(width / groupSize);
    if (from >= 0) {
      fillRow(weight, places.columns, from, signed, scales);
      if (weight.offsets)
        fillRow(
          { ...weight, scales: Float32Array.from(weight.offsets) },
          places.columns,
          from,
          new Int8Array(width),
          offsets,
        );
    }
    yield {
      codes: Uint8Array.from(signed, (q) => q + half),
      scales,
      biases: scales.map((s, g) => -s * (half + (offsets[g] ?? 0))),
    };
  }
}
