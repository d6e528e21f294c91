/**
 * @file The front, what wins under a budget, and which points tests cannot tell apart. Pure, so that a drag solves it in its
 * frame.
 */
import { lossOf, type Measure, type Point, type Size } from "./measures.ts";

/** Points no other beats in both, by rising size; the base stands apart. Points without a value are on no front. */
export function frontOf(points: readonly Point[], size: Size, measure: Measure): Point[] {
  const measured = points.flatMap((point) => {
    const loss = lossOf(measure, point);
    return loss === null || point.isBase ? [] : [{ point, loss, size: size.of(point) }];
  });
  let best = Number.POSITIVE_INFINITY;
  const front: Point[] = [];
  for (const { point, loss } of measured.sort((a, b) => a.size - b.size || a.loss - b.loss)) {
    if (loss >= best) continue;
    best = loss;
    front.push(point);
  }
  return front;
}

/** Points that belong together, smallest first: every one is tested against that one. */
export interface Capsule {
  readonly points: readonly Point[];
  /** The least p among its pairs: the difference that was closest to being significant. */
  readonly leastP: number;
}

export const SIGNIFICANCE = 0.05;

/**
 * From each point of the front, smallest first, the larger points that a paired test at 5 % does not tell from it. A point is in
 * one capsule at most; one that is alone is in none.
 */
export function capsulesOf(points: readonly Point[], front: readonly Point[], size: Size, measure: Measure): Capsule[] {
  const taken = new Set<Point>();
  const bySize = points.filter((p) => !p.isBase).sort((a, b) => size.of(a) - size.of(b));
  return front.flatMap((smallest): Capsule[] => {
    if (taken.has(smallest)) return [];
    let leastP = 1;
    const own = bySize.filter((p) => {
      if (p === smallest || taken.has(p) || size.of(p) < size.of(smallest)) return false;
      const test = measure.paired(p, smallest);
      if (!test || !(test.p >= SIGNIFICANCE)) return false;
      leastP = Math.min(leastP, test.p);
      return true;
    });
    if (own.length === 0) return [];
    const capsule = [smallest, ...own];
    for (const p of capsule) taken.add(p);
    return [{ points: capsule, leastP }];
  });
}

/** The best within a budget; of those a test cannot tell from it, the smallest. Null when none fits. */
export function offeredWithin(
  front: readonly Point[],
  capsules: readonly Capsule[],
  size: Size,
  budget: number,
): Point | null {
  const best = front.filter((p) => size.of(p) <= budget).at(-1) ?? null;
  const capsule = best ? capsules.find((c) => c.points.includes(best)) : undefined;
  return capsule?.points[0] ?? best;
}

/** Where the budget starts: just above the winner of a trade-off, else in the middle of what there is, on a logarithmic axis. */
export function firstBudget(points: readonly Point[], size: Size, winner: string | null): number {
  const won = points.find((p) => p.model === winner);
  if (won) return Number((1.01 * size.of(won)).toPrecision(3));
  const values = points.map(size.of).filter((v) => v > 0);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return Number(Math.sqrt(low * high).toPrecision(3));
}

/** The next along the front, from a point on it or beside it; stays at the ends. */
export function walk(front: readonly Point[], from: Point | null, size: Size, steps: number): Point | null {
  if (front.length === 0) return null;
  const at = from ? front.indexOf(from) : -1;
  if (at >= 0) return front[Math.max(0, Math.min(front.length - 1, at + steps))] ?? null;
  const after = from ? front.findIndex((p) => size.of(p) >= size.of(from)) : 0;
  const start = after < 0 ? front.length : after;
  return front[Math.max(0, Math.min(front.length - 1, steps > 0 ? start : start - 1))] ?? null;
}
