"use client";
/** @file The head of a run: its state, how far it is, how long it still takes and by what, and what can be done with it. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { withoutFlags } from "../../../experiments/flags.ts";
import { useTRPC } from "../../parts/api.tsx";
import { Keys } from "../../parts/controls.tsx";
import { count } from "../../parts/format.ts";
import { useHotkeys } from "../../parts/hotkeys.ts";
import { Icon } from "../../parts/icons.tsx";
import { Link } from "../../parts/link.tsx";
import { ErrorNote, RunStateMark, timeLeft } from "../../parts/states.tsx";
import { InlineField } from "../inline-field.tsx";
import { configText } from "../run-row.ts";
import { useRunEdits } from "../use-run-edits.ts";
import { clockTime, doneOf, type Run } from "./run-facts.ts";

export function RunHeader({ run, isLive }: { run: Run; isLive: boolean }) {
  const trpc = useTRPC();
  const router = useRouter();
  const queries = useQueryClient();
  const edits = useRunEdits();
  const [isEditing, setEditing] = useState<"name" | "tags" | "note" | null>(null);
  const refetch = { onSuccess: () => void queries.invalidateQueries({ queryKey: [["runs", "get"]] }) };
  const stop = useMutation(trpc.runs.stop.mutationOptions(refetch));
  const cancel = useMutation(trpc.runs.cancel.mutationOptions(refetch));
  const resume = useMutation(trpc.runs.resume.mutationOptions(refetch));
  const retry = useMutation(trpc.runs.retry.mutationOptions({ onSuccess: (n) => router.push(`/runs/${n.id}`) }));
  const { id } = run;
  const canStop = run.state === "queued" || run.state === "running";
  const canResume = run.state === "cancelled" || run.state === "failed" || run.state === "lost";
  useHotkeys({
    "run.stop": canStop ? () => stop.mutate({ id }) : undefined,
    "run.clone": () => router.push(`/new?clone=${id}`),
  });
  const failed = [stop, cancel, resume, retry].find((m) => m.error)?.error;
  const made = run.relatives.filter((p) => p.relation === "made what it needs");
  const parent = run.relatives.find((p) => p.relation === "parent");
  return (
    <>
      <header className="run-head">
        <div style={{ minWidth: 0, flex: 1 }}>
          <div className="row">
            {isEditing ? (
              <InlineField
                label={isEditing === "name" ? "Name" : isEditing === "tags" ? "Tags, separated by commas" : "Note"}
                value={isEditing === "name" ? run.name : isEditing === "tags" ? run.tags.join(", ") : run.note}
                onCancel={() => setEditing(null)}
                onSave={(text) => {
                  if (isEditing === "name") edits.rename(id, text);
                  else if (isEditing === "note") edits.note(id, text);
                  else {
                    const tags = text
                      .split(",")
                      .map((t) => t.trim())
                      .filter((t) => t !== "");
                    edits.tag(
                      [id],
                      tags,
                      run.tags.filter((t) => !tags.includes(t)),
                    );
                  }
                  setEditing(null);
                }}
              />
            ) : (
              <>
                <h2 className="title">
                  <button type="button" className="run-name quiet" title="Rename" onClick={() => setEditing("name")}>
                    {run.name}
                  </button>
                </h2>
                <RunStateMark state={run.state} />
                {run.tags.map((t) => (
                  <span key={t} className="chip">
                    {t}
                  </span>
                ))}
                <button type="button" className="quiet small soft" onClick={() => setEditing("tags")}>
                  <Icon name="tag" size={13} /> {run.tags.length > 0 ? "Tags" : "Tag"}
                </button>
                <button type="button" className="quiet small soft" onClick={() => setEditing("note")}>
                  <Icon name="pen" size={13} /> {run.note ? "Note" : "Write a note"}
                </button>
              </>
            )}
          </div>
          <p className="small soft-2 run-origin">
            {run.kind}
            {run.hostId ? (
              <>
                {" "}
                on <span className="mono">{run.hostId}</span>
              </>
            ) : null}
            {run.attempt > 1 ? `, attempt ${run.attempt}` : ""}
            {parent ? (
              <>
                {" "}
                · cloned from <Link href={`/runs/${parent.id}`}>{parent.name}</Link>
              </>
            ) : null}
            {made.length > 0 ? (
              <>
                {" "}
                · on{" "}
                {made.slice(0, 2).map((m, i) => (
                  <span key={m.id}>
                    {i > 0 ? ", " : ""}
                    <Link href={`/runs/${m.id}`}>{m.name}</Link>
                  </span>
                ))}
                {made.length > 2 ? ` and ${made.length - 2} more` : ""}
              </>
            ) : (
              <> · model {configText(run.config.model ?? run.config.base)}</>
            )}
            {run.sweepId ? (
              <>
                {" "}
                · trial {(run.trial ?? 0) + 1} of <Link href={`/sweeps/${run.sweepId}`}>a sweep</Link>
              </>
            ) : null}
          </p>
          {run.note ? <p className="small run-note">{run.note}</p> : null}
        </div>
        <Progress run={run} isLive={isLive} />
        <div className="row run-actions">
          {canStop ? (
            <button
              type="button"
              disabled={stop.isPending}
              onClick={() => stop.mutate({ id })}
              title="Finish the current step and keep everything"
            >
              <Icon name="square" /> Stop <Keys of="run.stop" />
            </button>
          ) : null}
          {isLive && run.state !== "queued" ? (
            <button
              type="button"
              disabled={cancel.isPending}
              onClick={() => cancel.mutate({ id })}
              title="End now; finished units are kept"
            >
              Cancel
            </button>
          ) : null}
          {canResume ? (
            <button
              type="button"
              disabled={resume.isPending}
              onClick={() => resume.mutate({ id })}
              title="Continue from the last finished unit"
            >
              <Icon name="play" /> Resume
            </button>
          ) : null}
          {isLive ? null : (
            <button
              type="button"
              disabled={retry.isPending}
              onClick={() => retry.mutate({ id })}
              title="Measure the same config again"
            >
              <Icon name="undo" /> Retry
            </button>
          )}
          <Link className="button" href={`/new?clone=${id}`}>
            <Icon name="copy" /> Clone
          </Link>
        </div>
      </header>
      {failed ? (
        <div className="region">
          <ErrorNote error={failed} />
        </div>
      ) : null}
      {run.state === "failed" && run.error ? (
        <div className="region">
          <div className="note error" role="alert">
            <strong className="bad">{withoutFlags(run.error.message)}</strong>
            {run.error.hint ? <p>{withoutFlags(run.error.hint)}</p> : null}
            <code className="code">{run.error.code}</code>
          </div>
        </div>
      ) : null}
    </>
  );
}

function Progress({ run, isLive }: { run: Run; isLive: boolean }) {
  const done = doneOf(run);
  const share = run.progress?.share ?? 0;
  if (run.state === "queued")
    return (
      <div className="run-progress">
        <div className="row">{run.queuePosition ? `${count(run.queuePosition)}. in the queue` : "in the queue"}</div>
        <div className="small soft">{run.reason ?? ""}</div>
      </div>
    );
  if (run.state === "succeeded" || (!done && !isLive))
    return (
      <div className="run-progress small soft">
        {run.reason ??
          (run.startedAt && run.endedAt
            ? `from ${clockTime(new Date(run.startedAt).getTime())} to ${clockTime(new Date(run.endedAt).getTime())}`
            : "")}
      </div>
    );
  const isLost = run.state === "lost" || run.state === "failed" || run.state === "cancelled";
  const left = timeLeft(run.progress?.left ?? null);
  return (
    <div className="run-progress">
      <div className="row" style={{ justifyContent: "space-between" }}>
        {done ? (
          <span>
            <strong>{count(done.done)}</strong>{" "}
            <span className="soft">{done.word === "%" ? "%" : `of ${count(done.total)} ${done.word}`}</span>
          </span>
        ) : (
          <span className="soft">starting</span>
        )}
        <span>{isLive ? left : ""}</span>
      </div>
      <div
        className={isLost ? "bar lost" : "bar"}
        role="progressbar"
        aria-label={run.name}
        aria-valuenow={Math.round(share * 100)}
        aria-valuemin={0}
        aria-valuemax={100}
      >
        <div style={{ width: `${share * 100}%` }} />
      </div>
      <div className="small soft">
        {isLive
          ? left
            ? "range of the pace of its last 60 reports"
            : share < 0.05
              ? "no estimate before 5 %"
              : (run.progress?.label ?? "")
          : run.state === "lost"
            ? `${run.reason ?? "lost"}${run.heartbeatAt ? `, last heartbeat ${clockTime(new Date(run.heartbeatAt).getTime(), true)}` : ""}`
            : (run.reason ?? "")}
      </div>
    </div>
  );
}
