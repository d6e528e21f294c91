/**
 * @file Quantize: write the checkpoint again with palettes or affine codes for its matrices, alike or each as a recipe says.
 */
import { z } from "zod";
import { throwIfCancelled } from "../../lib/cancel.ts";
import { type OriginRecord, originRecord } from "../../lib/checkpoint/origin.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { type Allocation, allocateWidths } from "../../lib/compress/allocate/allocation.ts";
import type { Prediction } from "../../lib/compress/allocate/prediction.ts";
import { compressByRows } from "../../lib/compress/quantize/by-rows.ts";
import { type MatrixInputs, storeCalibrated } from "../../lib/compress/quantize/calibrated.ts";
import { type Granularity, granularityFor } from "../../lib/compress/quantize/granularity.ts";
import { quantizeLayerByLayer } from "../../lib/compress/quantize/layer-by-layer.ts";
import type { MatrixProduct } from "../../lib/compress/quantize/matrix-products.ts";
import { quantizationRecipe, widthsOf } from "../../lib/compress/quantize/recipe.ts";
import { inTurns } from "../../lib/compress/quantize/steps.ts";
import { bitsOf, storeAs, storeSteps, type Width, widths } from "../../lib/compress/quantize/width.ts";
import { decodedWeights } from "../../lib/decoder/decoded-weights.ts";
import { type WeightEntry, weight, weightList } from "../../lib/decoder/weights.ts";
import { EspalierError, invariant } from "../../lib/errors.ts";
import { roundToFloat16 } from "../../lib/float16.ts";
import { tensorUnit } from "../../lib/ids.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { elementCount } from "../../lib/mil/types.ts";
import { weightSizeBytes } from "../../lib/weights/decode.ts";
import type { CompressedWeight } from "../../lib/weights/weight.ts";
import { type Experiment, type ExperimentContext, runExperiment, type Unit } from "../definition.ts";
import type { OpenModel } from "../models.ts";
import { originalOf, originRecordFor } from "../original.ts";
import { sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import {
  columnsOf,
  errorWeightsOf,
  granularityOf,
  storageConfig,
  storageOf,
  widthList,
} from "../sensitivity/tensor-sweep.ts";
import { type CalibrationText, calibrationText } from "../splits.ts";
import { shardName, textConfig } from "../text.ts";

export const schemes = ["palette", "affine"] as const;
export const methods = ["nearest", "gptq"] as const;

const width = z.enum(widths);

export const quantizeConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  out: z.string().describe("Folder to write the quantized checkpoint to").meta({ role: "output" }),
  scheme: z
    .enum(schemes)
    .default("palette")
    .describe("palette: a table of values by k-means; affine: codes times a scale"),
  bits: z.number().int().default(4).describe("Palette: 1, 2, 3, 4, 6 or 8. Affine: 4 or 8"),
  embeddingBits: z.number().int().optional().describe("Bits of embeddings and head, when they should differ"),
  embedding: width.optional().describe("Width of the embedding and head, when it should differ"),
  attention: width.optional().describe("Width of q, k, v and o, when it should differ"),
  mlp: width.optional().describe("Width of gate, up and down, when it should differ"),
  recipe: quantizationRecipe
    .optional()
    .describe(
      'Widths by tensor, layer or role, a JSON file or text: {"default": "palette4", "tensors": {"L0.down": "palette6"}}',
    ),
  maxBytes: z
    .number()
    .positive()
    .optional()
    .describe("Budget of all weights: measures what each tensor loses at each width and chooses; instead of a recipe"),
  maxBits: z
    .number()
    .positive()
    .max(16)
    .optional()
    .describe("The same budget as bits a weight, over all weights and with their tables: 2.5, 3"),
  widths: widthList
    .default(["palette8", "palette6", "palette4", "palette3", "palette2"])
    .describe("What to choose from under a budget"),
  ...storageConfig,
  rowScales: z
    .boolean()
    .default(false)
    .describe("Palette: a scale for every output channel, which the package multiplies the output by"),
  method: z
    .enum(methods)
    .default("nearest")
    .describe("nearest: every weight to its nearest code; gptq: errors made good by the weights still to come"),
  ...textConfig,
  text: textConfig.text
    .optional()
    .describe("Text to calibrate and to measure on; a quarter of it is held out for measuring"),
  original: z
    .string()
    .optional()
    .describe("What the loss is measured against; default: what MODEL was first made from, or MODEL itself")
    .meta({ role: "model" }),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
});
export type QuantizeConfig = z.infer<typeof quantizeConfig>;

