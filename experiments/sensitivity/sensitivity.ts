/**
 * @file Sensitivity: what each head, KV group, block of neurons, sub-block or layer is worth, and what each tensor loses
 * at each width.
 *
 * Leave-one-out measures the change in loss when the unit's gate is closed; other metrics predict it for less. Values are
 * stored per sequence, so that errors, agreement and its noise ceiling are computed afterwards.
 */
import { z } from "zod";
import { matrices } from "../../lib/compress/importance/tensor-sensitivity.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";
import { isRowTable } from "../../lib/decoder/architecture.ts";
import { type WeightEntry, weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { TokenSequence } from "../../lib/eval/sequences.ts";
import { tensorUnit } from "../../lib/ids.ts";
import { elementCount } from "../../lib/mil/types.ts";
import { noiseCeiling, spearman } from "../../lib/stats/rank-agreement.ts";
import { meanAndError } from "../../lib/stats/ratio.ts";
import type { Experiment, Unit } from "../definition.ts";
import { shardName, shards, textConfig, textSequences } from "../text.ts";
import { kindsFor, measureUnits, metrics, type SensitivityMetric, scoreOf } from "./metrics.ts";
import {
  measureTensor,
  orderedWidths,
  storageConfig,
  sweepName,
  sweepOf,
  type TensorSweep,
  tensorCell,
  widthList,
} from "./tensor-sweep.ts";
import { type GateUnitKind, gateUnitKinds, NEURON_BLOCK, unitsOf } from "./units.ts";

export { metrics, type SensitivityMetric } from "./metrics.ts";
export { type NamedUnit, unitsOf } from "./units.ts";

export const unitKinds = [...gateUnitKinds, "tensors"] as const;

export const sensitivityConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  ...textConfig,
  units: z
    .array(z.enum(unitKinds))
    .min(1)
    .default(["heads"])
    .describe("What to take away, one at a time; tensors are stored in fewer bits instead"),
  metric: z.array(z.enum(metrics)).min(1).default(["leave-one-out"]).describe("How to measure what a unit is worth"),
  neuronBlock: z.number().int().positive().default(NEURON_BLOCK).describe("Neurons: how many are one unit"),
  widths: widthList
    .default(["palette8", "palette6", "palette4", "palette3", "palette2"])
    .describe("Tensors: what each is stored as in turn"),
  ...storageConfig,
  seed: z.number().int().default(0).describe("Splits the sequences for the noise ceiling"),
});
export type SensitivityConfig = z.infer<typeof sensitivityConfig>;

interface SensitivityUnit extends Unit {
  readonly sequences: TokenSequence[];
  readonly what: { readonly metric: SensitivityMetric } | { readonly entry: WeightEntry; readonly width: Width };
}

const gateResult = z.object({ of: z.literal("gates"), perSequence: z.record(z.string(), z.array(z.number())) });
const unitResult = z.discriminatedUnion("of", [gateResult, tensorCell]);

export interface UnitValue {
  readonly unit: string;
  readonly metric: SensitivityMetric;
  /** Leave-one-out: mean change of loss in nats per token. Others: see `metricMeaning`. */
  readonly value: number;
  readonly standardError: number;
  /** Taylor and Fisher: the predicted change of loss. */
  readonly predicted?: number;
}

export interface SensitivitySummary {
  readonly protocol: string;
  readonly sequences: number;
  readonly units: UnitValue[];
  /** Spearman correlation of Taylor with leave-one-out, and what sampling noise alone would allow. */
  readonly agreement: { spearman: number; noiseCeiling: number } | null;
  /** Of every other metric with leave-one-out, over the units both have. */
  readonly agreements: { metric: SensitivityMetric; spearman: number; units: number }[];
  /** Raw values: metric → unit → per sequence. */
  readonly perSequence: Record<string, Record<string, number[]>>;
  /** Tensors × widths, when tensors were asked for. */
  readonly tensors: TensorSweep | null;
}

const gateKindsOf = (config: SensitivityConfig): GateUnitKind[] => config.units.filter((k) => k !== "tensors");

export const sensitivity: Experiment<
  SensitivityConfig,
  SensitivityUnit,
  z.infer<typeof unitResult>,
  SensitivitySummary
