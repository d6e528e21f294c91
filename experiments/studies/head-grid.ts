/** @file Importance of heads as a grid: layers × heads. */
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
    const match = /^L(\d+)\.H(\d+)$/.exec(u.unit);
    if (!match || u.metric !== metric) continue;
    const [layer, head] = [Number(match[1]), Number(match[2])];
    while (grid.length <= layer) grid.push([]);
    const row = grid[layer];
    if (!row) continue;
    while (row.length <= head) row.push(null);
    row[head] = { value: u.value, standardError: u.standardError };
  }
  return grid;
}
