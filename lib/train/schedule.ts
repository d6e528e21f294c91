/**
 * @file The learning rate over a run: linear warm-up, then cosine decay to a share of the peak.
 *
 *   η(t) = peak · t / warm-up                                     for t ≤ warm-up
 *   η(t) = peak · (f + (1 − f) · ½ (1 + cos(π (t − w) / (T − w))))  after
 */
export interface Schedule {
  readonly peak: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
  readonly finalShare: number;
}

/** The rate of step `step`, counted from 1. */
export function learningRate(schedule: Schedule, step: number): number {
  const { peak, warmupSteps, totalSteps, finalShare } = schedule;
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return peak * (finalShare + (1 - finalShare) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}
