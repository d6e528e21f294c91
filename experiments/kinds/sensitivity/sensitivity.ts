/**
 * @file Sensitivity: the importance of each head, KV group, block of neurons, sub-block or layer,
 * and the loss of each tensor at each width.
 *
 * Leave-one-out measures the change in loss when the unit's gate is closed; other metrics predict it for less. Values are
 * stored per sequence, so that errors, agreement and its noise ceiling are computed afterwards.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { mostInDoubt } from "../../../lib/compress/importance/doubt.ts";
import { matrices } from "../../../lib/compress/importance/tensor-sensitivity.ts";
import type { Width } from "../../../lib/compress/quantize/width.ts";
import { type DecoderArchitecture, isRowTable } from "../../../lib/decoder/architecture.ts";
import { type WeightEntry, weightList } from "../../../lib/decoder/weights.ts";
import type { Engine } from "../../../lib/engines/engine.ts";
import { EspalierError } from "../../../lib/errors.ts";
import type { TokenSequence } from "../../../lib/eval/sequences.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { noiseCeiling, spearman } from "../../../lib/stats/rank-agreement.ts";
import { meanAndError } from "../../../lib/stats/ratio.ts";
import { parseUnit, tensorUnit, type UnitKind, unitKinds } from "../../../lib/units.ts";
import type { Measurement, Unit } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import { shards, textConfig, textSequences } from "../../text.ts";
import { shardName } from "../../unit-name.ts";
import { measureUnits } from "./measure-units.ts";
import { metricIds, metricOf, type SensitivityMetric } from "./metrics.ts";
import { type NamedUnit, NEURON_BLOCK, unitsByName, unitsOf } from "./model-units.ts";
import {
  cellSubject,
  measureTensor,
  orderedWidths,
  storageConfig,
  tensorCell,
  type WidthMap,
  widthList,
  widthMapOf,
} from "./width-map.ts";

export type { SensitivityMetric } from "./metrics.ts";
export { type NamedUnit, unitsOf } from "./model-units.ts";

export const sensitivityConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  ...textConfig,
  units: z
    .array(z.enum([...unitKinds, "tensors"]))
    .min(1)
    .default(["heads"])
    .describe("What to remove, one at a time; tensors are stored in fewer bits instead"),
  metric: z.array(z.enum(metricIds)).min(1).default(["leave-one-out"]).describe("How to measure what a unit is worth"),
  neuronBlock: z.number().int().positive().default(NEURON_BLOCK).describe("Neurons per block; a block is one unit"),
  widths: widthList
    .default(["palette8", "palette6", "palette4", "palette3", "palette2"])
    .describe("Tensors: widths to try on each tensor"),
  ...storageConfig,
  only: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("Only these units, by name: L3.H5,L7.H0; default: all units of the chosen kinds"),
  refine: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      "Measure all units by Taylor, then this many by leave-one-out: the units for which Taylor leaves most doubt whether they belong to the share to drop",
    ),
  share: z.number().gt(0).lt(1).default(0.25).describe("Refine: the share of units to drop"),
  seed: z.number().int().default(0).describe("Decides how sequences are split to find the noise ceiling"),
});
export type SensitivityConfig = z.infer<typeof sensitivityConfig>;

interface GateWork {
  readonly metric: SensitivityMetric;
  /** Layers from and to, of a model that is measured a few at a time; null for all. */
  readonly layers: readonly [number, number] | null;
  /** Leave-one-out of so many units, chosen by Taylor; null for all. */
  readonly refine: number | null;
}

interface SensitivityUnit extends Unit {
  readonly sequences: TokenSequence[];
  readonly what: GateWork | { readonly entry: WeightEntry; readonly width: Width };
}

export const gateResult = z.object({
  of: z.literal("gates"),
  metric: z.enum(metricIds),
  perSequence: z.record(z.string(), z.array(z.number())),
});
const unitResult = z.discriminatedUnion("of", [gateResult, tensorCell]);

export interface UnitValue {
  readonly unit: string;
  readonly metric: SensitivityMetric;
  /** Leave-one-out: mean change of loss in nats per token. Others: see `meaning` of the metric. */
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
  readonly tensors: WidthMap | null;
}

/** Of these kinds those that a metric is defined for. */
const kindsFor = (metric: SensitivityMetric, kinds: readonly UnitKind[]): UnitKind[] =>
  kinds.filter((k) => metricOf(metric).units.includes(k));

/** The units asked for that a metric speaks of. */
function askedUnits(config: SensitivityConfig, arch: DecoderArchitecture, metric?: SensitivityMetric): NamedUnit[] {
  const allowed = (kinds: readonly UnitKind[]): UnitKind[] => (metric ? kindsFor(metric, kinds) : [...kinds]);
  if (config.only) return unitsByName(arch, config.only).filter((u) => allowed([u.kind]).length > 0);
  const kinds = config.units.filter((k) => k !== "tensors");
  return unitsOf(arch, allowed(kinds), config.neuronBlock);
}

