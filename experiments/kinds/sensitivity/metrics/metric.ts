/**
 * @file The definition of a metric: how to compute a unit's raw values from the material it needs,
 * and how to aggregate them.
 *
 * The expensive part, the passes through the model, runs once for all units (`measure-units.ts`). A
 * metric is arithmetic on the result, light enough for pages, which also take its name and meaning
 * from here.
 */
import type { LayerInputStatistics } from "../../../../lib/compress/importance/activation-inputs.ts";
import type { DecoderArchitecture } from "../../../../lib/decoder/architecture.ts";
import type { UnitId, UnitKind } from "../../../../lib/units.ts";

/** By sequence. */
type OfUnit = (unit: UnitId) => readonly number[];

export interface LayerInputs {
  readonly arch: DecoderArchitecture;
  layer(index: number): LayerInputStatistics;
  /** Σ_o |W_oc| of a matrix by its flat name. */
  columnSums(name: string): Float64Array;
}

/** What can be made of a model and a text for metrics, cheapest last. */
export interface Materials {
  /** NLL without the unit less NLL with all, nats per token: passes for every unit. */
  losses: OfUnit;
  /** ∂NLL/∂gate, nats per token: one pass forward and backward. */
  gradients: OfUnit;
  /** Statistics of the inputs of layers and projections: one forward pass. */
  inputs: LayerInputs;
}

export interface UnitScore {
  readonly value: number;
  readonly standardError: number;
  /** The change of loss it foretells, nats per token. */
  readonly predicted?: number;
}

interface MetricFrom<Id extends string, Need extends keyof Materials> {
  /** As in flags, configs and stored results. */
  readonly id: Id;
  /** As in a legend. */
  readonly name: string;
  /** What its value is, in a few words and with its unit. */
  readonly meaning: string;
  /** The unit of its value. */
  readonly unit: string;
  /** What it is defined for. */
  readonly units: readonly UnitKind[];
  readonly needs: Need;
  /** What it can be drawn as, the usual one first: a change of loss, or a size of its own. */
  readonly targets: readonly ("loss" | "size")[];
  /** Raw values of a unit by sequence, which are stored. */
  measure(unit: UnitId, given: Materials[Need]): readonly number[];
  score(perSequence: readonly number[]): UnitScore;
}

export type Metric<Id extends string = string> = {
  [Need in keyof Materials]: MetricFrom<Id, Need>;
}[keyof Materials];

/** The units whose channels a projection reads. */
export const channelUnits = ["heads", "groups", "neurons", "attention", "mlp"] as const satisfies readonly UnitKind[];
