"use client";
/** @file States that are designed: of a run, of progress, of an error, of nothing yet. */
import { TRPCClientError } from "@trpc/client";
import type { ReactNode } from "react";
import { withoutFlags } from "../../experiments/flags.ts";
import type { AppRouter } from "../../server/api/router.ts";
import type { RunState } from "../../server/db/schema.ts";
import { duration } from "./format.ts";
import { Icon, type IconName } from "./icons.tsx";

const marks: Record<RunState, { icon: IconName; colour: string }> = {
  queued: { icon: "ring", colour: "var(--ink-3)" },
  running: { icon: "arc", colour: "var(--signal)" },
  stopping: { icon: "pause", colour: "var(--signal)" },
  succeeded: { icon: "check", colour: "var(--ok)" },
  failed: { icon: "cross", colour: "var(--bad)" },
  cancelled: { icon: "square", colour: "var(--ink-3)" },
  lost: { icon: "broken", colour: "var(--warn)" },
};

/** Icon, word and colour together. */
export function RunStateMark({ state, word = true }: { state: RunState; word?: boolean }) {
  const { icon, colour } = marks[state];
  return (
    <span className="state" style={{ color: colour }}>
      <Icon name={icon} size={14} spin={state === "running"} />
      <span className={word ? undefined : "visually-hidden"}>{state}</span>
    </span>
  );
}

export interface ProgressData {
  readonly share: number;
  readonly label: string;
  readonly left: { lowSeconds: number; highSeconds: number } | null;
}

/** `3 to 4 s left`, or nothing while there is nothing to go by. */
export function timeLeft(left: ProgressData["left"]): string {
  if (!left) return "";
  const [low, high] = [duration(left.lowSeconds), duration(left.highSeconds)];
  return left.highSeconds - left.lowSeconds < 2 || low === high ? `${high} left` : `${low} to ${high} left`;
}

export function ProgressBar({ progress, name, lost }: { progress: ProgressData; name: string; lost?: boolean }) {
  const { share, label, left } = progress;
  return (
    <div>
      <div
        className={lost ? "bar lost" : "bar"}
        role="progressbar"
        aria-label={name}
        aria-valuenow={Math.round(share * 100)}
        aria-valuemin={0}
        aria-valuemax={100}
      >
        <div style={{ width: `${share * 100}%` }} />
      </div>
      <div className="row small soft" style={{ marginTop: 2 }}>
        <span>
          {Math.floor(share * 100)} % · {label}
        </span>
        <span className="end" title="at the pace of its last steps">
          {left ? timeLeft(left) : share < 0.05 ? "no estimate before 5 %" : ""}
        </span>
      </div>
    </div>
  );
}

/** What happened, what to do, the code at the right, one action. */
export function ErrorNote({ error, action }: { error: unknown; action?: ReactNode }) {
  const known = error instanceof TRPCClientError ? (error as TRPCClientError<AppRouter>) : null;
  return (
    <div className="note error" role="alert">
      <div className="row" style={{ flexWrap: "nowrap", alignItems: "flex-start" }}>
        <span className="bad">
          <Icon name="cross" />
        </span>
        <strong className="bad">{withoutFlags(error instanceof Error ? error.message : String(error))}</strong>
      </div>
      {known?.data?.hint ? <p>{withoutFlags(known.data.hint)}</p> : null}
      <div className="row">
        {action}
        {known?.data?.espalier ? <code className="code">{known.data.espalier}</code> : null}
      </div>
    </div>
  );
}

/** What is not here, how it comes to be, one button. */
export function Empty({ title, children, action }: { title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="note" style={{ maxWidth: 460 }}>
      <strong>{title}</strong>
      <p>{children}</p>
      {action}
    </div>
  );
}

/** Axes stay, nothing is drawn yet; words instead of a spinner alone. */
export function Waiting({ children }: { children: ReactNode }) {
  return (
    <p className="soft row" role="status">
      <Icon name="arc" size={14} spin /> {children}
    </p>
  );
}