export interface QuantizeSummary {
  readonly out: string;
  /** Of all weights as a package keeps them. */
  readonly sizeBytes: number;
  readonly bitsPerWeight: number;
  readonly tensors: { name: string; kind: string; bitsPerWeight: number }[];
  /** Width of every matrix, by its name as a unit. */
  readonly recipe: Record<string, Width>;
  /** Under a budget: the divergence from the model that the sum of single effects predicts, nats per token. */
  readonly predicted: Prediction | null;
  /** What the model was made from, and what was lost against it on held-out text. */
  readonly origin: OriginRecord;
  /** Layouts that tensors got instead of what was asked for. */
  readonly notes: string[];
}

const result = z.object({
  predicted: z
    .object({
      value: z.number(),
      low: z.number(),
      high: z.number(),
      basis: z.enum(["sampling", "calibrated"]),
      finalists: z.number(),
    })
    .nullable(),
  tensors: z.array(
    z.object({
      name: z.string(),
      width: width.nullable(),
      kind: z.string(),
      sizeBytes: z.number(),
      elements: z.number(),
    }),
  ),
  origin: originRecord,
  notes: z.array(z.string()),
});

/** The width that scheme and bits say. Throws `input/invalid` when there is none. */
function widthNamed(scheme: (typeof schemes)[number], bits: number): Width {
  const found = widths.find((w) => w === `${scheme}${bits}`);
  if (found) return found;
  throw new EspalierError(
    "input/invalid",
    scheme === "palette"
      ? `palettes have 1, 2, 3, 4, 6 or 8 bits, found ${bits}`
      : `affine codes have 4 or 8 bits, found ${bits}`,
  );
}

/**
 * Widths under a budget, from a sweep over tensors and widths, whose units are stored like any others. Throws `input/invalid`
 * with what the smallest widths take when the budget is out of reach.
 */
async function allocationFor(config: QuantizeConfig, context: ExperimentContext): Promise<Allocation<Width>> {
  const { text } = config;
  const flag = config.maxBits === undefined ? "--max-bytes" : "--max-bits";
  if (text === undefined) {
    throw new EspalierError("input/invalid", `${flag} needs a --text to measure tensors on`, {
      hint: "Use held-out text that you do not report on.",
    });
  }
  if (config.maxBytes !== undefined && config.maxBits !== undefined) {
    throw new EspalierError("input/invalid", "--max-bytes and --max-bits are the same budget", {
      hint: "Give one of the two.",
    });
  }
  const shorthand = (["recipe", "embedding", "attention", "mlp", "embeddingBits"] as const).find(
    (k) => config[k] !== undefined,
  );
  if (shorthand) {
    throw new EspalierError("input/invalid", `${flag} chooses all widths; --${shorthand} beside it is ambiguous`, {
      hint: "Give one of the two.",
    });
  }
  const { weights } = await context.models.open(config.model);
  const elements = weightList(weights.arch).reduce((n, w) => n + elementCount(w.shape), 0);
  const maxBytes = config.maxBytes ?? Math.floor(((config.maxBits ?? 0) * elements) / 8);
  const fewest = Math.min(...config.widths.map(bitsOf));
  const codes = columnsOf(weights.arch).reduce((n, c) => n + Math.ceil((c.elements * fewest) / 8), 0);
  if (codes > maxBytes) throw outOfReach(flag, maxBytes, `the codes alone take ${codes} at ${fewest} bits`);
  const asked = sensitivityConfig.parse({ model: config.model, text, units: ["tensors"] });
  const { tensors } = await runExperiment(
    sensitivity,
    {
      ...asked,
      ...storageOf(config),
      separator: config.separator,
      limit: config.limit,
      context: config.context,
      maxTokens: config.maxTokens,
      bos: config.bos,
      widths: config.widths,
    },
    context,
  );
  if (!tensors) throw new EspalierError("internal/invariant", "internal: tensors were asked for");
  const found = allocateWidths(tensors, maxBytes);
  if (found.tensors) return found;
  throw outOfReach(flag, maxBytes, `the smallest widths take ${found.sizeBytes}`);
}

