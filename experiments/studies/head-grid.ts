/** @file Importance of heads as a grid: layers × heads. */
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
