/**
 * @file Chooses a width for every tensor from the loss of each tensor at each width, fast enough to
 * solve again while a budget is dragged.
 *
 * Only measured widths are chosen. A tensor without measurements stays fp16 and is counted as such.
 * Costs are the mean ΔKL of the width map; the budget counts matrices and norms, as in a package's
 * weight file.
 */

import { additiveEffect, type Finalist, type Prediction, predictDivergence } from "./divergence-prediction.ts";
import { allocate, allocationCurve, type Choice, type CurvePoint, type Solution } from "./knapsack.ts";

/** What is needed of a width map (`WidthMap` of the sensitivity experiment is one). */
export interface MeasuredWidths<Width extends string = string> {
  readonly columns: readonly { readonly tensor: string; readonly elements: number; readonly fp16Bytes: number }[];
  readonly cells: readonly {
    readonly tensor: string;
    readonly width: Width;
    readonly sizeBytes: number;
    readonly kl: { readonly mean: number };
  }[];
  readonly fixedBytes: number;
  readonly perSequence: Readonly<Record<string, Readonly<Record<string, { readonly kl: readonly number[] }>>>>;
}

export interface Allocation<Width extends string = string> {
  /** tensor → width; null when even the smallest widths do not fit; then `sizeBytes` is the size
   * they need. */
  readonly tensors: Readonly<Record<string, Width | "fp16">> | null;
  /** Norms included. */
  readonly sizeBytes: number;
  readonly bitsPerWeight: number;
  readonly prediction: Prediction;
  /** Tensors at each width. */
  readonly counts: Readonly<Record<string, number>>;
  /** Of which nothing is measured. */
  readonly unmeasured: readonly string[];
  readonly optimal: boolean;
  /** Share by which the optimum may be better; 0 when this one is proven optimal. */
  readonly gap: number;
  /** ΔKL that one more byte would save. */
  readonly klPerByte: number;
}

interface Problem<Width extends string> {
  readonly units: Choice[][];
  readonly names: (Width | "fp16")[][];
  readonly unmeasured: string[];
}

function problemOf<Width extends string>(map: MeasuredWidths<Width>): Problem<Width> {
  const byTensor = new Map<string, MeasuredWidths<Width>["cells"][number][]>();
  for (const cell of map.cells) byTensor.set(cell.tensor, [...(byTensor.get(cell.tensor) ?? []), cell]);
  const unmeasured: string[] = [];
  const units: Choice[][] = [];
  const names: (Width | "fp16")[][] = [];
  for (const { tensor, fp16Bytes } of map.columns) {
    const cells = byTensor.get(tensor);
    if (!cells) unmeasured.push(tensor);
    units.push(cells?.map((c) => ({ sizeBytes: c.sizeBytes, cost: c.kl.mean })) ?? [{ sizeBytes: fp16Bytes, cost: 0 }]);
    names.push(cells?.map((c) => c.width) ?? ["fp16"]);
  }
  return { units, names, unmeasured };
}

function described<Width extends string>(
  map: MeasuredWidths<Width>,
  problem: Problem<Width>,
  found: Pick<Solution, "choices" | "sizeBytes">,
  finalists: readonly Finalist[],
): Pick<Allocation<Width>, "tensors" | "sizeBytes" | "bitsPerWeight" | "prediction" | "counts"> {
  const tensors: Record<string, Width | "fp16"> = {};
  const counts: Record<string, number> = {};
  const raw: (readonly number[])[] = [];
  for (const [u, { tensor }] of map.columns.entries()) {
    const width = problem.names[u]?.[found.choices?.[u] ?? -1];
    if (width === undefined) continue;
    tensors[tensor] = width;
    counts[width] = (counts[width] ?? 0) + 1;
    const kl = map.perSequence[tensor]?.[width]?.kl;
    if (kl) raw.push(kl);
  }
  const { value, standardError } = additiveEffect(raw);
  const sizeBytes = found.sizeBytes + map.fixedBytes;
  // Norms are two bytes a weight.
  const weights = map.columns.reduce((n, c) => n + c.elements, 0) + map.fixedBytes / 2;
  return {
    tensors: found.choices ? tensors : null,
    sizeBytes,
    bitsPerWeight: (8 * sizeBytes) / weights,
    prediction: predictDivergence(value, standardError, finalists),
    counts,
  };
}

/** The least predicted ΔKL in `budgetBytes`, norms included. */
export function allocateWidths<Width extends string>(
  map: MeasuredWidths<Width>,
  budgetBytes: number,
  finalists: readonly Finalist[] = [],
): Allocation<Width> {
  const problem = problemOf(map);
  const found = allocate(problem.units, budgetBytes - map.fixedBytes);
  return {
    ...described(map, problem, found, finalists),
    unmeasured: problem.unmeasured,
    optimal: found.optimal,
    gap: found.optimal || !(found.cost > 0) ? 0 : (found.cost - found.lowerBound) / found.cost,
    klPerByte: found.costPerByte,
  };
}

/** Points of the best predicted ΔKL over size, smallest first, for the curve under the budget. */
export function allocationPoints<Width extends string>(
  map: MeasuredWidths<Width>,
  finalists: readonly Finalist[] = [],
): { sizeBytes: number; bitsPerWeight: number; prediction: Prediction }[] {
  const problem = problemOf(map);
  return allocationCurve(problem.units).map((point: CurvePoint) => {
    const { sizeBytes, bitsPerWeight, prediction } = described(map, problem, point, finalists);
    return { sizeBytes, bitsPerWeight, prediction };
  });
}

/** Every tensor at one width, for comparison; null while some tensor has not been measured at it. */
export function uniformAllocation<Width extends string>(
  map: MeasuredWidths<Width>,
  width: Width,
): { sizeBytes: number; prediction: Prediction } | null {
  const cells = map.cells.filter((c) => c.width === width);
  if (cells.length < map.columns.length) return null;
  const { value, standardError } = additiveEffect(cells.map((c) => map.perSequence[c.tensor]?.[width]?.kl ?? []));
  return {
    sizeBytes: map.fixedBytes + cells.reduce((n, c) => n + c.sizeBytes, 0),
    prediction: predictDivergence(value, standardError),
  };
}
