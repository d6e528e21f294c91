/**
 * @file Prune: remove heads, neurons and layers by importance or by name, and write the smaller
 * checkpoint.
 */
import { z } from "zod";
import { bytesPerValue, madeFrom } from "../../../lib/checkpoint/made-from.ts";
import type { OriginRecord } from "../../../lib/checkpoint/origin.ts";
import { writeCheckpoint } from "../../../lib/checkpoint/write-checkpoint.ts";
import { type KeptLayer, keptAfter, keptForConfig, keptOf } from "../../../lib/compress/prune/kept.ts";
import { neuronCount, neuronModes, selectLayers, selectNeurons } from "../../../lib/compress/prune/neurons.ts";
import {
  emptySelection,
  headCount,
  type PruneSelection,
  refuseHeads,
  selectHeads,
  selectionByName,
} from "../../../lib/compress/prune/prune-selection.ts";
import { pruneModel } from "../../../lib/compress/prune/slice.ts";
import { type DecoderArchitecture, type LayerTensor, layerTensorShapes } from "../../../lib/decoder/architecture.ts";
import { type DecoderWeights, parameterCount } from "../../../lib/decoder/weights.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { parseUnit, showRuns } from "../../../lib/units.ts";
import {
  type ExperimentContext,
  type Maker,
  type MakerContext,
  type OutputFolder,
  runExperiment,
} from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import { lossNumbers, originalOf, originRecordFor } from "../../original.ts";
import { outputConfig } from "../../output.ts";
import { calibrationText } from "../../splits.ts";
import { textConfig } from "../../text.ts";
import { metricOf, metricsFor, type SensitivityMetric } from "../sensitivity/metrics.ts";
import { sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import { pruneToSize, type SizedReport } from "./to-size.ts";

export const pruneConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  ...outputConfig("Folder to write the pruned checkpoint to"),
  drop: z
    .array(z.string())
    .optional()
    .describe("What to drop by name: heads L3.H5, KV groups L0.G1, neurons L2.N0-31, layers L4; instead of shares"),
  ratio: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe("Share of all query heads to drop, including those of dropped layers"),
  mode: z
    .enum(["free", "balanced", "groups"])
    .default("free")
    .describe(
      "free: the least important in the whole model; balanced: the same number from every KV group, rounded; groups: whole KV groups",
    ),
  metric: z.enum(metricsFor("heads")).default("leave-one-out").describe("What decides which heads are least important"),
  neurons: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe("Share of all MLP neurons to drop, including those of dropped layers"),
  neuronMode: z
    .enum(neuronModes)
    .default("free")
    .describe("free: the least important in the whole model; even: the same number from every layer"),
  neuronMetric: z
    .enum(metricsFor("neurons"))
    .default("taylor")
    .describe("What decides which neurons are least important"),
  neuronBlock: z
    .number()
    .int()
    .positive()
    .default(1)
    .describe("Neurons per block: neighbours are scored together, because leave-one-out of single neurons takes long"),
  neuronMultiple: z
    .number()
    .int()
    .positive()
    .default(16)
    .describe("Each layer keeps a multiple of this many neurons (16 or 32 suit the Neural Engine)"),
  layers: z.number().int().positive().optional().describe("How many whole layers to drop"),
  layerMetric: z
    .enum(metricsFor("layers"))
    .default("leave-one-out")
    .describe("What decides which layers are least important"),
  parameters: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe(
      "Share of all parameters to keep; drops the heads, KV groups, neurons and layers with the least estimated loss per parameter",
    ),
  bytes: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Like --parameters, but in bytes: the size of the weights in their stored element type"),
  cutOnly: z
    .boolean()
    .default(false)
    .describe("With --parameters or --bytes: do not adjust the remaining weights to make up for what was dropped"),
  rounds: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      "With --parameters or --bytes: number of rounds, with new estimates in each; default: one for each quarter that is dropped",
    ),
  ...textConfig,
  text: textConfig.text
    .optional()
    .describe(
      "Text to measure importance on; with --parameters or --bytes, default: text that the model writes itself",
    ),
});
export type PruneConfig = z.infer<typeof pruneConfig>;

