/**
 * @file Prune: take heads, neurons and layers away by what they are worth, or by name, and write the smaller checkpoint.
 */
import { z } from "zod";
import { type Checkpoint, type StoredWeight, writeCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import type { OriginRecord } from "../../lib/checkpoint/origin.ts";
import { keptAfter, keptForConfig, keptOf } from "../../lib/compress/prune/kept.ts";
import { neuronCount, neuronModes, selectLayers, selectNeurons } from "../../lib/compress/prune/neurons.ts";
import {
  emptySelection,
  headCount,
  type PruneSelection,
  selectHeads,
  selectionByName,
} from "../../lib/compress/prune/selection.ts";
import { pruneModel } from "../../lib/compress/prune/slice.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { type DecoderWeights, parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { parseUnit, showRuns } from "../../lib/ids.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import type { CompressedWeight } from "../../lib/weights/weight.ts";
import type { Experiment, ExperimentContext, Unit } from "../definition.ts";
import { runExperiment } from "../definition.ts";
import { originalOf, originRecordFor } from "../original.ts";
import { metrics, type SensitivityMetric, sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import { calibrationText } from "../splits.ts";
import { shardName, textConfig, textSequences } from "../text.ts";

const unitMetric = z.enum(metrics).exclude(["block-influence"]);

export const pruneConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  out: z.string().describe("Folder to write the pruned checkpoint to").meta({ role: "output" }),
  drop: z
    .array(z.string())
    .optional()
    .describe("What to drop by name: heads L3.H5, KV groups L0.G1, neurons L2.N0-31, layers L4; instead of shares"),
  ratio: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe("Share of all query heads to drop, those of dropped layers among them"),
  mode: z
    .enum(["free", "balanced", "groups"])
    .default("free")
    .describe(
      "free: the least important anywhere; balanced: equally many of every KV group, the nearest whole number; groups: whole KV groups",
    ),
  metric: unitMetric.default("leave-one-out").describe("What decides which heads are least important"),
  neurons: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe("Share of all neurons of the MLPs to drop, those of dropped layers among them"),
  neuronMode: z
    .enum(neuronModes)
    .default("free")
    .describe("free: the least important anywhere; even: equally many of every layer"),
  neuronMetric: unitMetric.default("taylor").describe("What decides which neurons are least important"),
  neuronBlock: z
    .number()
    .int()
    .positive()
    .default(1)
    .describe("Neighbouring neurons that are scored together; leave-one-out of single neurons takes long"),
  neuronMultiple: z
    .number()
    .int()
    .positive()
    .default(16)
    .describe("What is left of a layer's neurons is a multiple of this (16 or 32 suit the Neural Engine)"),
  layers: z.number().int().positive().optional().describe("How many whole layers to drop"),
  layerMetric: z.enum(metrics).default("leave-one-out").describe("What decides which layers are least important"),
  ...textConfig,
  text: textConfig.text.optional().describe("The text importance is measured on, when shares are given"),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
});
export type PruneConfig = z.infer<typeof pruneConfig>;

interface BeforeAndAfter {
  readonly before: number;
  readonly after: number;
}

export interface PruneSummary {
  readonly out: string;
  /** Names of what went: heads, runs of neurons, layers. */
  readonly dropped: string[];
  readonly heads: BeforeAndAfter;
  readonly groups: BeforeAndAfter;
  readonly neurons: BeforeAndAfter;
  readonly layers: BeforeAndAfter;
  readonly parameters: BeforeAndAfter;
  /** What the model was made from, and what was lost against it. */
  readonly origin: OriginRecord;
}

const lists = z.array(z.array(z.number().int().nonnegative()));
const result = z.object({ heads: lists, neurons: lists, layers: z.array(z.number().int().nonnegative()) });

/** What to drop under a config. Throws `input/invalid` when it does not say. */
export async function selectionFor(config: PruneConfig, context: ExperimentContext): Promise<PruneSelection> {
  const { weights } = await context.models.open(config.model);
  const { arch } = weights;
  const { ratio, neurons, layers } = config;
  const shares = ratio !== undefined || neurons !== undefined || layers !== undefined;
  if (config.drop) {
    if (shares) {
      throw new EspalierError("input/invalid", "--drop names what goes; shares beside it would be ambiguous", {
        hint: "Give --drop alone, or --ratio, --neurons and --layers without it.",
      });
    }
    return selectionByName(arch, config.drop);
  }
  if (!shares) {
    throw new EspalierError("input/invalid", "nothing says what to prune", {
      hint: "Give --ratio, --neurons or --layers with --text, or --drop with a list.",
    });
  }
  if (config.text === undefined) {
    throw new EspalierError("input/invalid", "--ratio, --neurons and --layers need a --text to measure importance on", {
      hint: "Use held-out text that you do not report on.",
    });
  }
  const text = config.text;
  const scoresOf = async (units: "heads" | "neurons" | "layers", metric: SensitivityMetric) => {
    const { separator, limit, context: length, maxTokens, neuronBlock } = config;
    const asked = sensitivityConfig.parse({ model: config.model, text, units: [units], metric: [metric], neuronBlock });
    const measured = await runExperiment(
      sensitivity,
      { ...asked, separator, limit, context: length, maxTokens },
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
  // Shares are of the whole model, so what goes with the layers counts.
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
        // Sizes of activations say nothing across layers; changes of the loss do.
        standardize: config.neuronMetric === "activation" || config.neuronMetric === "wanda",
      }),
    );
  }
  return selection;
}

