/** @file The map of tensors × widths as a page draws it: columns by layer, a state for every cell, the line of an allocation. Pure. */
import type { WidthMapCell, WidthMapColumn } from "../../experiments/kinds/sensitivity/width-map.ts";
import type { Finalist } from "../../lib/compress/allocate/divergence-prediction.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";
import { signed } from "../parts/format.ts";

export const targets = { kl: "KL to base", loss: "loss" } as const;
export type Target = keyof typeof targets;

const letters: Readonly<Record<string, string>> = {
  query: "q",
  key: "k",
  value: "v",
  output: "o",
  gate: "g",
  up: "u",
  down: "d",
};

export interface Group {
  readonly name: string;
  readonly columns: readonly WidthMapColumn[];
}

/** Columns in their order, those of one layer together. */
export function groupsOf(columns: readonly WidthMapColumn[]): Group[] {
  const groups: { name: string; columns: WidthMapColumn[] }[] = [];
  for (const column of columns) {
    const name = column.layer === null ? (column.role === "embedding" ? "embed" : column.role) : `L${column.layer}`;
    const last = groups.at(-1);
    if (last?.name === name) last.columns.push(column);
    else groups.push({ name, columns: [column] });
  }
  return groups;
}

export const letterOf = (column: WidthMapColumn): string =>
  column.layer === null ? "" : (letters[column.role] ?? column.role);

/** `4-bit`, `int4`, `fp16`. */
export const showWidth = (width: string): string =>
  width.startsWith("palette") ? `${width.slice(7)}-bit` : width.startsWith("affine") ? `int${width.slice(6)}` : width;

const said = (width: string): string => showWidth(width).replace("-bit", " bit");

/** `L3 query, 3 bit, plus 0.0041 nats`. */
export function announce(
  column: WidthMapColumn,
  width: Width,
  cell: WidthMapCell | undefined,
  target: Target,
  isMeasuring: boolean,
): string {
  const name = column.layer === null ? column.role : `L${column.layer} ${column.role}`;
  if (!cell) return `${name}, ${said(width)}, ${isMeasuring ? "measuring now" : "not measured yet"}`;
  const { mean, standardError } = cell[target];
  const digits = Math.abs(mean) < 0.001 ? 6 : 4;
  const sign = mean < 0 ? "minus" : "plus";
  const error = Number.isFinite(standardError) ? `, standard error ${standardError.toFixed(digits)}` : "";
  return `${name}, ${said(width)}, ${sign} ${Math.abs(mean).toFixed(digits)} nats${error}`;
}

/** The cell at work: cells are measured row by row, most bits first, so it is the first that is missing. */
export function measuringNow(
  columns: readonly WidthMapColumn[],
  widths: readonly Width[],
  cells: readonly WidthMapCell[],
): string | null {
  const known = new Set(cells.map((c) => cellKey(c.tensor, c.width)));
  for (const width of widths)
    for (const { tensor } of columns) if (!known.has(cellKey(tensor, width))) return cellKey(tensor, width);
  return null;
}

export const cellKey = (tensor: string, width: string): string => `${tensor} ${width}`;

/** Six decades up to the largest there is, so that colours hold still while cells come in. */
export function costDomain(cells: readonly WidthMapCell[], target: Target): readonly [number, number] {
  const most = Math.max(...cells.map((c) => c[target].mean), 1e-3);
  const high = 10 ** Math.ceil(Math.log10(most) - 1e-9);
  return [high / 1e6, high];
}

export interface Box {
  readonly x: number;
  readonly width: number;
}

/** Places of columns in `width` pixels behind a margin: groups apart, none narrower than `least`. */
export function columnBoxes(
  groups: readonly Group[],
  width: number,
  margin: number,
  least = 12,
): { boxes: Map<string, Box>; width: number } {
  const gap = 7;
  const columns = groups.reduce((n, g) => n + g.columns.length, 0);
  const each = Math.max(least, (width - margin - gap * Math.max(0, groups.length - 1)) / Math.max(1, columns));
  const boxes = new Map<string, Box>();
  let x = margin;
  for (const group of groups) {
    for (const column of group.columns) {
      boxes.set(column.tensor, { x, width: each });
      x += each;
    }
    x += gap;
  }
  return { boxes, width: Math.max(width, x - gap) };
}

