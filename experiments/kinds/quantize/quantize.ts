/**
 * @file Quantize: write the checkpoint again with palettes or affine codes for its matrices, alike or each as a recipe says.
 */
import { z } from "zod";
import { requireFloat16 } from "../../../lib/checkpoint/finite-float16.ts";
import type { OriginRecord } from "../../../lib/checkpoint/origin.ts";
import { writeCheckpoint } from "../../../lib/checkpoint/write-checkpoint.ts";
import { type Allocation, allocateWidths } from "../../../lib/compress/allocate/allocation.ts";
import type { Prediction } from "../../../lib/compress/allocate/divergence-prediction.ts";
import { granularityFor } from "../../../lib/compress/quantize/granularity.ts";
import { quantizationRecipe, widthsOf } from "../../../lib/compress/quantize/recipe.ts";
import { bitsOf, type Width, widths } from "../../../lib/compress/quantize/width.ts";
import type { DecoderArchitecture } from "../../../lib/decoder/architecture.ts";
import { decodedWeights } from "../../../lib/decoder/decoded-weights.ts";
import { hostEmbedding } from "../../../lib/decoder/neural-engine/embedding.ts";
import { pagedWeights } from "../../../lib/decoder/paged-weights.ts";
import { type DecoderWeights, type RowTable, weightList } from "../../../lib/decoder/weights.ts";
import { EspalierError, invariant } from "../../../lib/errors.ts";
import { tokensOf } from "../../../lib/eval/sequences.ts";
import { isStorable } from "../../../lib/export/coreml/storable-widths.ts";
import { targets } from "../../../lib/formats/coreml/targets.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { tensorUnit } from "../../../lib/units.ts";
import { weightSizeBytes } from "../../../lib/weights/decode.ts";
import type { CompressedWeight } from "../../../lib/weights/weight.ts";
import { type ExperimentContext, type Maker, runExperiment } from "../../definition.ts";
import { flagOf } from "../../flags.ts";
import type { OpenModel } from "../../model-session.ts";
import { counted } from "../../notes.ts";
import { lossNumbers, originalOf, originRecordFor } from "../../original.ts";
import { outputConfig } from "../../output.ts";
import { Phases } from "../../phases.ts";
import { calibrationText } from "../../splits.ts";
import { errorWeightsOf } from "../../statistics.ts";
import { textConfig } from "../../text.ts";
import { sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import { columnsOf, granularityOf, storageConfig, storageOf, widthList } from "../sensitivity/width-map.ts";
import { MatrixStore } from "./matrix-store.ts";
import { bestWithin, type MixtureTask, quickSensitivities, smallestUnder, type Trial, trialParts } from "./mixture.ts";
import { methods, type Storing, storeRecipe, storingTokens } from "./store-recipe.ts";

export const schemes = ["palette", "affine"] as const;

const width = z.enum(widths);

/** Nats per token. See docs/methods/mixture.md for why. */
export const MAX_KL = 0.05;

export const quantizeConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  ...outputConfig("Folder to write the quantized checkpoint to"),
  maxKl: z
    .number()
    .positive()
    .optional()
    .describe(
      `Without widths or a budget: find the smallest mixture of widths whose measured divergence from MODEL stays below this, in nats per token [default: ${MAX_KL}, which raises perplexity by about 5 % at most]`,
    ),
  scheme: z
    .enum(schemes)
    .optional()
    .describe("One width for all. palette: a table of values by k-means; affine: codes times a scale"),
  bits: z
    .number()
    .int()
    .optional()
    .describe("One width for all. Palette: 1, 2, 3, 4, 6 or 8; affine: 4 or 8; default: 4"),
  embeddingBits: z.number().int().optional().describe("Bits of the embedding and output head, if they should differ"),
  embedding: width.optional().describe("Width of the embedding and output head, if it should differ"),
  attention: width.optional().describe("Width of q, k, v and o, if it should differ"),
  mlp: width.optional().describe("Width of gate, up and down, if it should differ"),
  recipe: quantizationRecipe
    .optional()
    .describe(
      'Widths by tensor, layer or role, as a JSON file or text: {"default": "palette4", "tensors": {"L0.down": "palette6"}}',
    ),
  maxBytes: z
    .number()
    .positive()
    .optional()
    .describe(
      "Budget in bytes for all weights: choose the mixture of widths that is predicted to lose least within it; replaces a recipe",
    ),
  maxBits: z
    .number()
    .positive()
    .max(16)
    .optional()
    .describe("The same budget in bits per weight, counting all weights and their tables: 2.5 or 3, for example"),
  widths: widthList
    .default(["palette8", "palette6", "palette4", "palette3", "palette2"])
    .describe("Widths to choose from under a budget or a limit"),
  search: z
    .enum(["quick", "measured"])
    .default("quick")
    .describe(
      "Under a budget. quick: measure a few whole parts; measured: measure every tensor at every width, which takes hours on a released model",
    ),
  ...storageConfig,
  rowScales: z
    .boolean()
    .default(false)
    .describe("Palette: a scale for every output channel; the package multiplies the output by it"),
  method: z
    .enum(methods)
    .optional()
    .describe(
      "nearest: round every weight to its nearest code, the default for fixed widths; gptq: weights of a row compensate each other's errors, the default when widths are chosen",
    ),
  tune: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      "Passes over the calibration text that tune tables, scales and norms to match MODEL [default: 1 when widths are chosen, else 0]",
    ),
  ...textConfig,
  text: textConfig.text
    .optional()
    .describe("Text to calibrate and measure on; a quarter of it is held out for measuring"),
  original: z
    .string()
    .optional()
    .describe("Model to measure the loss against; default: the model that MODEL was first made from, or MODEL itself")
    .meta({ role: "model" }),
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
  /** Under a budget, from measurements of every tensor: the divergence that their sum predicts, nats per token. */
  readonly predicted: Prediction | null;
  /** How widths were chosen, when a limit or a budget chose them. */
  readonly search: MixtureSearch | null;
  /** What errors were weighted by, in words. */
  readonly calibration: string;
  /** The model it was made from, and the loss against it on held-out text. */
  readonly origin: OriginRecord;
  /** Tensors whose layout differs from the requested one. */
  readonly notes: string[];
}

