/**
 * @file A progress line on standard error for anything that takes over a second: share done, rate, time left.
 *
 * The time left is a range from the pace of the last units; none is shown before 5 % or three reports, because it would
 * be a guess. Nothing is printed when standard error is not a terminal, but for a line a minute.
 */
import type { Progress } from "../experiments/definition.ts";
import type { Clock } from "../lib/random.ts";

export interface ProgressLine {
  report(progress: Progress): void;
  clear(): void;
}

export interface Screen {
  readonly isTerminal: boolean;
  readonly columns: number;
  write(text: string): void;
}

export function progressLine(screen: Screen, clock: Clock): ProgressLine {
  const started = clock.nowMs();
  const samples: { at: number; share: number }[] = [];
  let shown = false;
  let lastPrinted = 0;
  return {
    report({ done, total, label }) {
      const now = clock.nowMs();
      const share = total > 0 ? done / total : 0;
      samples.push({ at: now, share });
      if (samples.length > 40) samples.shift();
      if (now - started < 1000 || now - lastPrinted < (screen.isTerminal ? 100 : 60_000)) return;
      lastPrinted = now;
      const text = `${bar(share)} ${Math.floor(share * 100)} %  ${label}  ${remaining(samples, share)}`;
      if (screen.isTerminal) {
        screen.write(`\r\u001b[K${text.slice(0, screen.columns - 1)}`);
        shown = true;
      } else screen.write(`${text}\n`);
    },
    clear() {
      if (shown) screen.write("\r\u001b[K");
      shown = false;
    },
  };
}

function bar(share: number): string {
  const width = 24;
  const full = Math.round(share * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)}`;
}

/** `12–18 s left`, from the slowest and fastest half of the recent samples. */
export function remaining(samples: readonly { at: number; share: number }[], share: number): string {
  if (share < 0.05 || samples.length < 3) return "";
  const pace = (part: readonly { at: number; share: number }[]): number => {
    const first = part[0];
    const last = part.at(-1);
    if (!first || !last || last.at === first.at || last.share <= first.share) return 0;
    return (last.share - first.share) / (last.at - first.at);
  };
  const middle = Math.floor(samples.length / 2);
  const paces = [pace(samples), pace(samples.slice(0, middle + 1)), pace(samples.slice(middle))].filter((p) => p > 0);
  if (paces.length === 0) return "";
  const seconds = paces.map((p) => (1 - share) / p / 1000);
  const low = Math.min(...seconds);
  const high = Math.max(...seconds);
  return duration(low) === duration(high) ? `${duration(high)} left` : `${duration(low)}–${duration(high)} left`;
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
