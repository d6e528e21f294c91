/** @file What a task says about its run, gathered and written a few times a second: progress, log lines, points of curves. */
import { type PaceSample, timeLeft } from "../lib/stats/time-left.ts";
import type { Core } from "../server/core.ts";
import type { RunProgress } from "../server/db/schema.ts";
import { appendLog, appendPoints, type LogLine, nextLogSeq } from "../server/runs/journal.ts";
import { type Run, recordProgress } from "../server/runs/lifecycle.ts";
import type { Persistently } from "./while-away.ts";

const FLUSH_MS = 300;

export interface RunJournal {
  progress(done: number, total: number, label: string): void;
  log(level: LogLine["level"], line: string): void;
  points(points: readonly [string, number, number][]): void;
  close(): Promise<void>;
}

/** Begins after the lines of earlier attempts. */
export async function openJournal(
  core: Core,
  run: Run,
  hostId: string,
  persistently: Persistently,
): Promise<RunJournal> {
  let seq = await persistently(() => nextLogSeq(core, run.id));
  let lines: LogLine[] = [];
  let points: [string, number, number][] = [];
  let progress: RunProgress | null = null;
  const samples: PaceSample[] = [];
  const write = async (): Promise<void> => {
    const [l, p, g] = [lines, points, progress];
    if (l.length === 0 && p.length === 0 && g === null) return;
    [lines, points, progress] = [[], [], null];
    try {
      await appendLog(core, run.id, l);
      await appendPoints(core, run, p);
      const live = { log: l.length > 0, metrics: p.length > 0 };
      if (g) await recordProgress(core, hostId, run, g, live);
      else if (live.log || live.metrics) await core.events.publish(`run:${run.id}`, { type: "journal", ...live });
    } catch (thrown) {
      // Curves and lines wait for the database; progress is simply sent again.
      lines = [...l, ...lines];
      points = [...p, ...points];
      throw thrown;
    }
  };
  let writing: Promise<void> | null = null;
  const timer = setInterval(() => {
    writing ??= write()
      .catch(() => undefined)
      .finally(() => {
        writing = null;
      });
  }, FLUSH_MS);
  return {
    progress(done, total, label) {
      const share = total > 0 ? Math.min(1, done / total) : 0;
      samples.push({ atMs: core.clock.nowMs(), share });
      if (samples.length > 60) samples.shift();
      progress = { done, total, label, share, left: timeLeft(samples) };
    },
    log: (level, line) => {
      lines.push({ seq: seq++, level, line: line.slice(0, 4000), at: new Date(core.clock.nowMs()) });
    },
    points: (more) => {
      points.push(...more);
    },
    async close() {
      clearInterval(timer);
      await writing;
      // A host that leaves, or a disk without room, does not keep the run from ending.
      await persistently(write).catch(() => undefined);
    },
  };
}