interface BeforeAndAfter {
  readonly before: number;
  readonly after: number;
}

export interface PruneSummary {
  readonly out: string;
  /** Names of the removed heads, runs of neurons and layers. */
  readonly dropped: string[];
  readonly heads: BeforeAndAfter;
  readonly groups: BeforeAndAfter;
  readonly neurons: BeforeAndAfter;
  readonly layers: BeforeAndAfter;
  readonly parameters: BeforeAndAfter;
  /** Expected and measured losses on the way to a size; null where shares or a list chose the
   * units. */
  readonly sized: SizedReport | null;
  /** The model it was made from, and the loss against it. */
  readonly origin: OriginRecord;
}

/** What to drop by name or by shares. */
export async function selectionFor(config: PruneConfig, context: ExperimentContext): Promise<PruneSelection> {
  const { weights } = await context.models.open(config.model);
  const { arch } = weights;
  const { ratio, neurons, layers } = config;
  if (config.drop) return selectionByName(arch, config.drop);
  if (config.text === undefined) throw needsText();
  const text = config.text;
  const scoresOf = async (units: "heads" | "neurons" | "layers", metric: SensitivityMetric) => {
    const { separator, limit, context: length, maxTokens, bos, neuronBlock } = config;
    const asked = sensitivityConfig.parse({ model: config.model, text, units: [units], metric: [metric], neuronBlock });
    const measured = await runExperiment(
      sensitivity,
      { ...asked, separator, limit, context: length, maxTokens, bos },
      context,
    );
    return measured.units.map((u) => ({ ...parseUnit(u.unit), value: u.value }));
  };

  const dropLayers: number[] = [];
  if (layers !== undefined) {
    const scores = await scoresOf("layers", config.layerMetric);
    dropLayers.push(
      ...selectLayers(
        scores.map((s) => s.value),
        layers,
      ),
    );
  }
  // Shares are of the whole model, so units removed with whole layers count.
  const staying = arch.layers.flatMap((_, l) => (dropLayers.includes(l) ? [] : [l]));
  const left: DecoderArchitecture = { ...arch, layers: arch.layers.filter((_, l) => !dropLayers.includes(l)) };
  const atOldIndex = (list: readonly (readonly number[])[]): number[][] =>
    arch.layers.map((_, l) => [...(list[staying.indexOf(l)] ?? [])]);
  const selection = { ...emptySelection(arch), layers: dropLayers };
  const headShare = ratio === undefined ? 0 : shareLeft(ratio, headCount(arch), headCount(left));
  if (headShare > 0) {
    const found = await scoresOf("heads", config.metric);
    const scores = staying.map((l) => found.filter((s) => s.layer === l).map((s) => s.value));
    selection.heads = atOldIndex(selectHeads(left, scores, headShare, config.mode));
  }
  const neuronShare = neurons === undefined ? 0 : shareLeft(neurons, neuronCount(arch), neuronCount(left));
  if (neuronShare > 0) {
    const found = await scoresOf("neurons", config.neuronMetric);
    const scores = staying.map((l) =>
      found.filter((s) => s.layer === l).flatMap((s) => new Array<number>(s.count).fill(s.value / s.count)),
    );
    selection.neurons = atOldIndex(
      selectNeurons(left, scores, neuronShare, {
        mode: config.neuronMode,
        multiple: config.neuronMultiple,
        // Sizes of activations cannot be compared across layers; changes of the loss can.
        standardize: metricOf(config.neuronMetric).needs === "inputs",
      }),
    );
  }
  return selection;
}

/** The share of the remaining units to remove so that `share` of `all` is removed; 0 if more is
 * already gone. */
const shareLeft = (share: number, all: number, left: number): number =>
  Math.max(0, (share * all - (all - left)) / left);

/** Parameters that may be left under `--parameters` or `--bytes`; null when neither is given. */
function parameterTarget(config: PruneConfig, model: OpenModel): number | null {
  const { parameters, bytes } = config;
  if (parameters !== undefined) return Math.floor(parameters * parameterCount(model.weights.arch));
  if (bytes === undefined) return null;
  return Math.floor(bytes / bytesPerValue(model.checkpoint));
}

