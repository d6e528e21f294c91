/**
 * @file A progress line on standard error for anything that takes over a second: share done, rate, time left.
 *
 * The time left is a range from the pace of the last units; none is shown before 5 % or three reports, because it would
 * be a guess. Nothing is printed when standard error is not a terminal, but for a line a minute.
 */
import type { Progress } from "../experiments/definition.ts";
import type { Clock } from "../lib/random.ts";
import { type PaceSample, type TimeLeft, timeLeft } from "../lib/stats/time-left.ts";

export interface ProgressLine {
  /** `left` where somebody closer to the work knows it; otherwise it is made of the pace of what is reported. */
  report(progress: Progress, left?: string): void;
  clear(): void;
}

export interface Screen {
  readonly isTerminal: boolean;
  readonly columns: number;
  write(text: string): void;
}

export function progressLine(screen: Screen, clock: Clock): ProgressLine {
  const started = clock.nowMs();
  const samples: PaceSample[] = [];
  let shown = false;
  let lastPrinted = 0;
  return {
    report({ done, total, label }, left) {
      const now = clock.nowMs();
      const share = total > 0 ? done / total : 0;
      samples.push({ atMs: now, share });
      if (samples.length > 40) samples.shift();
      if (now - started < 1000 || now - lastPrinted < (screen.isTerminal ? 100 : 60_000)) return;
      lastPrinted = now;
      const text = `${bar(share)} ${Math.floor(share * 100)} %  ${label}  ${left ?? remaining(timeLeft(samples))}`;
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

/** `12–18 s left`; nothing when there is too little to go by. */
export function remaining(left: TimeLeft | null): string {
  if (!left) return "";
  const [low, high] = [duration(left.lowSeconds), duration(left.highSeconds)];
  return low === high ? `${high} left` : `${low}–${high} left`;
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
