/** @file The workload of a function of a program: every operation placed, its weights, arithmetic and cache counted. */
import type { PackageUnits } from "../formats/coreml/compute-units.ts";
import {
  bytesIn,
  type FunctionView,
  isProduct,
  operand,
  positionsPerCall,
  shapeOf,
  weightOperand,
} from "../mil/function-view.ts";
import { opCost } from "../mil/op.ts";
import "../mil/ops/all.ts";
import type { Operation, Value } from "../mil/program.ts";
import { countHandOvers, placeOperation, type Unit } from "./placement.ts";
import { inDmaNotch, storedWeight } from "./stored-weight.ts";
import type { Product, Workload } from "./workload.ts";

export interface PlacedWorkload {
  readonly workload: Workload;
  readonly placement: ReadonlyMap<Operation, Unit>;
}

export function programWorkload(view: FunctionView, units: PackageUnits, calls = 1): PlacedWorkload {
  const placement = new Map<Operation, Unit>();
  const products: Product[] = [];
  const streamed = new Set<Value>();
  let [tables, crowdedTables, notchBytes, cacheBytes, elsewhereBytes] = [0, 0, 0, 0, 0];
  for (const op of view.computed) {
    const unit = placeOperation(op, view, units);
    if (unit === null) continue;
    placement.set(op, unit);
    cacheBytes += cacheRead(op);
    if (!isProduct(op) && op.type !== "scaled_dot_product_attention") continue;
    const weight = weightOperand(op);
    const stored = weight ? storedWeight(weight) : null;
    // Two products that share a weight stream it once.
    const first = weight !== null && !streamed.has(weight);
    const sizeBytes = stored && first ? stored.sizeBytes : 0;
    if (weight) streamed.add(weight);
    if (unit !== "ANE") {
      elsewhereBytes += sizeBytes;
      continue;
    }
    const scheme = stored && stored.scheme !== "blocks" ? stored.scheme : "fp16";
    products.push({ scheme, weightBytes: sizeBytes, flops: opCost(op).flops });
    if (stored && first) {
      tables += stored.tables;
      crowdedTables += stored.crowdedTables;
      if (stored.scheme === "fp16" && weight && inDmaNotch(shapeOf(weight))) notchBytes += sizeBytes;
    }
  }
  const workload: Workload = {
    positions: positionsPerCall(view.fn),
    products,
    tables,
    crowdedTables,
    notchBytes,
    cacheBytes,
    operations: placement.size,
    handOvers: countHandOvers(view, placement),
    elsewhereBytes,
    elsewhere: units === "cpuAndNeuralEngine" ? "CPU" : "GPU",
    calls,
  };
  return { workload, placement };
}

/** Keys or values a product between activations reads: its second operand. */
function cacheRead(op: Operation): number {
  const read = (name: string): number => {
    const v = operand(op, name);
    return v ? bytesIn(v) : 0;
  };
  if (op.type === "scaled_dot_product_attention") return read("key") + read("value");
  return op.type === "matmul" && weightOperand(op) === null ? read("y") : 0;
}