/** A part that goes in one round, of all parameters. */
const ROUND_SHARE = 0.25;
/** Default number of tokens: fitting has many unknowns, so it needs much text. */
const SIZE_TOKENS = 16_384;

async function makePruned(config: PruneConfig, context: MakerContext, folder: OutputFolder): Promise<PruneSummary> {
  const model = await context.models.open(config.model);
  const { arch } = model.weights;
  const target = parameterTarget(config, model);
  const bounded = config.limit !== undefined || config.maxTokens !== undefined;
  const maxTokens = target === null || bounded ? config.maxTokens : SIZE_TOKENS;
  const original = await originalOf(model, context);
  const text = await calibrationText({ ...config, maxTokens }, original.model, context);
  let weights: DecoderWeights;
  let drop: PruneSelection;
  let sized: SizedReport | null = null;
  if (target === null) {
    if (config.ratio !== undefined) for (const l of arch.layers.keys()) refuseHeads(arch, l);
    context.log?.(savingsInWords(config, arch));
    drop = await selectionFor(config, context);
    weights = pruneModel(model.weights, drop);
  } else {
    if (target >= parameterCount(arch)) {
      throw new EspalierError("input/invalid", `the model has ${parameterCount(arch)} parameters and already fits`, {
        hint: "Ask for fewer bytes.",
      });
    }
    const share = 1 - target / parameterCount(arch);
    context.log?.(
      `removing ${showShare(share)} of ${parameterCount(arch)} parameters; ${showShare(outsideLayers(arch) / parameterCount(arch))} are embeddings and stay`,
    );
    const rounds = config.rounds ?? Math.max(1, Math.round(share / ROUND_SHARE));
    const request = { target, rounds, multiple: config.neuronMultiple, compensate: !config.cutOnly };
    const made = await pruneToSize(model, text, request, context, context.onShare);
    ({ weights, report: sized } = made);
    drop = selectionWithout(arch, made.kept);
  }
  const kept = keptForConfig(keptAfter(keptOf(model.checkpoint.config, arch), drop));
  const before = model.checkpoint.config.espalier;
  const layersLeft = arch.layers.flatMap((_, l) => (drop.layers.includes(l) ? [] : [l]));
  const origin = await originRecordFor(weights, original, text.heldOut, context);
  await writeCheckpoint(folder.path, {
    architecture: weights.arch,
    config: {
      ...model.checkpoint.config,
      espalier: { ...(typeof before === "object" ? before : {}), kept },
    },
    copyFrom: model.checkpoint,
    replace: folder.replace,
    ...madeFrom(model.checkpoint, model.weights, weights, layersLeft),
    provenance: { origin },
  });
  const both = (count: (a: DecoderArchitecture) => number): BeforeAndAfter => ({
    before: count(arch),
    after: count(weights.arch),
  });
  return {
    out: folder.path,
    dropped: namesOf(drop),
    heads: both(headCount),
    groups: both((a) => a.layers.reduce((n, l) => n + (l.kvSource === null ? l.kvGroups : 0), 0)),
    neurons: both(neuronCount),
    layers: both((a) => a.layers.length),
    parameters: both(parameterCount),
    sized,
    origin,
  };
}

