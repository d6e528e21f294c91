/**
 * @file The trade-off of size against loss: which points are worth having, and which wins under a budget.
 *
 *   p is on the front when no q has size_q ≤ size_p and loss_q ≤ loss_p with one of them smaller
 *
 * Loss is anything where less is better (nats per token, KL, error rate). Intervals are ± z · SE of each point;
 * points measured on the same sequences are compared more sharply by `paired.ts`. Left out: more than two axes.
 */
import { EspalierError } from "../errors.ts";
import { z95 } from "./proportion.ts";

export interface TradeOffPoint {
  readonly sizeBytes: number;
  readonly loss: number;
  /** Of the loss; 0 when left out. */
  readonly standardError?: number | undefined;
}

function requireFinite(points: readonly TradeOffPoint[]): void {
  for (const [i, p] of points.entries()) {
    if (!Number.isFinite(p.sizeBytes) || !Number.isFinite(p.loss)) {
      throw new EspalierError("numeric/non-finite", `point ${i}: ${p.sizeBytes} bytes, loss ${p.loss}`);
    }
  }
}

/** The points no other beats, by rising size and strictly falling loss; of equal points the first. O(n log n). */
export function paretoFront<P extends TradeOffPoint>(points: readonly P[]): P[] {
  requireFinite(points);
  const front: P[] = [];
  let best = Number.POSITIVE_INFINITY;
  for (const p of [...points].sort((a, b) => a.sizeBytes - b.sizeBytes || a.loss - b.loss)) {
    if (p.loss < best) {
      front.push(p);
      best = p.loss;
    }
  }
  return front;
}

/** Corners of the curve "least loss within this size": level from each point to the size of the next, then down. */
export function staircase(front: readonly TradeOffPoint[]): { sizeBytes: number; loss: number }[] {
  return front.flatMap(({ sizeBytes, loss }, i) => {
    const before = front[i - 1];
    return before
      ? [
          { sizeBytes, loss: before.loss },
          { sizeBytes, loss },
        ]
      : [{ sizeBytes, loss }];
  });
}

export interface Winner<P> {
  readonly winner: P;
  /** Other points within the budget whose difference to the winner may be noise, or which may yet meet the budget. */
  readonly contenders: P[];
}

const errorOf = (p: TradeOffPoint): number => p.standardError ?? 0;

/** The least loss among points of at most `budgetBytes` (the smaller of equals); null when none is small enough. */
export function winnerUnderSize<P extends TradeOffPoint>(
  points: readonly P[],
  budgetBytes: number,
  z = z95,
): Winner<P> | null {
  requireFinite(points);
  const within = points.filter((p) => p.sizeBytes <= budgetBytes);
  const winner = paretoFront(within).at(-1);
  if (!winner) return null;
  const contenders = within.filter(
    (p) => p !== winner && p.loss - winner.loss <= z * Math.hypot(errorOf(p), errorOf(winner)),
  );
  return { winner, contenders };
}

/**
 * The smallest point whose loss is at most `maxLoss` with its whole interval (the better of equals); null when none.
 * Contenders are smaller points whose interval reaches below `maxLoss`.
 */
export function winnerUnderLoss<P extends TradeOffPoint>(
  points: readonly P[],
  maxLoss: number,
  z = z95,
): Winner<P> | null {
  requireFinite(points);
  const certain = points.filter((p) => p.loss + z * errorOf(p) <= maxLoss);
  const winner = paretoFront(certain)[0];
  if (!winner) return null;
  const contenders = points.filter((p) => p.sizeBytes < winner.sizeBytes && p.loss - z * errorOf(p) <= maxLoss);
  return { winner, contenders };
}
