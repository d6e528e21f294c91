/** @file The ways to say what a unit is worth: raw values by sequence, and what they add up to. */
import { activationImportance, activationNorm } from "../../../lib/compress/importance/activation.ts";
import { type LayerInputStatistics, layerInputStatistics } from "../../../lib/compress/importance/activation-inputs.ts";
import { blockInfluence, blockInfluenceScore } from "../../../lib/compress/importance/block-influence.ts";
import { fisherImportance } from "../../../lib/compress/importance/fisher.ts";
import { silencedColumns } from "../../../lib/compress/importance/gates.ts";
import { leaveOneOut, sharedPrefix } from "../../../lib/compress/importance/leave-one-out.ts";
import { gateGradients } from "../../../lib/compress/importance/taylor.ts";
import { absoluteColumnSums, wandaScore } from "../../../lib/compress/importance/wanda.ts";
import { weight } from "../../../lib/decoder/weights.ts";
import type { Engine } from "../../../lib/engines/engine.ts";
import type { PrefixStreams } from "../../../lib/eval/prefix-streams.ts";
import type { TokenSequence } from "../../../lib/eval/sequences.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import { meanAndError } from "../../../lib/stats/ratio.ts";
import type { UnitId, UnitKind } from "../../../lib/units.ts";
import type { OpenModel } from "../../models.ts";

export const metrics = ["leave-one-out", "taylor", "fisher", "activation", "wanda", "block-influence"] as const;
export type SensitivityMetric = (typeof metrics)[number];

/** What the value of each metric is, in a few words and with its unit. */
export const metricMeaning: Record<SensitivityMetric, string> = {
  "leave-one-out": "change in loss when removed, nats per token",
  taylor: "mean |∂loss/∂gate|, nats per token",
  fisher: "½ mean (∂loss/∂gate)², nats² per token²",
  activation: "size of what it gives, mean |activation|",
  wanda: "size of its inputs times weights",
  "block-influence": "1 − cos of the stream before and behind",
};

const channelKinds: readonly UnitKind[] = ["heads", "groups", "neurons", "attention", "mlp"];

/** The kinds of units a metric is defined for. */
export function kindsFor(metric: SensitivityMetric, kinds: readonly UnitKind[]): UnitKind[] {
  if (metric === "block-influence") return kinds.filter((k) => k === "layers");
  if (metric === "activation" || metric === "wanda") return kinds.filter((k) => channelKinds.includes(k));
  return [...kinds];
}

export interface MetricOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Raw values (units, sequences). */
export async function measureUnits(
  metric: SensitivityMetric,
  engine: Engine,
  model: OpenModel,
  sequences: readonly TokenSequence[],
  units: readonly UnitId[],
  options: MetricOptions,
): Promise<number[][]> {
  if (metric === "leave-one-out") {
    const found = await leaveOneOut(model.runner, sequences, units, {
      ...options,
      prefix: prefixOf(model, sequences),
    });
    return found.units.map((u) => [...u.perSequence]);
  }
  if (metric === "taylor" || metric === "fisher") {
    const found = await gateGradients(engine, model.weights, sequences, units, options);
    return found.map((u) => [...u.perSequence]);
  }
  const layers = await layerInputStatistics(model.runner, sequences, options);
  const of = (l: number): LayerInputStatistics => layers[l] as LayerInputStatistics;
  if (metric === "block-influence") return units.map((u) => blockInfluence(of(u.layer)));
  const sums = new Map<string, Float64Array>();
  const columnSums = (name: string): Float64Array => {
    const w = weight(model.weights, name);
    const found = sums.get(name) ?? absoluteColumnSums(float32Data(w), w.shape[1] as number);
    sums.set(name, found);
    return found;
  };
  return units.map((unit) => {
    const [silenced] = silencedColumns(unit, model.weights.arch);
    if (!silenced) return [];
    const columns = metric === "wanda" ? columnSums(`L${unit.layer}_${silenced.of}`) : null;
    return of(unit.layer)[silenced.of === "down" ? "inner" : "attended"].map((s) => {
      const parts = silenced.ranges.map(([from, to]) =>
        columns ? wandaScore(s, columns, from, to) : activationNorm(s, from, to),
      );
      return columns ? parts.reduce((t, v) => t + v, 0) : Math.hypot(...parts);
    });
  });
}

/** Streams of the sequences measured last; the pieces of a large model's layers are measured on the same ones in turn. */
const last = new WeakMap<OpenModel, { sequences: readonly TokenSequence[]; prefix: PrefixStreams }>();

function prefixOf(model: OpenModel, sequences: readonly TokenSequence[]): PrefixStreams {
  const known = last.get(model);
  if (known?.sequences === sequences) return known.prefix;
  const prefix = sharedPrefix(model.runner, sequences);
  last.set(model, { sequences, prefix });
  return prefix;
}

export interface UnitScore {
  readonly value: number;
  readonly standardError: number;
  readonly predicted?: number;
}

/** What raw values add up to. */
export function scoreOf(metric: SensitivityMetric, values: readonly number[]): UnitScore {
  if (metric === "taylor") {
    const { mean, standardError } = meanAndError(values.map(Math.abs));
    return { value: mean, standardError, predicted: -meanAndError(values).mean };
  }
  if (metric === "fisher") return fisherImportance(values);
  if (metric === "activation") return activationImportance(values);
  if (metric === "block-influence") return blockInfluenceScore(values);
  const { mean, standardError } = meanAndError(values);
  return { value: mean, standardError };
}
