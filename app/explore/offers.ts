/**
 * @file What can be measured next, and about how long it takes: of a large model a first map by Taylor within a minute, then
 * leave-one-out of the units in doubt, then of all; of a small one all of it at once.
 */
import type { SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { type Anatomy, type GridKind, kindNames } from "./grid-units.ts";

export interface Offer {
  readonly label: string;
  /** On two cores. */
  readonly seconds: number;
  /** Of a sensitivity run, beside model, text and units. */
  readonly config: {
    readonly metric: SensitivityMetric[];
    readonly limit?: number;
    readonly context?: number;
    readonly refine?: number;
  };
}

export interface OffersFor {
  readonly anatomy: Anatomy;
  readonly kind: GridKind;
  readonly metric: SensitivityMetric;
  readonly units: number;
  /** Units with a value by this metric, and with an estimate in its place. */
  readonly measured: number;
  readonly estimated: number;
}

/** Multiplications two cores carry out in a second, as measured on leave-one-out and Taylor of released models. */
const RATE = 5e10;
/** Weights from which measuring everything takes longer than one waits. */
const LARGE = 2e7;
const LARGE_TEXT = { limit: 8, context: 256 };
const IN_DOUBT = 32;
/** Forward and backward; and the part of a forward pass that a unit of the average layer re-runs. */
const [TAYLOR, LEAVE_ONE_OUT] = [3, 0.6];

export function offers({ anatomy, kind, metric, units, measured, estimated }: OffersFor): Offer[] {
  if (measured >= units) return [];
  const { many } = kindNames[kind];
  const weights = anatomy.tensors.reduce((n, t) => n + t.elements, 0);
  if (weights < LARGE) {
    const metrics: SensitivityMetric[] =
      metric === "leave-one-out" || kind === "layers"
        ? ["leave-one-out", "taylor"]
        : ["leave-one-out", "taylor", metric];
    const label = kind === "heads" ? "Measure every head" : `Measure all ${units} ${many}`;
    // Of a small model the text decides, which is not known here: no time is promised.
    return [{ label, seconds: 0, config: { metric: [...new Set(metrics)] } }];
  }
  const pass = (weights * LARGE_TEXT.limit * LARGE_TEXT.context) / RATE;
  const first: Offer = {
    label: "Draw a first map",
    seconds: TAYLOR * pass,
    config: {
      metric: [...new Set<SensitivityMetric>(["taylor", metric === "leave-one-out" ? "taylor" : metric])],
      ...LARGE_TEXT,
    },
  };
  if (metric !== "leave-one-out") return [first];
  const all: Offer = {
    label: `Measure all ${units}`,
    seconds: LEAVE_ONE_OUT * units * pass,
    config: { metric: ["leave-one-out", "taylor"], ...LARGE_TEXT },
  };
  if (measured + estimated === 0) return [first, all];
  const some = Math.min(IN_DOUBT, units);
  const doubt: Offer = {
    label: `Measure the ${some} in doubt`,
    seconds: (LEAVE_ONE_OUT * some + TAYLOR) * pass,
    config: { metric: ["leave-one-out", "taylor"], refine: some, ...LARGE_TEXT },
  };
  return measured >= some ? [all] : [doubt, all];
}
