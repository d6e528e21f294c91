/**
 * @file The trade-off of size against loss: the Pareto front.
 *
 *   p is on the front when no q has size_q ≤ size_p and loss_q ≤ loss_p with one of them smaller
 *
 * Loss is anything where less is better (nats per token, KL, error rate). Points measured on the same sequences are compared
 * by `paired-difference.ts`. Not included: more than two axes.
 */
import { EspalierError } from "../errors.ts";

export interface TradeOffPoint {
  readonly sizeBytes: number;
  readonly loss: number;
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
