/**
 * @file Where the cells of a grid stand: numbers in them when there is room, colour and marks when there is less, one drawing
 * without a cell of its own each when there is none.
 */
import type { UnitGridModel } from "./grid-units.ts";

export type GridMode = "numbers" | "marks" | "dense";

export interface GridLayout {
  readonly mode: GridMode;
  readonly width: number;
  readonly left: number;
  readonly top: number;
  /** Where the cells end and the marks beside them begin. */
  readonly right: number;
  readonly bottom: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly pitch: number;
  x(layer: number, column: number): number;
  y(layer: number): number;
  /** The unit under a point, gaps given to the cell before them; null outside. */
  at(x: number, y: number): { layer: number; column: number } | null;
}

/** The marks beside the cells: blocks removed whole, neurons kept. */
export const ASIDE = 206;
const LEFT = 40;
const TOP = 42;
const WIDEST = 104;
const TALLEST = 620;

export function gridLayout(grid: UnitGridModel, width: number, aside: number = ASIDE): GridLayout {
  const rows = grid.rows.length;
  const breaks = grid.rows.map((row) => {
    let found = 0;
    return row.map((u, c) => {
      if (c > 0 && u.group !== row[c - 1]?.group) found++;
      return found;
    });
  });
  const columns = Math.max(1, ...grid.rows.map((r) => r.length));
  const gaps = Math.max(0, ...breaks.map((b) => b.at(-1) ?? 0));
  const room = width - LEFT - aside;
  const sizes = (gap: number, groupGap: number): number => (room - gaps * groupGap - (columns - 1) * gap) / columns;
  const roomy = Math.min(WIDEST, sizes(3, 10));
  const tallRow = Math.min(48, Math.floor(TALLEST / Math.max(1, rows)));
  const mode: GridMode =
    roomy >= 44 && tallRow >= 44 ? "numbers" : sizes(2, 8) >= 20 && TALLEST / rows >= 18 ? "marks" : "dense";
  const [gap, groupGap] = mode === "numbers" ? [3, 10] : mode === "marks" ? [2, 8] : [columns > 200 ? 0 : 0.75, 3];
  const cellWidth = mode === "numbers" ? roomy : Math.max(1, Math.min(44, sizes(gap, groupGap)));
  const pitch =
    mode === "numbers"
      ? tallRow
      : mode === "marks"
        ? Math.min(26, TALLEST / rows)
        : Math.max(6, Math.min(18, TALLEST / rows));
  const cellHeight = mode === "numbers" ? pitch - 8 : mode === "marks" ? pitch - 5 : pitch - 1;
  const x = (layer: number, column: number): number =>
    LEFT + column * (cellWidth + gap) + (breaks[layer]?.[column] ?? 0) * groupGap;
  const y = (layer: number): number => TOP + (rows - 1 - layer) * pitch;
  const right = LEFT + columns * (cellWidth + gap) - gap + gaps * groupGap;
  const bottom = TOP + rows * pitch;
  return {
    mode,
    width,
    left: LEFT,
    top: TOP,
    right,
    bottom,
    cellWidth,
    cellHeight,
    pitch,
    x,
    y,
    at(px, py) {
      const layer = rows - 1 - Math.floor((py - TOP) / pitch);
      const row = grid.rows[layer];
      if (!row || px < LEFT - gap || px > right + gap) return null;
      for (let column = row.length - 1; column >= 0; column--) if (px >= x(layer, column)) return { layer, column };
      return row.length > 0 ? { layer, column: 0 } : null;
    },
  };
}