/** The kinds of the units given by name, or those in `units`. Throws `prune/unknown-unit` for an
 * unknown name. */
const askedKinds = ({ only, units }: SensitivityConfig): UnitKind[] =>
  only ? only.map((name) => parseUnit(name).kind) : units.filter((k) => k !== "tensors");

/** Taylor and leave-one-out are what refining is. */
const metricsOf = ({ metric, refine }: SensitivityConfig): SensitivityMetric[] =>
  refine === undefined ? metric : [...new Set<SensitivityMetric>([...metric, "taylor", "leave-one-out"])];

/** What decides which units are measured: the kinds and the size of blocks, or a hash of the names. */
function askedName(config: SensitivityConfig, metric: SensitivityMetric): string {
  if (config.only) {
    const names = [...new Set(config.only)].sort();
    return `only ${createHash("sha256").update(names.join(" ")).digest("hex")}`;
  }
  const own = kindsFor(
    metric,
    config.units.filter((k) => k !== "tensors"),
  );
  return `${own.sort().join("+")}${own.includes("neurons") ? `/${config.neuronBlock}` : ""}`;
}

/** Multiplications of one stored piece of leave-one-out: about half a minute of two cores. */
const PIECE_MULTIPLICATIONS = 2e12;

/** Sequences of one stored piece: eight, or two where a pass over eight is waited for. */
function shardSize(arch: DecoderArchitecture, metric: SensitivityMetric, sequences: readonly TokenSequence[]): number {
  const tokens = sequences.slice(0, 8).reduce((n, s) => n + s.ids.length, 0);
  const weights = weightList(arch).reduce((n, w) => n + elementCount(w.shape), 0);
  return metricOf(metric).needs !== "losses" && tokens * weights > PIECE_MULTIPLICATIONS / 10 ? 2 : 8;
}

/** Layers to measure together, last and cheapest first, so that a picture of a large model fills in row by row. */
export function layerPieces(
  arch: DecoderArchitecture,
  units: readonly NamedUnit[],
  tokens: number,
): (readonly [number, number])[] | null {
  const sizes = arch.layers.map((_, l) =>
    matrices(arch).reduce((n, w) => n + (w.layer === l ? elementCount(w.shape) : 0), 0),
  );
  const head = arch.vocab * arch.hidden;
  const tail = sizes.map((_, l) => head + sizes.slice(l).reduce((a, b) => a + b, 0));
  const costs = tail.map((t, l) => tokens * t * units.filter((u) => u.layer === l).length);
  if (costs.reduce((a, b) => a + b, 0) <= 2 * PIECE_MULTIPLICATIONS) return null;
  const pieces: (readonly [number, number])[] = [];
  for (let to = arch.layers.length; to > 0; ) {
    let from = to;
    for (let cost = 0; from > 0 && (from === to || cost + (costs[from - 1] ?? 0) <= PIECE_MULTIPLICATIONS); from--)
      cost += costs[from - 1] ?? 0;
    pieces.push([from, to]);
    to = from;
  }
  return pieces;
}

export const sensitivity: Measurement<
  "sensitivity",
  SensitivityConfig,
  SensitivityUnit,
  z.infer<typeof unitResult>,
  SensitivitySummary