const outOfReach = (flag: string, maxBytes: number, why: string): EspalierError =>
  new EspalierError("input/invalid", `${maxBytes} bytes cannot be reached: ${why}`, {
    hint: `Raise ${flag}, add narrower --widths, or prune first.`,
  });

/** The width of every matrix under a config: a recipe's word before a shorthand's, a shorthand's before `bits`. */
function recipeOf(
  config: QuantizeConfig,
  model: OpenModel,
  allocated: Allocation<Width> | null,
): Record<string, Width> {
  if (allocated?.tensors) {
    // Tables of which only rows are read are not measured; they stay fp16, and the budget counted them so.
    const tables = [...model.weights.tables.keys()].map((name): [string, Width] => [tensorUnit(name), "fp16"]);
    return { ...Object.fromEntries(tables), ...allocated.tensors };
  }
  const fallback = widthNamed(config.scheme, config.bits);
  const embedding =
    config.embedding ??
    (config.embeddingBits === undefined ? undefined : widthNamed(config.scheme, config.embeddingBits));
  const given = config.recipe ?? {};
  const recipe = {
    ...given,
    embedding: given.embedding ?? embedding,
    attention: given.attention ?? config.attention,
    mlp: given.mlp ?? config.mlp,
  };
  return widthsOf(recipe, model.weights.arch, fallback);
}

async function textFor(config: QuantizeConfig, model: OpenModel): Promise<CalibrationText | null> {
  if (config.text !== undefined) return calibrationText({ ...config, text: config.text }, model);
  if (config.method === "nearest" && config.weighting === "none") return null;
  throw new EspalierError("input/invalid", "gptq and weighted errors need a --text to calibrate on", {
    hint: "Use held-out text that you do not report on, or --method nearest --weighting none.",
  });
}

/** `3 tensors: 16 rows a table do not divide 172 rows: 43 instead`. */
function countedNotes(notes: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const note of notes) counts.set(note, (counts.get(note) ?? 0) + 1);
  return [...counts].map(([note, n]) => `${n} ${n === 1 ? "tensor" : "tensors"}: ${note}`);
}

