/** @file Numbers of a report as its figures draw them. */
import type { ReportRun } from "./card-lines.ts";

export interface DecodeSpeed {
  readonly context: number;
  /** Tokens per second: of the median token, of the slow end (p95 of its time) and of the fast end (p5). */
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** One a context, the most filled where there are several; ascending. */
export function decodeSpeeds(run: Pick<ReportRun, "decode">): DecodeSpeed[] {
  const perSecond = (ms: number): number => 1000 / Math.max(ms, 1e-6);
  const chosen = new Map<number, ReportRun["decode"][number]>();
  for (const d of run.decode) if (d.filled >= (chosen.get(d.context)?.filled ?? 0)) chosen.set(d.context, d);
  return [...chosen.values()]
    .sort((a, b) => a.context - b.context)
    .map(({ context, perToken }) => ({
      context,
      median: perSecond(perToken.median),
      low: perSecond(perToken.p95),
      high: perSecond(perToken.p5),
    }));
}

type Window = NonNullable<ReportRun["sustained"]>["windows"][number];

export interface ThermalStretch {
  readonly state: Window["thermal"];
  readonly fromSeconds: number;
  /** Of the whole measurement. */
  readonly share: number;
}

/** Neighbouring windows of one state; a window lasts until the next begins, the last as long as the one before it. */
export function thermalStretches(windows: readonly Pick<Window, "atSeconds" | "thermal">[]): ThermalStretch[] {
  const last = windows.at(-1)?.atSeconds ?? 0;
  const end = last + (last - (windows.at(-2)?.atSeconds ?? 0) || 1);
  const begin = windows[0]?.atSeconds ?? 0;
  const starts = windows.filter((w, i) => i === 0 || w.thermal !== windows[i - 1]?.thermal);
  return starts.map((w, i) => ({
    state: w.thermal,
    fromSeconds: w.atSeconds,
    share: ((starts[i + 1]?.atSeconds ?? end) - w.atSeconds) / (end - begin),
  }));
}