/** How a search came to its mixture. */
export interface MixtureSearch {
  /** The limit of divergence, nats per token; null under a budget. */
  readonly maxKl: number | null;
  readonly trials: readonly Trial[];
}

/** Sensitivities of a mixture, as tokens of a forward pass that take as long. */
const SEARCH_TOKENS = 25_000;

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

/** The given options that choose widths, by name. */
const chosenBy = (config: QuantizeConfig) => {
  const given = (names: readonly (keyof QuantizeConfig)[]): string[] => names.filter((n) => config[n] !== undefined);
  return {
    budgets: given(["maxBytes", "maxBits"]),
    widths: given(["recipe", "scheme", "bits", "embedding", "attention", "mlp", "embeddingBits"]),
  };
};

/** The widths of the search that the target can store. */
function withStorableWidths(config: QuantizeConfig): QuantizeConfig {
  const storable = config.widths.filter((w) => isStorable(w, targets[config.target]));
  if (storable.length > 0) return { ...config, widths: storable };
  throw new EspalierError(
    "input/invalid",
    `${targets[config.target].system} can store none of ${config.widths.join(", ")}`,
    {
      hint: `It stores ${widths.filter((w) => isStorable(w, targets[config.target])).join(", ")}.`,
    },
  );
}

/** Throws `input/invalid` for widths that the target stores as something larger. */
function checkStorable(recipe: Readonly<Record<string, Width>>, { target }: QuantizeConfig): void {
  const found = Object.entries(recipe).find(([, w]) => !isStorable(w, targets[target]));
  if (!found) return;
  const others = widths.filter((w) => isStorable(w, targets[target]));
  throw new EspalierError("input/invalid", `${found[0]}: ${targets[target].system} does not store ${found[1]}`, {
    hint: `It stores ${others.join(", ")}.`,
  });
}

