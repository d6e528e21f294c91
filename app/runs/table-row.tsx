"use client";
import { memo } from "react";
/** @file One row: pick, name with tags and reason, state, the value on the shared axis, the other columns. */
import { withoutFlags } from "../../experiments/flags.ts";
import { moment } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { IntervalGlyph } from "../parts/measured.tsx";
import { RunStateMark, timeLeft } from "../parts/states.tsx";
import { type Column, significant, stateOf, withError } from "./columns.ts";
import { groupValue } from "./groups.ts";
import { InlineField } from "./inline-field.tsx";
import { measuredElsewhere, type RunRow, usualProtocol } from "./run-row.ts";
import { SeriesKey } from "./series-key.tsx";
import type { Editing, Entry } from "./table.tsx";
import type { RunEdits } from "./use-run-edits.ts";

/** Why a run is in its state, in the row; what it does while it works. */
export function reasonOf(run: RunRow): string {
  if (run.state === "lost") {
    const beat = run.heartbeatAt ? `last heartbeat ${moment(run.heartbeatAt)}` : run.reason;
    const from =
      run.progress && run.hasCheckpoint
        ? `, resumes from its checkpoint near ${Math.floor(run.progress.share * 100)} %`
        : "";
    return `${beat ?? "lost"}${from || ", resumes from its last finished unit"}`;
  }
  if (run.state === "failed") return withoutFlags(run.error?.message ?? run.reason ?? "");
  if (run.state === "running" && run.progress) {
    const left = timeLeft(run.progress.left);
    return `${Math.floor(run.progress.share * 100)} %${left ? `, ${left}` : ""}`;
  }
  return run.state === "succeeded" ? "" : (run.reason ?? "");
}

interface RowProps {
  readonly entry: Entry;
  readonly index: number;
  readonly top: number;
  readonly template: string;
  readonly columns: readonly Column[];
  readonly value: string;
  readonly scale: {
    readonly domain: [number, number];
    readonly logarithmic: boolean;
    /** Under which the values of the axis were measured. */
    readonly protocol: string | null;
  };
  readonly isCurrent: boolean;
  readonly isOpen: boolean;
  readonly picked: "none" | "some" | "all";
  /** Place among the compared; null when it is not. */
  readonly style: number | null;
  readonly editing: "name" | "tags" | "note" | null;
  readonly editedIds: readonly string[];
  readonly edits: RunEdits;
  readonly onPick: (entry: Entry, range: boolean) => void;
  readonly onToggle: (key: string) => void;
  readonly onCurrent: (key: string) => void;
  readonly onEdit: (editing: Editing | null) => void;
}

export const RowOfTable = memo(function RowOfTable(props: RowProps) {
  const { entry, columns, picked, isCurrent } = props;
  const { group } = entry;
  const run = group.runs[0];
  if (!run) return null;
  const className = [
    "runs-row",
    picked === "none" ? "" : "picked",
    isCurrent ? "current" : "",
    entry.isMember ? "member" : "",
  ];
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: J, K and X do the same
    <div
      role="row"
      aria-rowindex={props.index + 2}
      aria-current={isCurrent ? "true" : undefined}
      className={className.join(" ").trim()}
      style={{ gridTemplateColumns: props.template, top: props.top }}
      onClick={(e) => {
        if (e.target instanceof Element && e.target.closest("a, button, input, label")) return;
        if (e.shiftKey || e.metaKey || e.ctrlKey) props.onPick(entry, e.shiftKey);
        else props.onCurrent(entry.key);
      }}
    >
      <span role="cell">
        <input
          type="checkbox"
          aria-label={`Pick ${group.name}`}
          checked={picked === "all"}
          ref={(box) => {
            if (box) box.indeterminate = picked === "some";
          }}
          onClick={(e) => props.onPick(entry, e.shiftKey)}
          onChange={() => undefined}
        />
      </span>
      <span role="cell" className="runs-name">
        {props.editing ? (
          <Editor {...props} run={run} what={props.editing} />
        ) : (
          <>
            {group.runs.length > 1 ? (
              <button
                type="button"
                className="runs-expand quiet"
                aria-expanded={props.isOpen}
                aria-label={`${props.isOpen ? "Close" : "Open"} the ${group.runs.length} runs of ${group.name}`}
                onClick={() => props.onToggle(entry.key)}
              >
                <span className={props.isOpen ? undefined : "closed"}>
                  <Icon name="chevron" size={12} />
                </span>
              </button>
            ) : null}
            {props.style !== null ? <SeriesKey index={props.style} width={14} /> : null}
            {group.runs.length > 1 ? (
              <span className="strong cut">{group.name}</span>
            ) : (
              <Link
                className={picked === "none" ? "plain cut" : "plain cut strong"}
                href={`/runs/${run.id}`}
                title={`${run.id}, ${run.kind}${run.note ? `: ${run.note}` : ""}`}
                onDoubleClick={(e) => e.preventDefault()}
              >
                {run.name}
              </Link>
            )}
            {group.runs.length > 1 ? (
              <span className="tag">{countName(group.runs)}</span>
            ) : run.sweepId ? (
              <Link className="tag plain" href={`/sweeps/${run.sweepId}`} title="a trial of this sweep">
                sweep
              </Link>
            ) : null}
            {run.tags.slice(0, 3).map((t) => (
              <span key={t} className="chip micro">
                {t}
              </span>
            ))}
            {group.runs.length === 1 ? <span className="soft cut reason">{reasonOf(run)}</span> : null}
            <button
              type="button"
              className="runs-edit quiet icon"
              aria-label={`Rename ${group.name}`}
              title="Rename (E), tag (T), note (Shift-E)"
              onClick={() => props.onEdit({ key: entry.key, what: "name" })}
            >
              <Icon name="pen" size={13} />
            </button>
          </>
        )}
      </span>
      {columns.map((c) =>
        c.id === "state" ? (
          <span role="cell" key={c.id}>
            <RunStateMark state={stateOf(group)} />
          </span>
        ) : c.id === "value" ? (
          <ValueCell key={c.id} {...props} />
        ) : (
          <span
            role="cell"
            key={c.id}
            className={c.align === "right" ? "number" : "cut"}
            title={c.part === "Config" ? c.text(group) : undefined}
          >
            {c.text(group)}
          </span>
        ),
      )}
    </div>
  );
});

