/** @file What keys and pointers do to a selection of heads; pure, so that it can be tested without a page. */

export interface HeadCellData {
  readonly unit: string;
  readonly value: number | null;
  readonly standardError: number | null;
}

/** Rows by layer. */
export interface GridShape {
  readonly heads: readonly number[];
  /** KV group of each query head, by layer. */
  readonly groupOf: readonly (readonly number[])[];
}

export interface Position {
  readonly layer: number;
  readonly head: number;
}

export const unitAt = ({ layer, head }: Position): string => `L${layer}.H${head}`;

/** Drops all units, or restores them when all are dropped already. */
export function toggled(selection: ReadonlySet<string>, units: readonly string[]): Set<string> {
  const next = new Set(selection);
  const all = units.every((u) => selection.has(u));
  for (const u of units) {
    if (all) next.delete(u);
    else next.add(u);
  }
  return next;
}

export const rowUnits = (shape: GridShape, layer: number): string[] =>
  Array.from({ length: shape.heads[layer] ?? 0 }, (_, head) => unitAt({ layer, head }));

export const columnUnits = (shape: GridShape, head: number): string[] =>
  shape.heads.flatMap((n, layer) => (head < n ? [unitAt({ layer, head })] : []));

export const groupUnits = (shape: GridShape, { layer, head }: Position): string[] => {
  const groups = shape.groupOf[layer] ?? [];
  return groups.flatMap((g, h) => (g === groups[head] ? [unitAt({ layer, head: h })] : []));
};

export function rectangleUnits(shape: GridShape, a: Position, b: Position): string[] {
  const [top, bottom] = [Math.min(a.layer, b.layer), Math.max(a.layer, b.layer)];
  const [left, right] = [Math.min(a.head, b.head), Math.max(a.head, b.head)];
  const units: string[] = [];
  for (let layer = top; layer <= bottom; layer++)
    for (let head = left; head <= Math.min(right, (shape.heads[layer] ?? 0) - 1); head++)
      units.push(unitAt({ layer, head }));
  return units;
}

/** Rows are drawn with the last layer on top, so up is a later layer. */
export function moved(shape: GridShape, at: Position, key: string): Position | null {
  const layers = shape.heads.length;
  const to = (layer: number, head: number): Position => {
    const l = Math.max(0, Math.min(layers - 1, layer));
    return { layer: l, head: Math.max(0, Math.min((shape.heads[l] ?? 1) - 1, head)) };
  };
  if (key === "ArrowUp") return to(at.layer + 1, at.head);
  if (key === "ArrowDown") return to(at.layer - 1, at.head);
  if (key === "ArrowLeft") return to(at.layer, at.head - 1);
  if (key === "ArrowRight") return to(at.layer, at.head + 1);
  if (key === "Home") return to(at.layer, 0);
  if (key === "End") return to(at.layer, Number.MAX_SAFE_INTEGER);
  if (key === "PageUp") return to(at.layer + 4, at.head);
  if (key === "PageDown") return to(at.layer - 4, at.head);
  return null;
}

/** The k least important of what was measured. */
export function lowest(cells: readonly HeadCellData[], k: number): Set<string> {
  const measured = cells.filter((c): c is HeadCellData & { value: number } => c.value !== null);
  return new Set(
    [...measured]
      .sort((a, b) => a.value - b.value)
      .slice(0, k)
      .map((c) => c.unit),
  );
}

/** `L0.H1,L3.H2` in an address; whatever else stands there is left out. */
export const parseSelection = (text: string | null): Set<string> =>
  new Set((text ?? "").split(",").filter((u) => /^L\d{1,4}\.H\d{1,4}$/.test(u)));