> = {
  kind: "sensitivity",
  makes: null,
  version: 3,
  title: "What each unit is worth",
  step: { name: "Measure", what: "What is each head worth?" },
  figure: "importance",
  config: sensitivityConfig,
  result: unitResult,

  check(config) {
    const asked = metricsOf(config);
    const speaks = asked.some((metric) => kindsFor(metric, askedKinds(config)).length > 0);
    if (speaks || (!config.only && config.units.includes("tensors"))) return;
    throw new EspalierError(
      "input/invalid",
      `--metric ${config.metric.join(",")} does not measure ${config.only ? "--only" : "--units"} ${(config.only ?? config.units).join(",")}`,
      { hint: `${asked.map((m) => `${m} is for ${metricOf(m).units.join(", ")}`).join("; ")}.` },
    );
  },

  async plan(config, context) {
    const model = await context.models.openToRun(config.model);
    const { sequences } = await textSequences(config, model);
    const { arch } = model.weights;
    const gates = metricsOf(config).flatMap((metric): SensitivityUnit[] => {
      const units = askedUnits(config, arch, metric);
      if (units.length === 0) return [];
      const asked = askedName(config, metric);
      const refine = metric === "leave-one-out" ? (config.refine ?? null) : null;
      const chosen =
        refine === null ? "" : ` the ${refine} nearest to ${config.share} by Taylor on ${shardName(sequences)}`;
      return shards(sequences, shardSize(arch, metric, sequences)).flatMap((shard) => {
        const tokens = shard.sequences.reduce((n, s) => n + s.ids.length, 0);
        const pieces = metricOf(metric).needs === "losses" && refine === null ? layerPieces(arch, units, tokens) : null;
        return (pieces ?? [null]).map((layers) => ({
          model: model.hash,
          subject: `${metric} ${asked}${chosen}${layers ? ` layers ${layers[0]}-${layers[1] - 1}` : ""}`,
          shard: shardName(shard.sequences),
          label: `${metric}, ${layers ? `layers ${layers[0]}–${layers[1] - 1}, ` : ""}sequences ${shard.from + 1}–${shard.from + shard.sequences.length}`,
          what: { metric, layers, refine },
          sequences: shard.sequences,
        }));
      });
    });
    const cells =
      config.only || !config.units.includes("tensors")
        ? []
        : orderedWidths(config.widths).flatMap((width) =>
            matrices(model.weights.arch).map(
              (entry): SensitivityUnit => ({
                model: model.hash,
                subject: cellSubject(config, tensorUnit(entry.name), width),
                shard: shardName(sequences),
                label: `${tensorUnit(entry.name)} ${width}`,
                what: { entry, width },
                sequences,
              }),
            ),
          );
    return [...gates, ...cells];
  },

  async run(unit, config, context, onShare) {
    const model = await context.models.openToRun(config.model);
    const options = { signal: context.signal, onProgress: (done: number, total: number) => onShare(done / total) };
    if ("entry" in unit.what) {
      const { entry, width } = unit.what;
      return measureTensor(entry, width, config, model, unit.sequences, unit.shard, context);
    }
    const { metric, layers, refine } = unit.what;
    const all = askedUnits(config, model.weights.arch, metric);
    const chosen =
      refine === null ? all : await inDoubt(all, refine, unit.subject, config, model, options, context.engine);
    const units = chosen.filter((u) => layers === null || (u.layer >= layers[0] && u.layer < layers[1]));
    const found = await measureUnits(metricOf(metric), context.engine, model, unit.sequences, units, options);
    return { of: "gates", metric, perSequence: Object.fromEntries(units.map((u, i) => [u.name, found[i] ?? []])) };
  },

  async summarize(config, results, context) {
    const model = await context.models.openToRun(config.model);
    const { protocol, sequences } = await textSequences(config, model);
    // In the order of the model: a database gives the names of a stored unit back in an order of its own.
    const names = askedUnits(config, model.weights.arch).map((u) => u.name);
    const perSequence: Record<string, Record<string, number[]>> = {};
    for (const metric of metricsOf(config)) {
      const merged = new Map<string, number[]>();
      for (const { unit, result } of results) {
        if (result.of !== "gates" || !("metric" in unit.what) || unit.what.metric !== metric) continue;
        for (const [name, values] of Object.entries(result.perSequence))
          merged.set(name, [...(merged.get(name) ?? []), ...values]);
      }
      const found = names.flatMap((name) => (merged.has(name) ? [[name, merged.get(name) ?? []] as const] : []));
      if (found.length > 0) perSequence[metric] = Object.fromEntries(found);
    }
    const units = metricsOf(config).flatMap((metric) =>
      Object.entries(perSequence[metric] ?? {}).map(([unit, values]) => ({
        unit,
        metric,
        ...metricOf(metric).score(values),
      })),
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
        cells.length > 0
          ? widthMapOf(model.weights.arch, fixedBytesOf(model.weights.arch), config.widths, cells)
          : null,
    };
  },

  headline: (s) => ({
    units: new Set(s.units.map((u) => u.unit)).size,
    cells: s.tensors?.cells.length,
    "rank agreement": s.agreement?.spearman,
    "noise ceiling": s.agreement?.noiseCeiling,
  }),
};

/** Units to measure by leave-one-out, chosen by Taylor on all of the text; computed once for a model and a subject, which names them and the text. */
const doubts = new WeakMap<OpenModel, Map<string, Promise<NamedUnit[]>>>();

function inDoubt(
  units: readonly NamedUnit[],
  count: number,
  subject: string,
  config: SensitivityConfig,
  model: OpenModel,
  options: { readonly signal?: AbortSignal | undefined },
  engine: Engine,
): Promise<NamedUnit[]> {
  const known = doubts.get(model) ?? new Map<string, Promise<NamedUnit[]>>();
  doubts.set(model, known);
  let found = known.get(subject);
  if (!found) {
    found = (async () => {
      const { sequences } = await textSequences(config, model);
      const gradients = await measureUnits(metricOf("taylor"), engine, model, sequences, units, {
        signal: options.signal,
      });
      // In the order of the model, so that units of a layer run side by side.
      const chosen = new Set(mostInDoubt(gradients, config.share, count));
      return units.filter((_, i) => chosen.has(i));
    })();
    known.set(subject, found);
    found.catch(() => known.delete(subject));
  }
  return found;
}

/** Bytes of the tensors that no width map measures and that stay fp16: norms and lookup tables. */
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
  return metricIds.flatMap((metric) => {
    const both = units.filter((u) => u.metric === metric && metric !== "leave-one-out" && truth.has(u.unit));
    if (both.length < 3) return [];
    const rho = spearman(
      both.map((u) => u.value),
      both.map((u) => truth.get(u.unit) ?? Number.NaN),
    );
    return [{ metric, spearman: rho, units: both.length }];
  });
}
