/**
 * @file What a selection will cost, before it is measured: the sum of the single effects of its units, and what the engine
 * predicts, from gradients at first, corrected by measured selections later. In nats per token.
 */
import type { Importance } from "../../server/what-if/measured-importance.ts";
import type { WhatIfAnswers } from "../../server/what-if/service.ts";
import { type Selection, unitNames } from "./dropped-units.ts";
import { measured, type UnitWorth, type Worth } from "./unit-worth.ts";

export interface Prediction {
  readonly additive: { readonly value: number; readonly units: number } | null;
  /** The engine's, for this very selection. */
  readonly engine: WhatIfAnswers["predict"] | null;
  /** What units cost one by one; null when one of them is unknown. */
  worthOf(units: readonly string[]): number | null;
}

/** Leave-one-out of every kind of unit there is; Taylor where it is all there is. */
export function singleEffects(all: readonly Importance[]): Worth {
  const found = new Map<string, UnitWorth>();
  for (const metric of ["taylor", "leave-one-out"] as const)
    for (const kind of ["heads", "neurons", "layers", "attention", "mlp"] as const)
      for (const [unit, worth] of measured(all, metric, kind, "loss").worth) found.set(unit, worth);
  return found;
}

export function sumOfEffects(effects: Worth, units: readonly string[]): number | null {
  let sum = 0;
  for (const unit of units) {
    const own = effects.get(unit);
    if (!own) return null;
    sum += own.value;
  }
  return sum;
}

/** The sum of what was measured goes before that of the engine's gradients. */
export function predict(effects: Worth, selection: Selection, engine: Prediction["engine"] = null): Prediction {
  const names = unitNames(selection);
  const sum = sumOfEffects(effects, names) ?? engine?.additive ?? null;
  return {
    additive: sum === null ? null : { value: sum, units: names.length },
    engine,
    worthOf: (units) => sumOfEffects(effects, units),
  };
}
