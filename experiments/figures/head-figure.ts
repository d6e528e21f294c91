/** @file What each head is worth, as a figure: a grid of layers × heads, the metric it shows, the largest effects. */
import { isNoise } from "../../lib/stats/noise.ts";
import { findUnit } from "../../lib/units.ts";
import type { SensitivitySummary } from "../kinds/sensitivity/sensitivity.ts";

export interface HeadCell {
  readonly value: number;
  readonly standardError: number;
}

/** Rows by layer, cells by head; null where a layer has fewer heads than another. */
export type HeadGrid = (HeadCell | null)[][];

export function headGrid(summary: Pick<SensitivitySummary, "units">, metric: string): HeadGrid {
  const grid: HeadGrid = [];
  for (const u of summary.units) {
    const unit = findUnit(u.unit);
    if (unit?.kind !== "heads" || u.metric !== metric) continue;
    const { layer, index: head } = unit;
    while (grid.length <= layer) grid.push([]);
    const row = grid[layer];
    if (!row) continue;
    while (row.length <= head) row.push(null);
    row[head] = { value: u.value, standardError: u.standardError };
  }
  return grid;
}

/** The largest size of a cell, by which colours are scaled; never 0. */
export const largestIn = (grid: HeadGrid): number => Math.max(1e-9, ...grid.flat().map((c) => Math.abs(c?.value ?? 0)));

export interface HeadFigure {
  /** Leave-one-out where it was measured, else the metric that comes first; null when no head was measured. */
  readonly metric: string | null;
  readonly grid: HeadGrid;
  readonly largest: number;
  /** Every head of the grid, by falling value. */
  readonly heads: readonly (HeadCell & { readonly unit: string })[];
  /** Heads that are not told from 0. */
  readonly noise: number;
}

export function headFigure(summary: Pick<SensitivitySummary, "units">): HeadFigure {
  const ofHeads = summary.units.filter((u) => findUnit(u.unit)?.kind === "heads");
  const metrics = ofHeads.map((u) => u.metric);
  const metric = metrics.find((m) => m === "leave-one-out") ?? metrics[0] ?? null;
  const grid = metric === null ? [] : headGrid(summary, metric);
  const heads = ofHeads.filter((u) => u.metric === metric).toSorted((a, b) => b.value - a.value);
  return { metric, grid, largest: largestIn(grid), heads, noise: heads.filter(isNoise).length };
}