/** The line through the chosen rows: level across a column, upright between two, broken where nothing is chosen or layers begin. */
export function allocationPath(
  groups: readonly Group[],
  boxes: ReadonlyMap<string, Box>,
  widths: readonly Width[],
  chosen: Readonly<Record<string, string>>,
  rowY: (row: number) => number,
): string {
  let path = "";
  let before: number | null = null;
  for (const group of groups) {
    // The embedding is a column of its own; layers are read as one line.
    if (group.columns[0]?.layer === null) before = null;
    for (const { tensor } of group.columns) {
      const box = boxes.get(tensor);
      const row = (widths as readonly string[]).indexOf(chosen[tensor] ?? "");
      if (!box || row < 0) {
        before = null;
        continue;
      }
      const y = rowY(row);
      path += before === null ? `M${box.x} ${y}` : `H${box.x}V${y}`;
      path += `H${box.x + box.width}`;
      before = y;
    }
    if (group.columns[0]?.layer === null) before = null;
  }
  return path;
}

/** The next cell by an arrow, Home or End, or a page of four layers; null for other keys. */
export function movedCell(
  columns: readonly WidthMapColumn[],
  rows: number,
  at: { column: number; row: number },
  key: string,
): { column: number; row: number } | null {
  const layer = columns[at.column]?.layer ?? -1;
  const to = {
    ArrowLeft: { ...at, column: at.column - 1 },
    ArrowRight: { ...at, column: at.column + 1 },
    ArrowUp: { ...at, row: at.row - 1 },
    ArrowDown: { ...at, row: at.row + 1 },
    Home: { ...at, column: 0 },
    End: { ...at, column: columns.length - 1 },
    PageUp: {
      ...at,
      column: Math.max(
        0,
        columns.findIndex((c) => c.layer !== null && c.layer >= layer - 4),
      ),
    },
    PageDown: {
      ...at,
      column: ((next) => (next < 0 ? columns.length - 1 : next))(
        columns.findIndex((c) => (c.layer ?? -1) >= layer + 4),
      ),
    },
  }[key];
  if (!to) return null;
  return {
    column: Math.max(0, Math.min(columns.length - 1, to.column)),
    row: Math.max(0, Math.min(rows - 1, to.row)),
  };
}

export interface MeasuredRecipe {
  readonly model: string;
  readonly sizeBytes: number;
  readonly recipe: Readonly<Record<string, string>>;
  readonly kl: number;
  readonly standardError: number;
}

export interface PlacedFinalist extends MeasuredRecipe {
  /** All tensors alike. */
  readonly isUniform: boolean;
  /** The sum of single effects; null when it was stored otherwise than the map, or some cell is missing. */
  readonly predicted: number | null;
}

/** Finalists beside what the map predicts of them. Sizes that agree to the byte say that tensors were stored alike. */
export function placeFinalists(
  finalists: readonly MeasuredRecipe[],
  map: {
    readonly cells: readonly WidthMapCell[];
    readonly columns: readonly WidthMapColumn[];
    readonly fixedBytes: number;
  },
): PlacedFinalist[] {
  const cells = new Map(map.cells.map((c) => [cellKey(c.tensor, c.width), c]));
  return finalists.map((f) => {
    const own = map.columns.map((c) => cells.get(cellKey(c.tensor, f.recipe[c.tensor] ?? "")));
    const sizeBytes = own.reduce((n, c) => n + (c?.sizeBytes ?? 0), map.fixedBytes);
    const isAlike = own.every((c) => c !== undefined) && sizeBytes === f.sizeBytes;
    return {
      ...f,
      isUniform: new Set(Object.values(f.recipe)).size === 1,
      predicted: isAlike ? own.reduce((n, c) => n + (c?.kl.mean ?? 0), 0) : null,
    };
  });
}

export const calibration = (placed: readonly PlacedFinalist[]): Finalist[] =>
  placed.flatMap((f) => (f.predicted === null ? [] : [{ predicted: f.predicted, measured: f.kl }]));

/** The least and the most bytes the measured widths can take. */
export function budgetRange(map: {
  readonly cells: readonly WidthMapCell[];
  readonly columns: readonly WidthMapColumn[];
  readonly fixedBytes: number;
}): readonly [number, number] {
  let [low, high] = [map.fixedBytes, map.fixedBytes];
  for (const column of map.columns) {
    const own = map.cells.filter((c) => c.tensor === column.tensor).map((c) => c.sizeBytes);
    low += own.length > 0 ? Math.min(...own) : column.fp16Bytes;
    high += own.length > 0 ? Math.max(...own) : column.fp16Bytes;
  }
  return [low, high];
}

export const showCost = (mean: number): string => `${signed(mean * 1e3, Math.abs(mean) < 1e-4 ? 4 : 2)}`;
