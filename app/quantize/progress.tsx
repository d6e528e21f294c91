"use client";
/** @file A width map at work, in one line: how far, how fast, how long still, and to stop it. */
import { useMutation } from "@tanstack/react-query";
import type { RunState } from "../../server/db/schema.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton } from "../parts/controls.tsx";
import { fixed } from "../parts/format.ts";
import { ErrorNote, type ProgressData, RunStateMark, timeLeft } from "../parts/states.tsx";

export interface WidthMapRun {
  readonly id: string;
  readonly state: RunState;
  readonly reason: string | null;
  readonly progress: (ProgressData & { readonly done: number; readonly total: number }) | null;
}

/** Cells per second, from the cells left and the estimated time for them. */
export const rateOf = (left: number, seconds: ProgressData["left"]): number | null => {
  const mean = seconds ? (seconds.lowSeconds + seconds.highSeconds) / 2 : 0;
  return mean > 0 && left > 0 ? left / mean : null;
};

export function WidthMapProgress({ run }: { run: WidthMapRun }) {
  const trpc = useTRPC();
  const stop = useMutation(trpc.runs.stop.mutationOptions());
  const resume = useMutation(trpc.runs.resume.mutationOptions());
  const [done, total] = [run.progress?.done ?? 0, run.progress?.total ?? 0];
  const isAtWork = run.state === "running" || run.state === "queued" || run.state === "stopping";
  const rate = isAtWork ? rateOf(total - done, run.progress?.left ?? null) : null;
  const error = stop.error ?? resume.error;
  return (
    <span className="quantize-progress">
      <RunStateMark state={run.state} />
      {run.state === "succeeded" ? null : (
        <span
          className={run.state === "lost" ? "bar lost" : "bar"}
          role="progressbar"
          aria-label="Cells measured"
          aria-valuenow={done}
          aria-valuemin={0}
          aria-valuemax={total}
        >
          <span style={{ width: `${(100 * done) / Math.max(1, total)}%` }} />
        </span>
      )}
      {total > 0 ? (
        <span>
          <strong>{Math.floor(done)}</strong> <span className="soft">of {total}</span>
        </span>
      ) : null}
      {rate !== null ? (
        <span className="soft">
          {fixed(rate, rate < 1 ? 2 : 1)} per s · {timeLeft(run.progress?.left ?? null)}
        </span>
      ) : run.state === "running" ? (
        <span className="soft">no estimate yet</span>
      ) : run.reason && run.state !== "succeeded" ? (
        <span className="soft">{run.reason}</span>
      ) : null}
      {run.state === "running" || run.state === "queued" ? (
        <IconButton
          icon="square"
          label="Stop measuring; what is measured is kept"
          disabled={stop.isPending}
          onClick={() => stop.mutate({ id: run.id })}
        />
      ) : null}
      {run.state === "cancelled" || run.state === "lost" || run.state === "failed" ? (
        <button type="button" disabled={resume.isPending} onClick={() => resume.mutate({ id: run.id })}>
          Resume
        </button>
      ) : null}
      {error ? <ErrorNote error={error} /> : null}
    </span>
  );
}