const countName = (runs: readonly RunRow[]): string => {
  const seeds = new Set(runs.map((r) => JSON.stringify(r.config.seed)));
  return seeds.size === runs.length && !seeds.has("undefined") ? `${runs.length} seeds` : `${runs.length} runs`;
};

function ValueCell({ entry, value, scale }: RowProps) {
  const found = groupValue(entry.group.runs, value);
  const run = entry.group.runs[0];
  if (!found || !run)
    return (
      <span role="cell" className="number soft">
        –
      </span>
    );
  const isRange = found.basis === "range";
  const half = found.low === null || isRange ? null : found.mean - found.low;
  const [mean, error] = withError(found.mean, half);
  const onAxis = usualProtocol(entry.group.runs, value) === scale.protocol;
  const count = found.n < entry.group.runs.length ? ` of ${found.n} of its ${entry.group.runs.length} runs` : "";
  const elsewhere = measuredElsewhere(run, value);
  const basis =
    found.basis === "interval"
      ? `mean of ${found.n} runs ± half of its 95 % interval`
      : isRange
        ? `least and most of ${found.n} runs of different configs`
        : found.basis === "unknown"
          ? "its error is unknown"
          : "± one standard error";
  const other = onAxis ? "" : ". It was measured on another text than most, so it is not on their axis";
  const from = elsewhere ? `, measured by ${elsewhere.runId} on ${elsewhere.on}` : "";
  return (
    <span role="cell" className="runs-value" title={`${value}${count}: ${basis}${from}${other}`}>
      {onAxis ? (
        <IntervalGlyph
          value={found.mean}
          low={found.low ?? found.mean}
          high={found.high ?? found.mean}
          domain={scale.domain}
          logarithmic={scale.logarithmic}
        />
      ) : (
        <span className="soft small">other text</span>
      )}
      <span className={onAxis ? "number" : "number soft"}>
        {isRange ? `${significant(found.low ?? 0)} to ${significant(found.high ?? 0)}` : mean}{" "}
        {error === null ? null : <span className="soft">± {error}</span>}
        {count === "" ? null : (
          <span className="soft">
            , {found.n} of {entry.group.runs.length}
          </span>
        )}
      </span>
    </span>
  );
}

function Editor(props: RowProps & { run: RunRow; what: "name" | "tags" | "note" }) {
  const { run, what, edits, onEdit, editedIds } = props;
  const done = (): void => onEdit(null);
  if (what === "tags")
    return (
      <InlineField
        label={editedIds.length > 1 ? `Tags of ${editedIds.length} runs` : "Tags"}
        value={editedIds.length > 1 ? "" : run.tags.join(", ")}
        hint="separated by commas; a minus removes one"
        onCancel={done}
        onSave={(text) => {
          const given = text
            .split(",")
            .map((t) => t.trim())
            .filter((t) => t !== "" && t !== "-");
          const add = given.filter((t) => !t.startsWith("-"));
          const minus = given.filter((t) => t.startsWith("-")).map((t) => t.slice(1));
          const gone = editedIds.length > 1 ? minus : [...minus, ...run.tags.filter((t) => !add.includes(t))];
          edits.tag(editedIds, add, gone);
          done();
        }}
      />
    );
  return (
    <InlineField
      label={what === "name" ? "Name" : "Note"}
      value={what === "name" ? run.name : run.note}
      onCancel={done}
      onSave={(text) => {
        if (what === "name") edits.rename(run.id, text);
        else edits.note(run.id, text);
        done();
      }}
    />
  );
}