export const prune: Maker<"prune", PruneConfig, PruneSummary> = {
  kind: "prune",
  makes: "model",
  doing: "pruning",
  version: 4,
  title: "Remove heads, neurons and layers",
  step: { name: "Prune", what: "Drop what costs least." },
  figure: null,
  config: pruneConfig,

  check(config) {
    const bySize = config.parameters !== undefined || config.bytes !== undefined;
    if (config.parameters !== undefined && config.bytes !== undefined)
      throw new EspalierError("input/invalid", "--parameters and --bytes both set how much to keep", {
        hint: "Give one of them.",
      });
    const shares = config.ratio !== undefined || config.neurons !== undefined || config.layers !== undefined;
    if (bySize && (shares || config.drop)) {
      throw new EspalierError("input/invalid", "a size together with shares or a list is ambiguous", {
        hint: "Give --parameters or --bytes alone, or leave both out and say what to drop.",
      });
    }
    if (config.drop && shares) {
      throw new EspalierError("input/invalid", "--drop names what to drop; giving shares too is ambiguous", {
        hint: "Give --drop alone, or --ratio, --neurons and --layers without it.",
      });
    }
    if (!config.drop && !shares && !bySize) {
      throw new EspalierError("input/invalid", "nothing to prune was given", {
        hint: "Give --parameters or --bytes, --ratio, --neurons or --layers with --text, or --drop with a list.",
      });
    }
    if (shares && config.text === undefined) throw needsText();
  },

  make: makePruned,

  headline: (s) => ({
    "heads left": s.heads.after,
    "heads dropped": s.heads.before - s.heads.after,
    "neurons left": s.neurons.after,
    "layers left": s.layers.after,
    parameters: s.parameters.after,
    ...lossNumbers(s.origin),
  }),
};

const needsText = (): EspalierError =>
  new EspalierError("input/invalid", "--ratio, --neurons and --layers need a --text", {
    hint: "Importance is measured on it: use held-out text that you do not report on.",
  });

const showShare = (share: number): string => `${(100 * share).toFixed(1)} %`;

const outsideLayers = (arch: DecoderArchitecture): number => parameterCount({ ...arch, layers: [] });

/** What shares of heads, neurons and layers save of this model, before anything is measured. */
export function savingsInWords(config: PruneConfig, arch: DecoderArchitecture): string {
  const all = parameterCount(arch);
  const of = (roles: readonly LayerTensor[]): number =>
    arch.layers.reduce((n, layer) => {
      const shapes = layerTensorShapes(arch, layer);
      return n + roles.reduce((t, role) => t + elementCount(shapes[role] ?? [0]), 0);
    }, 0);
  const parts: string[] = [];
  if (config.ratio !== undefined) {
    const [least, most] = [of(["query", "output"]), of(["query", "output", "key", "value"])];
    const range = `${showShare((config.ratio * least) / all)}, up to ${showShare((config.ratio * most) / all)} where whole KV groups go`;
    parts.push(`${showShare(config.ratio)} of the heads is ${range}`);
  }
  if (config.neurons !== undefined)
    parts.push(
      `${showShare(config.neurons)} of the neurons is ${showShare((config.neurons * of(["gate", "up", "down"])) / all)}`,
    );
  if (config.layers !== undefined) {
    const each = (all - outsideLayers(arch)) / arch.layers.length;
    parts.push(
      `${config.layers} of ${arch.layers.length} layers ${config.layers === 1 ? "is" : "are"} about ${showShare((config.layers * each) / all)}`,
    );
  }
  return parts.length === 0
    ? `of ${all} parameters, the named units are dropped`
    : `of ${all} parameters, ${parts.join("; ")}`;
}

/** What is not among `kept`, both in the numbering of the model at hand. */
function selectionWithout(arch: DecoderArchitecture, kept: readonly KeptLayer[]): PruneSelection {
  const of = (l: number): KeptLayer | undefined => kept.find((k) => k.layer === l);
  const missing = (count: number, left: readonly number[] | undefined): number[] =>
    left ? Array.from({ length: count }, (_, i) => i).filter((i) => !left.includes(i)) : [];
  return {
    heads: arch.layers.map((layer, l) => missing(layer.queryHeads, of(l)?.heads)),
    neurons: arch.layers.map((layer, l) => missing(layer.neurons, of(l)?.neurons)),
    layers: arch.layers.flatMap((_, l) => (of(l) ? [] : [l])),
  };
}

/** `L3` for layers that go; of the others, heads one by one and neurons in runs. */
function namesOf({ heads, neurons, layers }: PruneSelection): string[] {
  return heads.flatMap((own, l) => {
    if (layers.includes(l)) return [`L${l}`];
    const runs = showRuns(neurons[l] ?? []);
    return [...own.map((h) => `L${l}.H${h}`), ...(runs === "" ? [] : runs.split(",").map((run) => `L${l}.N${run}`))];
  });
}