/** Refuses configs that no model can satisfy, before anything is opened. */
function check(config: QuantizeConfig): void {
  const refuse = (message: string, hint: string): never => {
    throw new EspalierError("input/invalid", message, { hint });
  };
  const { budgets, widths: fixed } = chosenBy(config);
  if (budgets.length > 1) refuse("--max-bytes and --max-bits set the same budget", "Give one of the two.");
  const [chooser] = [...budgets, ...(config.maxKl === undefined ? [] : ["maxKl"])];
  if (budgets.length > 0 && config.maxKl !== undefined)
    refuse(`--max-kl and ${flagOf(budgets[0] ?? "")} are two limits`, "Give one of the two.");
  if (chooser !== undefined && fixed[0] !== undefined)
    refuse(`${flagOf(chooser)} chooses all widths; ${flagOf(fixed[0])} beside it is ambiguous`, "Give one of the two.");
  if (config.rowScales && config.scheme === "affine")
    refuse("--row-scales is for palettes; --scheme affine has its own scales", "Leave one of the two out.");
  if (config.search === "measured" && config.text === undefined)
    refuse("--search measured needs --text to measure tensors on", "Use held-out text that you do not report on.");
  if (config.search === "measured" && budgets.length === 0)
    refuse("--search measured chooses widths under a budget", "Give --max-bytes or --max-bits, or leave --search out.");
  const scheme = config.scheme ?? "palette";
  const named: Record<string, Width | undefined> = {
    ...config.recipe?.tensors,
    "--embedding": config.embedding,
    "--attention": config.attention,
    "--mlp": config.mlp,
  };
  if (fixed.includes("bits") || fixed.includes("scheme")) named["--bits"] = widthNamed(scheme, config.bits ?? 4);
  if (config.embeddingBits !== undefined) named["--embedding-bits"] = widthNamed(scheme, config.embeddingBits);
  const given = Object.entries(named).flatMap(([name, w]): [string, Width][] => (w ? [[name, w]] : []));
  checkStorable(Object.fromEntries(given), config);
  withStorableWidths(config);
}

/** The budget in bytes; null without one. */
function budgetOf(config: QuantizeConfig, arch: DecoderArchitecture): { flag: string; maxBytes: number } | null {
  if (config.maxBytes !== undefined) return { flag: "--max-bytes", maxBytes: config.maxBytes };
  if (config.maxBits === undefined) return null;
  const elements = weightList(arch).reduce((n, w) => n + elementCount(w.shape), 0);
  return { flag: "--max-bits", maxBytes: Math.floor((config.maxBits * elements) / 8) };
}

/** Throws `input/invalid` when the codes alone are larger than the budget. */
function checkBudget(config: QuantizeConfig, arch: DecoderArchitecture, flag: string, maxBytes: number): void {
  const fewest = Math.min(...config.widths.map(bitsOf));
  const codes = columnsOf(arch).reduce((n, c) => n + Math.ceil((c.elements * fewest) / 8), 0);
  if (codes > maxBytes) throw outOfReach(flag, maxBytes, `the codes alone take ${codes} at ${fewest} bits`);
}

/**
 * Widths under a budget, from a width map, whose units are stored like any others. Throws
 * `input/invalid` with the size at the smallest widths when the budget cannot be met.
 */