> = {
  kind: "sensitivity",
  version: 2,
  title: "What each unit is worth",
  config: sensitivityConfig,
  result: unitResult,

  async plan(config, context) {
    const model = await context.models.open(config.model);
    const { sequences } = await textSequences(config, model);
    const kinds = gateKindsOf(config);
    const gates = config.metric.flatMap((metric): SensitivityUnit[] => {
      const own = kindsFor(metric, kinds);
      if (own.length === 0) return [];
      const blocks = own.includes("neurons") ? `/${config.neuronBlock}` : "";
      return shards(sequences, 8).map((shard) => ({
        key: `${model.hash} ${metric} ${own.sort().join("+")}${blocks} ${shardName(shard.sequences)}`,
        label: `${metric}, sequences ${shard.from + 1}–${shard.from + shard.sequences.length}`,
        what: { metric },
        sequences: shard.sequences,
      }));
    });
    const cells = !config.units.includes("tensors")
      ? []
      : orderedWidths(config.widths).flatMap((width) =>
          matrices(model.weights.arch).map(
            (entry): SensitivityUnit => ({
              key: `${sweepName(config, model.hash)} ${tensorUnit(entry.name)} ${width} ${shardName(sequences)}`,
              label: `${tensorUnit(entry.name)} ${width}`,
              what: { entry, width },
              sequences,
            }),
          ),
        );
    if (gates.length + cells.length === 0) {
      throw new EspalierError("input/invalid", `${config.metric.join(", ")} says nothing of ${kinds.join(", ")}`, {
        hint: "block-influence is for layers; activation and wanda for heads, groups, neurons, attention and mlp.",
      });
    }
    return [...gates, ...cells];
  },

  async run(unit, config, context, onShare) {
    const model = await context.models.open(config.model);
    const options = { signal: context.signal, onProgress: (done: number, total: number) => onShare(done / total) };
    if ("entry" in unit.what) {
      const { entry, width } = unit.what;
      const shard = shardName(unit.sequences);
      return measureTensor(entry, width, config, model, unit.sequences, shard, context);
    }
    const { metric } = unit.what;
    const units = unitsOf(model.weights.arch, kindsFor(metric, gateKindsOf(config)), config.neuronBlock);
    const found = await measureUnits(metric, context.engine, model, unit.sequences, units, options);
    return { of: "gates", perSequence: Object.fromEntries(units.map((u, i) => [u.name, found[i] ?? []])) };
  },

  async summarize(config, results, context) {
    const model = await context.models.open(config.model);
    const { protocol, sequences } = await textSequences(config, model);
    // In the order of the model: a database gives the names of a stored unit back in an order of its own.
    const names = unitsOf(model.weights.arch, gateKindsOf(config), config.neuronBlock).map((u) => u.name);
    const perSequence: Record<string, Record<string, number[]>> = {};
    for (const metric of config.metric) {
      const merged = new Map<string, number[]>();
      for (const { unit, result } of results) {
        if (result.of !== "gates" || !("metric" in unit.what) || unit.what.metric !== metric) continue;
        for (const [name, values] of Object.entries(result.perSequence))
          merged.set(name, [...(merged.get(name) ?? []), ...values]);
      }
      const found = names.flatMap((name) => (merged.has(name) ? [[name, merged.get(name) ?? []] as const] : []));
      if (found.length > 0) perSequence[metric] = Object.fromEntries(found);
    }
    const units = config.metric.flatMap((metric) =>
      Object.entries(perSequence[metric] ?? {}).map(([unit, values]) => ({ unit, metric, ...scoreOf(metric, values) })),
    );
    for (const u of units) {
      if (!Number.isFinite(u.value))
        throw new EspalierError("numeric/non-finite", `${u.metric} of ${u.unit} is ${u.value}`);
    }
    const cells = results.flatMap(({ result }) => (result.of === "tensor" ? [result] : []));
    return {
      protocol,
      sequences: sequences.length,
      units,
      agreement: agreementOf(perSequence),
      agreements: agreementsOf(units),
      perSequence,
      tensors:
        cells.length > 0 ? sweepOf(model.weights.arch, fixedBytesOf(model.weights.arch), config.widths, cells) : null,
    };
  },
};

/** Bytes of what no sweep measures and fp16 keeps: norms, and tables of which only rows are read. */
export const fixedBytesOf = (arch: Parameters<typeof weightList>[0]): number =>
  weightList(arch).reduce((n, w) => n + (w.shape.length < 2 || isRowTable(w.role) ? 2 * elementCount(w.shape) : 0), 0);

function agreementOf(perSequence: Record<string, Record<string, number[]>>): SensitivitySummary["agreement"] {
  const loo = perSequence["leave-one-out"];
  const taylor = perSequence.taylor;
  if (!loo || !taylor) return null;
  const names = Object.keys(loo);
  if (names.length < 3) return null;
  const score = (of: Record<string, number[]>, size: (v: number) => number) =>
    names.map((n) => meanAndError((of[n] ?? []).map(size)).mean);
  const matrix = names.map((n) => loo[n] ?? []);
  return {
    spearman: spearman(
      score(loo, (v) => v),
      score(taylor, Math.abs),
    ),
    noiseCeiling: noiseCeiling(matrix),
  };
}

function agreementsOf(units: readonly UnitValue[]): SensitivitySummary["agreements"] {
  const truth = new Map(units.filter((u) => u.metric === "leave-one-out").map((u) => [u.unit, u.value]));
  return metrics.flatMap((metric) => {
    const both = units.filter((u) => u.metric === metric && metric !== "leave-one-out" && truth.has(u.unit));
    if (both.length < 3) return [];
    const rho = spearman(
      both.map((u) => u.value),
      both.map((u) => truth.get(u.unit) ?? Number.NaN),
    );
    return [{ metric, spearman: rho, units: both.length }];
  });
}
