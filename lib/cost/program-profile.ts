/**
 * @file The facts about a program that the cost model needs, small enough to store: the workload of
 * every function, and for every operation its row, its layer and its expected unit.
 *
 * With it, modelled figures can be updated for new parameters, and a report's placement compared,
 * without opening the package again.
 */
import type { PackageUnits } from "../formats/coreml/compute-units.ts";
import { attendedPositions, viewFunction } from "../mil/function-view.ts";
import type { Program } from "../mil/program.ts";
import type { TimedFunction } from "./estimate.ts";
import { layerOf, type Row, rowOf, type Unit } from "./placement.ts";
import { programWorkload } from "./program-workload.ts";

/** Raised when the cost model changes how it counts or places anything. */
export const PROFILE_VERSION = 1;

export interface PlacedOperation {
  /** Name of the first output, by which a compute plan calls it. */
  readonly output: string;
  readonly operator: string;
  readonly row: Row;
  /** Null outside layers. */
  readonly layer: number | null;
  readonly unit: Unit;
}

export interface FunctionProfile extends TimedFunction {
  readonly operations: readonly PlacedOperation[];
}

export interface PackageProfile {
  readonly units: PackageUnits;
  readonly functions: readonly FunctionProfile[];
}

export function profileProgram(program: Program, units: PackageUnits): PackageProfile {
  const functions = [...program.functions]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((fn): FunctionProfile => {
      const view = viewFunction(fn);
      const { workload, placement } = programWorkload(view, units);
      return {
        function: fn.name,
        context: attendedPositions(view),
        workload,
        operations: [...placement].map(([op, unit]) => ({
          output: op.outputs[0]?.name ?? op.name,
          operator: op.type,
          row: rowOf(op, view),
          layer: layerOf(op),
          unit,
        })),
      };
    });
  return { units, functions };
}