async function allocationFor(
  config: QuantizeConfig,
  context: ExperimentContext,
  flag: string,
  maxBytes: number,
): Promise<Allocation<Width>> {
  const { text } = config;
  invariant(text !== undefined, "a measured search has a text");
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
function recipeOf(config: QuantizeConfig, model: OpenModel): Record<string, Width> {
  const scheme = config.scheme ?? "palette";
  const fallback = widthNamed(scheme, config.bits ?? 4);
  const embedding =
    config.embedding ?? (config.embeddingBits === undefined ? undefined : widthNamed(scheme, config.embeddingBits));
  const given = config.recipe ?? {};
  const recipe = {
    ...given,
    embedding: given.embedding ?? embedding,
    attention: given.attention ?? config.attention,
    mlp: given.mlp ?? config.mlp,
  };
  return widthsOf(recipe, model.weights.arch, fallback);
}

/**
 * Searches, tuning, Fisher information and text that the model writes itself run all of a model at once; scales of rows are
 * relative to the whole matrix, which an embedding that is read by rows never is.
 */
const needsAllWeights = (config: QuantizeConfig, searches: boolean): boolean =>
  searches || (config.tune ?? 0) > 0 || config.rowScales || config.weighting === "fisher" || config.text === undefined;

/** The stored model, each layer decoded when it runs. */
function decodedPages(
  arch: DecoderArchitecture,
  compressed: ReadonlyMap<string, CompressedWeight>,
): Promise<DecoderWeights> {
  const table = (name: string): RowTable => {
    const w = compressed.get(name);
    invariant(w, `a package stores every weight, ${name} too`);
    return hostEmbedding(w);
  };
  return pagedWeights({ arch, weights: compressed, table }, 0);
}

/** Lookup tables, which are never measured one by one, all at one width. */
const tableWidths = (weights: DecoderWeights, chosen: Width): Record<string, Width> =>
  Object.fromEntries([...weights.tables.keys()].map((name) => [tensorUnit(name), chosen]));

export const quantize: Maker<"quantize", QuantizeConfig, QuantizeSummary> = {
  kind: "quantize",
  makes: "model",
  doing: "quantizing",
  version: 5,
  title: "Fewer bits per weight",
  step: { name: "Quantize", what: "Spend bits where they count." },
  figure: null,
  config: quantizeConfig,

  check,

  async make(given, context, folder) {
    const config = withStorableWidths(given);
    const { architecture: arch } = (await context.models.files(config.model)).checkpoint;
    const budget = budgetOf(config, arch);
    if (budget) checkBudget(config, arch, budget.flag, budget.maxBytes);
    const isMeasured = budget !== null && config.search === "measured";
    const isQuick = !isMeasured && (budget !== null || chosenBy(config).widths.length === 0);
    const { open, openToRun } = context.models;
    const model = await (needsAllWeights(config, isMeasured || isQuick) ? open : openToRun)(config.model);
    const { weights } = model;
    for (const [name, t] of weights.tensors) requireFloat16(float32Data(t), name);
    const original = await originalOf(model, context, { given: config.original });
    // A model that must write the text itself takes about a tenth of the whole for it.
    const written = config.text === undefined ? 0.1 : 0;
    const text = await calibrationText(config, original.model, context, (s) => context.onShare(written * s));
    // Whatever a search weighs errors by leaves out the part that trials are measured on.
    const fit = isQuick ? trialParts(text.calibrate).fit : text.calibrate;
    const how: Storing = {
      method: config.method ?? (isQuick ? "gptq" : "nearest"),
      tune: config.tune ?? (isQuick ? 1 : 0),
      granularity: { ...granularityOf(config), ...(config.rowScales ? { rowScales: true } : {}) },
      calibrate: isQuick && budget === null ? fit : text.calibrate,
    };
    // Costs in tokens of a forward pass.
    const whole = storingTokens(how);
    const moments = config.weighting === "none" ? 0 : 1.2 * tokensOf(fit);
    const losses = 2 * tokensOf(text.heldOut.sequences);
    const phases = new Phases(moments + (isQuick ? SEARCH_TOKENS + 2 * whole : whole) + losses, (s) =>
      context.onShare(written + (1 - written) * s),
    );
    const errorWeights = await errorWeightsOf(config.weighting, model, fit, context, phases.part(moments));
    const matrices = new MatrixStore(weights, how.granularity, errorWeights, context.signal);
    const store = (recipe: Readonly<Record<string, Width>>, onStored: (share: number) => void) =>
      storeRecipe(recipe, how, { model, matrices }, context, onStored);

    let recipe: Record<string, Width>;
    let predicted: Prediction | null = null;
    let search: QuantizeSummary["search"] = null;
    let compressed: ReadonlyMap<string, CompressedWeight> | undefined;
    if (isMeasured) {
      const { tensors, prediction } = await allocationFor(config, context, budget.flag, budget.maxBytes);
      recipe = { ...tableWidths(weights, "fp16"), ...tensors };
      predicted = prediction;
    } else if (isQuick) {
      const tables = tableWidths(weights, "palette8");
      const fixed = await matrices.fixed(tables);
      const task: MixtureTask = {
        model,
        calibrate: text.calibrate,
        errorWeights,
        storedHow: JSON.stringify([how.granularity, config.weighting]),
        wholeHow: JSON.stringify([how.method, how.tune]),
        granularity: how.granularity,
        widths: config.widths,
        store: (entry, chosen) => matrices.get(entry, chosen),
        storeWhole: (tensors, onStored) => store({ ...tables, ...tensors }, onStored),
        wholeTokens: whole,
        fixedBytes: [...fixed.values()].reduce((n, w) => n + weightSizeBytes(w), 0),
      };
      const costs = await quickSensitivities(task, context, phases);
      const maxKl = budget ? null : (config.maxKl ?? MAX_KL);
      const found =
        maxKl === null
          ? bestWithin(budget?.maxBytes ?? 0, costs, task.fixedBytes)
          : await smallestUnder(maxKl, costs, task, context, phases);
      if (!found.tensors) {
        throw outOfReach(budget?.flag ?? "", budget?.maxBytes ?? 0, `the smallest widths take ${found.sizeBytes}`);
      }
      recipe = { ...tables, ...found.tensors };
      compressed = found.stored;
      search = { maxKl, trials: [...found.trials] };
    } else recipe = recipeOf(config, model);
    checkStorable(recipe, config);
    matrices.keepOnly(recipe);
    const onStored = phases.part(whole);
    compressed ??= await store(recipe, onStored);
    onStored(1);
    const notes = weightList(arch).flatMap(({ name, shape }) => {
      const chosen = recipe[tensorUnit(name)];
      if (chosen === undefined || chosen === "fp16") return [];
      const { note } = granularityFor(shape, how.granularity, chosen.startsWith("affine") ? "affine" : "palette");
      return note === null ? [] : [note];
    });
    const origin = await originRecordFor(
      weights.pages ? await decodedPages(arch, compressed) : decodedWeights(weights, compressed),
      original,
      text.heldOut,
      context,
      phases.part(losses),
    );
    const weightNamed = (name: string): CompressedWeight => {
      const w = compressed?.get(name);
      invariant(w, `a package stores every weight, ${name} too`);
      return w;
    };
    const tensors = weightList(arch).map(({ name, shape }) => {
      const w = weightNamed(name);
      const chosen = recipe[tensorUnit(name)] ?? null;
      return { name, width: chosen, kind: w.kind, sizeBytes: weightSizeBytes(w), elements: elementCount(shape) };
    });
    const isCalibrated = config.weighting !== "none" || how.method === "gptq" || how.tune > 0 || isQuick;
    const calibration = isCalibrated ? `calibrated on ${text.source}` : "not calibrated: every weight counts the same";
    await writeCheckpoint(folder.path, {
      architecture: weights.arch,
      config: model.checkpoint.config,
      dtype: "f16",
      copyFrom: model.checkpoint,
      replace: folder.replace,
      weight: async (name) => weightNamed(name),
      provenance: {
        recipe: {
          method: how.method,
          tune: how.tune,
          weighting: config.weighting,
          ...how.granularity,
          tensors: recipe,
        },
        origin,
      },
    });
    const sum = (pick: (t: (typeof tensors)[number]) => number): number => tensors.reduce((n, t) => n + pick(t), 0);
    return {
      out: folder.path,
      sizeBytes: sum((t) => t.sizeBytes),
      bitsPerWeight: (8 * sum((t) => t.sizeBytes)) / sum((t) => t.elements),
      tensors: tensors.map((t) => ({ name: t.name, kind: t.kind, bitsPerWeight: (8 * t.sizeBytes) / t.elements })),
      predicted,
      search,
      calibration,
      recipe: Object.fromEntries(tensors.flatMap((t) => (t.width ? [[tensorUnit(t.name), t.width]] : []))),
      origin,
      notes: counted(notes),
    };
  },

  headline: (s) => ({ "bits per weight": s.bitsPerWeight, bytes: s.sizeBytes, ...lossNumbers(s.origin) }),
};
