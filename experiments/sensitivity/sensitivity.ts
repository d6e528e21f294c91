/**
 * @file Sensitivity: what each head, KV group, sub-block or layer is worth.
 *
 * Leave-one-out measures the change in loss when the unit's gate is closed; Taylor predicts it from one backward pass.
 * Values are stored per sequence, so that errors, agreement and its noise ceiling are computed afterwards.
 */
import { z } from "zod";
import { type GateUnit, leaveOneOut } from "../../lib/compress/importance/leave-one-out.ts";
import { gateGradients } from "../../lib/compress/importance/taylor.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { TokenSequence } from "../../lib/eval/sequences.ts";
import { meanAndError } from "../../lib/eval/summary.ts";
import { noiseCeiling, spearman } from "../../lib/stats/rank-agreement.ts";
import type { Experiment, Unit } from "../definition.ts";
import { shardName, shards, textConfig, textSequences } from "../text.ts";

export const unitKinds = ["heads", "groups", "attention", "mlp", "layers"] as const;
export const metrics = ["leave-one-out", "taylor"] as const;
export type SensitivityMetric = (typeof metrics)[number];

export const sensitivityConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  ...textConfig,
  units: z.array(z.enum(unitKinds)).min(1).default(["heads"]).describe("What to take away, one at a time"),
  metric: z.array(z.enum(metrics)).min(1).default(["leave-one-out"]).describe("How to measure what a unit is worth"),
  seed: z.number().int().default(0).describe("Splits the sequences for the noise ceiling"),
});
export type SensitivityConfig = z.infer<typeof sensitivityConfig>;

interface SensitivityUnit extends Unit {
  readonly metric: SensitivityMetric;
  readonly sequences: TokenSequence[];
}

const unitResult = z.object({ perSequence: z.record(z.string(), z.array(z.number())) });

export interface UnitValue {
  readonly unit: string;
  readonly metric: SensitivityMetric;
  /** Leave-one-out: mean change of loss in nats per token. Taylor: mean |gradient|. */
  readonly value: number;
  readonly standardError: number;
  /** Taylor only: −gradient, the predicted change of loss. */
  readonly predicted?: number;
}

export interface SensitivitySummary {
  readonly protocol: string;
  readonly sequences: number;
  readonly units: UnitValue[];
  /** Spearman correlation of Taylor with leave-one-out, and what sampling noise alone would allow. */
  readonly agreement: { spearman: number; noiseCeiling: number } | null;
  /** Raw values: metric → unit → per sequence, nats per token. */
  readonly perSequence: Record<string, Record<string, number[]>>;
}

export interface NamedUnit {
  readonly name: string;
  readonly gate: GateUnit;
}

/** All gate units of the asked-for kinds, with their names. */
export function unitsOf(arch: DecoderArchitecture, kinds: readonly (typeof unitKinds)[number][]): NamedUnit[] {
  return arch.layers.flatMap((layer, l) =>
    kinds.flatMap((kind): NamedUnit[] => {
      const many = (count: number, letter: string, gate: "heads" | "groups"): NamedUnit[] =>
        Array.from({ length: count }, (_, i) => ({
          name: `L${l}.${letter}${i}`,
          gate: { layer: l, kind: gate, index: i },
        }));
      if (kind === "heads") return many(layer.queryHeads, "H", "heads");
      if (kind === "groups") return many(layer.kvGroups, "G", "groups");
      if (kind === "layers") return [{ name: `L${l}`, gate: { layer: l, kind: "layer", index: 0 } }];
      return [{ name: `L${l}.${kind === "attention" ? "attn" : "mlp"}`, gate: { layer: l, kind, index: 0 } }];
    }),
  );
}

export const sensitivity: Experiment<
  SensitivityConfig,
  SensitivityUnit,
  z.infer<typeof unitResult>,
  SensitivitySummary
> = {
  kind: "sensitivity",
  version: 1,
  title: "What each unit is worth",
  config: sensitivityConfig,
  result: unitResult,

  async plan(config, context) {
    const model = await context.models.open(config.model);
    const { sequences } = await textSequences(config, model);
    return config.metric.flatMap((metric) =>
      shards(sequences, 8).map((shard) => ({
        key: `${model.hash} ${metric} ${[...config.units].sort().join("+")} ${shardName(shard.sequences)}`,
        label: `${metric}, sequences ${shard.from + 1}–${shard.from + shard.sequences.length}`,
        metric,
        sequences: shard.sequences,
      })),
    );
  },

  async run(unit, config, context, onShare) {
    const model = await context.models.open(config.model);
    const units = unitsOf(model.weights.arch, config.units);
    const gates = units.map((u) => u.gate);
    const options = { signal: context.signal, onProgress: (done: number, total: number) => onShare(done / total) };
    const found =
      unit.metric === "leave-one-out"
        ? (await leaveOneOut(model.runner, unit.sequences, gates, options)).units
        : await gateGradients(context.engine, model.weights, unit.sequences, gates, options);
    return { perSequence: Object.fromEntries(units.map((u, i) => [u.name, [...(found[i]?.perSequence ?? [])]])) };
  },

  async summarize(config, results, context) {
    const model = await context.models.open(config.model);
    const { protocol, sequences } = await textSequences(config, model);
    const perSequence: Record<string, Record<string, number[]>> = {};
    for (const metric of config.metric) {
      const merged: Record<string, number[]> = {};
      for (const { unit, result } of results) {
        if (unit.metric !== metric) continue;
        for (const [name, values] of Object.entries(result.perSequence)) {
          merged[name] = [...(merged[name] ?? []), ...values];
        }
      }
      perSequence[metric] = merged;
    }
    const units = config.metric.flatMap((metric) =>
      Object.entries(perSequence[metric] ?? {}).map(([unit, values]) => unitValue(unit, metric, values)),
    );
    for (const u of units) {
      if (!Number.isFinite(u.value))
        throw new EspalierError("numeric/non-finite", `${u.metric} of ${u.unit} is ${u.value}`);
    }
    return { protocol, sequences: sequences.length, units, agreement: agreementOf(perSequence), perSequence };
  },
};

function unitValue(unit: string, metric: SensitivityMetric, values: number[]): UnitValue {
  if (metric === "leave-one-out") {
    const { mean, standardError } = meanAndError(values);
    return { unit, metric, value: mean, standardError };
  }
  const { mean, standardError } = meanAndError(values.map(Math.abs));
  return { unit, metric, value: mean, standardError, predicted: -meanAndError(values).mean };
}

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
