/**
 * @file Prune: take heads away by what they are worth, or by name, and write the smaller checkpoint.
 */
import { z } from "zod";
import { type HeadSelection, headCount, headsByName, selectHeads } from "../../lib/compress/prune/selection.ts";
import { pruneHeads } from "../../lib/compress/prune/slice.ts";
import type { CompressedWeight } from "../../lib/compress/weight.ts";
import { type DecoderWeights, parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { type Checkpoint, type StoredWeight, writeCheckpoint } from "../../lib/formats/hugging-face/checkpoint.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import type { Experiment, ExperimentContext, Unit } from "../definition.ts";
import { runExperiment } from "../definition.ts";
import { metrics, sensitivity } from "../sensitivity/sensitivity.ts";
import { textConfig } from "../text.ts";

export const pruneConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  out: z.string().describe("Folder to write the pruned checkpoint to").meta({ role: "output" }),
  drop: z
    .array(z.string())
    .optional()
    .describe("Heads and KV groups to drop by name, such as L3.H5,L0.G1; instead of a ratio"),
  ratio: z.number().gt(0).lt(1).optional().describe("Share of all query heads to drop"),
  mode: z
    .enum(["free", "balanced", "groups"])
    .default("free")
    .describe("free: the least important anywhere; balanced: equally many of every KV group; groups: whole KV groups"),
  metric: z.enum(metrics).default("leave-one-out").describe("What decides which are least important"),
  ...textConfig,
  text: textConfig.text.optional().describe("The text importance is measured on, when a ratio is given"),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
});
export type PruneConfig = z.infer<typeof pruneConfig>;

export interface PruneSummary {
  readonly out: string;
  readonly dropped: string[];
  readonly heads: { before: number; after: number };
  readonly groups: { before: number; after: number };
  readonly parameters: { before: number; after: number };
}

const result = z.object({ drop: z.array(z.array(z.number().int())) });

/** Heads to drop under a config. */
export async function selectionFor(config: PruneConfig, context: ExperimentContext): Promise<HeadSelection> {
  const { weights } = await context.models.open(config.model);
  if (config.drop) return headsByName(weights.arch, config.drop);
  if (config.ratio === undefined) {
    throw new EspalierError("input/invalid", "nothing says what to prune", {
      hint: "Give --ratio with --text, or --drop with a list.",
    });
  }
  if (config.text === undefined) {
    throw new EspalierError("input/invalid", "--ratio needs a --text to measure importance on", {
      hint: "Use held-out text that you do not report on.",
    });
  }
  const measured = await runExperiment(
    sensitivity,
    { ...config, text: config.text, units: ["heads"], metric: [config.metric], seed: 0 },
    context,
  );
  const scores = weights.arch.layers.map((layer, l) =>
    Array.from(
      { length: layer.queryHeads },
      (_, h) => measured.units.find((u) => u.unit === `L${l}.H${h}`)?.value ?? Number.NaN,
    ),
  );
  return selectHeads(weights.arch, scores, config.ratio, config.mode);
}

export const prune: Experiment<PruneConfig, Unit, z.infer<typeof result>, PruneSummary> = {
  kind: "prune",
  version: 1,
  title: "Take heads away",
  config: pruneConfig,
  result,

  async plan(config, context) {
    const model = await context.models.open(config.model);
    const { out: _out, model: _model, replace: _replace, ...what } = config;
    return [{ key: `${model.hash} ${JSON.stringify(what)}`, label: "choosing heads" }];
  },

  run: async (_unit, config, context) => ({ drop: (await selectionFor(config, context)).map((d) => [...d]) }),

  async summarize(config, results, context) {
    const model = await context.models.open(config.model);
    const drop = results[0]?.result.drop ?? [];
    const pruned = pruneHeads(model.weights, drop);
    await writeCheckpoint(config.out, {
      architecture: pruned.arch,
      config: model.checkpoint.config,
      dtype: storedType(model.checkpoint.config),
      copyFrom: model.directory,
      replace: config.replace,
      weight: async (name) => weightToWrite(pruned, model.checkpoint, name),
    });
    const groupsOf = (arch: typeof pruned.arch): number =>
      arch.layers.reduce((n, l) => n + (l.kvSource === null ? l.kvGroups : 0), 0);
    return {
      out: config.out,
      dropped: drop.flatMap((heads, l) => heads.map((h) => `L${l}.H${h}`)),
      heads: { before: headCount(model.weights.arch), after: headCount(pruned.arch) },
      groups: { before: groupsOf(model.weights.arch), after: groupsOf(pruned.arch) },
      parameters: { before: parameterCount(model.weights.arch), after: parameterCount(pruned.arch) },
    };
  },
};

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
