/**
 * @file Where the names of points go on a drawing without lying on each other: the first of a few places around its point that is
 * free, in the order given. A name for which none is free keeps the place that covers least.
 */

export interface Named {
  readonly x: number;
  readonly y: number;
  readonly name: string;
}

export interface LabelPlace {
  readonly x: number;
  /** Of the baseline. */
  readonly y: number;
  readonly anchor: "start" | "end";
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Of 11 px type: its line, and the mean advance of a character. */
const [LINE, ADVANCE, REACH] = [11, 5.8, 9];
const around: readonly (readonly [dy: number, anchor: LabelPlace["anchor"]])[] = [-6, 14, -19, 27, -32, 40].flatMap(
  (dy) => [[dy, "start"] as const, [dy, "end"] as const],
);

const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) *
  Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));

/** One place for each, in their order, inside `left` to `right`. */
export function labelPlaces(points: readonly Named[], left: number, right: number): LabelPlace[] {
  const taken: Box[] = points.map(({ x, y }) => ({ left: x - 5, right: x + 5, top: y - 5, bottom: y + 5 }));
  return points.map(({ x, y, name }) => {
    const width = ADVANCE * name.length;
    const options = around.flatMap(([dy, anchor]) => {
      const at = anchor === "start" ? x + REACH : x - REACH;
      const from = anchor === "start" ? at : at - width;
      if (from < left || from + width > right) return [];
      const box = { left: from, right: from + width, top: y + dy - LINE + 2, bottom: y + dy + 2 };
      return [{ place: { x: at, y: y + dy, anchor }, box, covers: taken.reduce((n, t) => n + overlap(box, t), 0) }];
    });
    const free = options.find((o) => o.covers === 0) ?? options.sort((a, b) => a.covers - b.covers)[0];
    if (!free) return { x: x + REACH, y: y - 6, anchor: "start" };
    taken.push(free.box);
    return free.place;
  });
}
