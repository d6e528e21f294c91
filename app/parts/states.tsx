"use client";
import { TRPCClientError } from "@trpc/client";
import type { ReactNode } from "react";
import type { AppRouter } from "../../server/api/router.ts";
import type { RunState } from "../../server/db/schema.ts";
import { duration } from "./format.ts";

const marks: Record<RunState, { mark: string; colour: string }> = {
  queued: { mark: "○", colour: "var(--ink-3)" },
  running: { mark: "◔", colour: "var(--signal)" },
  stopping: { mark: "‖", colour: "var(--signal)" },
  succeeded: { mark: "✓", colour: "var(--ok)" },
  failed: { mark: "✕", colour: "var(--bad)" },
  cancelled: { mark: "■", colour: "var(--ink-3)" },
  lost: { mark: "⚡", colour: "var(--warn)" },
};

export function RunStateMark({ state }: { state: RunState }) {
  const { mark, colour } = marks[state];
  return (
    <span style={{ color: colour, whiteSpace: "nowrap" }}>
      <span aria-hidden="true">{mark}</span> {state}
    </span>
  );
}

interface Progress {
  readonly share: number;
  readonly label: string;
  readonly left: { lowSeconds: number; highSeconds: number } | null;
}

export function ProgressBar({ progress, name }: { progress: Progress; name: string }) {
  const { share, label, left } = progress;
  const remaining = left
    ? left.highSeconds - left.lowSeconds < 2
      ? `${duration(left.highSeconds)} left`
      : `${duration(left.lowSeconds)}–${duration(left.highSeconds)} left`
    : "";
  return (
    <div>
      <div
        className="bar"
        role="progressbar"
        aria-label={name}
        aria-valuenow={Math.round(share * 100)}
        aria-valuemin={0}
        aria-valuemax={100}
      >
        <div style={{ width: `${share * 100}%` }} />
      </div>
      <span className="small soft">
        {Math.floor(share * 100)} % · {label} {remaining ? `· ${remaining} at the pace of its last steps` : ""}
      </span>
    </div>
  );
}

export function ErrorNote({ error }: { error: unknown }) {
  const known = error instanceof TRPCClientError ? (error as TRPCClientError<AppRouter>) : null;
  return (
    <div className="error-note" role="alert">
      <strong>{error instanceof Error ? error.message : String(error)}</strong>
      {known?.data?.hint ? <p style={{ margin: "4px 0 0" }}>{known.data.hint}</p> : null}
      {known?.data?.espalier ? <code className="soft">{known.data.espalier}</code> : null}
    </div>
  );
}

export function Empty({ title, children, action }: { title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="region">
      <strong>{title}</strong>
      <p>{children}</p>
      {action}
    </div>
  );
}