/** The share of what is left that must go for `share` of `all` to be gone; 0 when more is gone already. */
const shareLeft = (share: number, all: number, left: number): number =>
  Math.max(0, (share * all - (all - left)) / left);

const copyOf = (lists: readonly (readonly number[])[]): number[][] => lists.map((d) => [...d]);

export const prune: Experiment<PruneConfig, Unit, z.infer<typeof result>, PruneSummary> = {
  kind: "prune",
  version: 3,
  title: "Take heads, neurons and layers away",
  config: pruneConfig,
  result,

  async plan(config, context) {
    const model = await context.models.open(config.model);
    const { out: _out, model: _model, replace: _replace, text, ...what } = config;
    const read =
      text === undefined ? "no text" : shardName((await textSequences({ ...config, text }, model)).sequences);
    return [{ key: `${model.hash} ${JSON.stringify(what)} ${read}`, label: "choosing what to drop" }];
  },

  async run(_unit, config, context) {
    const { heads, neurons, layers } = await selectionFor(config, context);
    return { heads: copyOf(heads), neurons: copyOf(neurons), layers: [...layers] };
  },

  async summarize(config, results, context) {
    const model = await context.models.open(config.model);
    const { arch } = model.weights;
    const drop = results[0]?.result ?? emptySelection(arch);
    const pruned = pruneModel(model.weights, drop);
    const kept = keptForConfig(keptAfter(keptOf(model.checkpoint.config, arch), drop));
    const before = model.checkpoint.config.espalier;
    const text = config.text === undefined ? null : await calibrationText({ ...config, text: config.text }, model);
    const origin = await originRecordFor(pruned, await originalOf(model, context), text?.heldOut ?? null, context);
    await writeCheckpoint(config.out, {
      architecture: pruned.arch,
      config: {
        ...model.checkpoint.config,
        espalier: { ...(typeof before === "object" ? before : {}), kept },
      },
      dtype: storedType(model.checkpoint.config),
      copyFrom: model.directory,
      replace: config.replace,
      weight: async (name) => weightToWrite(pruned, model.checkpoint, name),
      provenance: { origin },
    });
    const both = (count: (a: DecoderArchitecture) => number): BeforeAndAfter => ({
      before: count(arch),
      after: count(pruned.arch),
    });
    return {
      out: config.out,
      dropped: namesOf(drop),
      heads: both(headCount),
      groups: both((a) => a.layers.reduce((n, l) => n + (l.kvSource === null ? l.kvGroups : 0), 0)),
      neurons: both(neuronCount),
      layers: both((a) => a.layers.length),
      parameters: both(parameterCount),
      origin,
    };
  },
};

/** `L3` for layers that go; of the others, heads one by one and neurons in runs. */
function namesOf({ heads, neurons, layers }: PruneSelection): string[] {
  return heads.flatMap((own, l) => {
    if (layers.includes(l)) return [`L${l}`];
    const runs = showRuns(neurons[l] ?? []);
    return [...own.map((h) => `L${l}.H${h}`), ...(runs === "" ? [] : runs.split(",").map((run) => `L${l}.N${run}`))];
  });
}

/** A weight of a model made from `origin`: its values, or, of a table that no method changes, the very bytes there. */
export function weightToWrite(
  weights: DecoderWeights,
  origin: Checkpoint,
  name: string,
): CompressedWeight | StoredWeight {
  const t = weights.tensors.get(name);
  return t ? { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) } : origin.stored(name);
}

/** The element type a checkpoint was stored in, so that slicing changes no value. */
export function storedType(config: Readonly<Record<string, unknown>>): "bf16" | "f16" | "f32" {
  const text = z.looseObject({ torch_dtype: z.unknown(), dtype: z.unknown() }).safeParse(config.text_config);
  const declared = config.torch_dtype ?? config.dtype ?? text.data?.torch_dtype ?? text.data?.dtype;
  if (declared === "bfloat16") return "bf16";
  return declared === "float16" ? "f16" : "f32";
}
