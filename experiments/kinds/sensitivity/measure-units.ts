/** @file Prepares the material of a metric once for all units, then measures each unit. */
import { layerInputStatistics } from "../../../lib/compress/importance/activation-inputs.ts";
import { leaveOneOut, sharedPrefix } from "../../../lib/compress/importance/leave-one-out.ts";
import { gateGradients } from "../../../lib/compress/importance/taylor.ts";
import { absoluteColumnSums } from "../../../lib/compress/importance/wanda.ts";
import { readWeight, weightList } from "../../../lib/decoder/weights.ts";
import { dim } from "../../../lib/elements.ts";
import type { Engine } from "../../../lib/engines/engine.ts";
import { invariant } from "../../../lib/errors.ts";
import type { PrefixStreams } from "../../../lib/eval/prefix-streams.ts";
import type { TokenSequence } from "../../../lib/eval/sequences.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import type { UnitId } from "../../../lib/units.ts";
import type { OpenModel } from "../../model-session.ts";
import type { Materials, Metric } from "./metrics/metric.ts";

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Raw values (units, sequences). */
export async function measureUnits(
  metric: Metric,
  engine: Engine,
  model: OpenModel,
  sequences: readonly TokenSequence[],
  units: readonly UnitId[],
  options: MeasureOptions,
): Promise<number[][]> {
  if (metric.needs === "losses") {
    const prefix = prefixOf(model, sequences);
    const found = await leaveOneOut(model.runner, sequences, units, { ...options, prefix });
    const changes = byUnit(units, found.units);
    return units.map((u) => [...metric.measure(u, changes)]);
  }
  if (metric.needs === "gradients") {
    const gradients = byUnit(units, await gateGradients(engine, model.weights, sequences, units, options));
    return units.map((u) => [...metric.measure(u, gradients)]);
  }
  const inputs = await inputsOf(model, sequences, units, options);
  return units.map((u) => [...metric.measure(u, inputs)]);
}

function byUnit(
  units: readonly UnitId[],
  found: readonly { readonly perSequence: Float64Array }[],
): (unit: UnitId) => number[] {
  const values = new Map(units.map((unit, i) => [unit, found[i]?.perSequence]));
  return (unit) => [...(values.get(unit) ?? [])];
}

async function inputsOf(
  model: OpenModel,
  sequences: readonly TokenSequence[],
  units: readonly UnitId[],
  options: MeasureOptions,
): Promise<Materials["inputs"]> {
  const { arch } = model.weights;
  const layers = await layerInputStatistics(model.runner, sequences, options);
  const sums = new Map<string, Float64Array>();
  const asked = new Set(units.map((u) => u.layer));
  for (const entry of weightList(arch)) {
    if (entry.layer === null || !asked.has(entry.layer) || !readers.has(entry.role)) continue;
    const w = await readWeight(model.weights, entry);
    sums.set(entry.name, absoluteColumnSums(float32Data(w), dim(w.shape, 1)));
  }
  return {
    arch,
    layer(index) {
      const found = layers[index];
      invariant(found, "every layer has statistics");
      return found;
    },
    columnSums(name) {
      const found = sums.get(name);
      invariant(found, `${name} reads no channels`);
      return found;
    },
  };
}

/** The projections that read the channels of units. */
const readers: ReadonlySet<string> = new Set(["output", "down"]);

/** Streams of the sequences measured last; the pieces of a large model's layers are measured on the same ones in turn. */
const last = new WeakMap<OpenModel, { sequences: readonly TokenSequence[]; prefix: PrefixStreams }>();

function prefixOf(model: OpenModel, sequences: readonly TokenSequence[]): PrefixStreams {
  const known = last.get(model);
  if (known?.sequences === sequences) return known.prefix;
  const prefix = sharedPrefix(model.runner, sequences);
  last.set(model, { sequences, prefix });
  return prefix;
}
