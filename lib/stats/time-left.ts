/**
 * @file How long work will still take, as a range, from the pace of its latest samples.
 *
 *   left = (1 − share) / pace,   pace = Δshare / Δt over all samples, their first and their second half
 *
 * The range spans the three paces. There is no answer before 5 % or three samples: it would be a guess.
 */

export interface PaceSample {
  readonly atMs: number;
  /** Of the whole, 0 to 1. */
  readonly share: number;
}

export interface TimeLeft {
  readonly lowSeconds: number;
  readonly highSeconds: number;
}

export function timeLeft(samples: readonly PaceSample[]): TimeLeft | null {
  const share = samples.at(-1)?.share ?? 0;
  if (share < 0.05 || samples.length < 3) return null;
  const middle = Math.floor(samples.length / 2);
  const parts = [samples, samples.slice(0, middle + 1), samples.slice(middle)];
  const paces = parts.map(pace).filter((p) => p > 0);
  if (paces.length === 0) return null;
  const seconds = paces.map((p) => (1 - share) / p / 1000);
  return { lowSeconds: Math.min(...seconds), highSeconds: Math.max(...seconds) };
}

/** Share a millisecond. */
function pace(samples: readonly PaceSample[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last || last.atMs <= first.atMs || last.share <= first.share) return 0;
  return (last.share - first.share) / (last.atMs - first.atMs);
}