export const quantize: Experiment<QuantizeConfig, Unit, z.infer<typeof result>, QuantizeSummary> = {
  kind: "quantize",
  version: 3,
  title: "Fewer bits a weight",
  config: quantizeConfig,
  result,

  async plan(config, context) {
    const { hash } = await context.models.open(config.model);
    // Only the folder matters, and it is made anew each time.
    return [{ key: `${hash} ${JSON.stringify(config)} ${context.clock.nowMs()}`, label: "quantizing" }];
  },

  async run(_unit, config, context, onShare) {
    const model = await context.models.open(config.model);
    const { weights } = model;
    const list = weightList(weights.arch);
    const hasBudget = config.maxBytes !== undefined || config.maxBits !== undefined;
    const allocated = hasBudget ? await allocationFor(config, context) : null;
    const recipe = recipeOf(config, model, allocated);
    const text = await textFor(config, model);
    const original = await originalOf(model, context, { given: config.original });
    const sequences = text?.calibrate ?? [];
    const options = { engine: context.engine, signal: context.signal };
    const errorWeights = await errorWeightsOf(config.weighting, model, sequences, shardName(sequences), options);
    const wanted = { ...granularityOf(config), ...(config.rowScales ? { rowScales: true } : {}) };
    const notes: string[] = [];
    const layoutOf = (shape: readonly number[], chosen: Width): Granularity => {
      const { granularity, note } = granularityFor(shape, wanted, chosen.startsWith("affine") ? "affine" : "palette");
      if (note && chosen !== "fp16") notes.push(note);
      return granularity;
    };
    const store = async (
      { name, shape }: WeightEntry,
      values: Float32Array,
      inputs: MatrixInputs | null,
      product?: MatrixProduct,
    ): Promise<CompressedWeight> => {
      const chosen = recipe[tensorUnit(name)];
      // Norm gains are a thousandth of the model and decide its scale: they stay fp16.
      if (chosen === undefined) return { kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) };
      const layout = layoutOf(shape, chosen);
      const { signal } = context;
      return inputs && product
        ? storeCalibrated(chosen, values, shape, layout, inputs, product, { signal })
        : inTurns(storeSteps(chosen, values, shape, layout, errorWeights.get(name)), signal);
    };
    const total = list.reduce((n, w) => n + elementCount(w.shape), 0);
    // Measuring the loss takes about a third of the time of a plain rounding to palettes.
    const storing = text ? 0.7 : 1;
    const compressed =
      config.method === "gptq"
        ? await quantizeLayerByLayer(context.engine, weights, sequences, store, {
            signal: context.signal,
            onProgress: (done, all) => onShare((storing * done) / all),
          })
        : new Map<string, CompressedWeight>();
    const tensors: z.infer<typeof result>["tensors"] = [];
    let done = 0;
    for (const entry of list) {
      throwIfCancelled(context.signal);
      const { name, shape } = entry;
      const table = weights.tables.get(name);
      const chosen = recipe[tensorUnit(name)] ?? null;
      let w = compressed.get(name);
      if (table) {
        const layout = layoutOf(shape, chosen ?? "fp16");
        w = await compressByRows(table, {
          rowsTogether: chosen?.startsWith("palette") ? (layout.rowsPerTable ?? (shape[0] as number)) : 1,
          // Scales of rows are relative to the whole, which is never at hand here.
          compress: (v, s) => storeAs(chosen ?? "fp16", v, s, { ...layout, rowScales: false }),
          async onBlock(_values, _part, share) {
            throwIfCancelled(context.signal);
            onShare((storing * (done + share * elementCount(shape))) / total);
            await new Promise((resolve) => setImmediate(resolve));
          },
        });
      }
      w ??= await store(entry, float32Data(weight(weights, name)), null);
      compressed.set(name, w);
      const elements = elementCount(shape);
      tensors.push({ name, width: chosen, kind: w.kind, sizeBytes: weightSizeBytes(w), elements });
      done += elements;
      onShare((storing * done) / total);
      // Lets a cancellation in between tensors be seen.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const origin = await originRecordFor(
      decodedWeights(weights, compressed),
      original,
      text?.heldOut ?? null,
      context,
      (share) => onShare(storing + (1 - storing) * share),
    );
    await writeCheckpoint(config.out, {
      architecture: weights.arch,
      config: model.checkpoint.config,
      dtype: "f16",
      copyFrom: model.checkpoint,
      replace: config.replace,
      weight: async (name) => compressed.get(name) as CompressedWeight,
      provenance: {
        recipe: { method: config.method, weighting: config.weighting, ...wanted, tensors: recipe },
        origin,
      },
    });
    return { tensors, predicted: allocated?.prediction ?? null, origin, notes: countedNotes(notes) };
  },

  async summarize(config, results) {
    const only = results[0]?.result;
    invariant(only, "quantizing has one unit");
    const { tensors, predicted, origin, notes } = only;
    const sum = (pick: (t: (typeof tensors)[number]) => number): number => tensors.reduce((n, t) => n + pick(t), 0);
    return {
      out: config.out,
      sizeBytes: sum((t) => t.sizeBytes),
      bitsPerWeight: (8 * sum((t) => t.sizeBytes)) / sum((t) => t.elements),
      tensors: tensors.map((t) => ({ name: t.name, kind: t.kind, bitsPerWeight: (8 * t.sizeBytes) / t.elements })),
      predicted,
      recipe: Object.fromEntries(tensors.flatMap((t) => (t.width ? [[tensorUnit(t.name), t.width]] : []))),
      origin,
      notes,
    };
  },
};
