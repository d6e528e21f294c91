"use client";
/** @file The table of runs: ten thousand rows of which only those in view are drawn; keys walk, pick, tag, archive. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRouter } from "next/navigation";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useHotkeys } from "../parts/hotkeys.ts";
import type { Column } from "./columns.ts";
import { valueTitle } from "./filter-bar.tsx";
import { groupValue, type RunGroup } from "./groups.ts";
import { usualProtocol } from "./run-row.ts";
import { RowOfTable } from "./table-row.tsx";
import { useRunEdits } from "./use-run-edits.ts";
import { LAST_ADDRESS, type RunsView } from "./view.ts";

const ROW = 27;
const SCROLL = "runs-scroll";
const OPEN = "runs-open";
const NONE: readonly string[] = [];

/** What of a row is being written. */
export interface Editing {
  readonly key: string;
  readonly what: "name" | "tags" | "note";
}

export interface Entry {
  readonly key: string;
  readonly group: RunGroup;
  /** A run of the open group above it. */
  readonly isMember: boolean;
}

/** The value's axis, shared by all rows that were measured as most are: the middle 98 % of what is shown, logarithmic where it spans much. */
export function valueDomain(
  rows: readonly RunGroup[],
  name: string,
): { domain: [number, number]; logarithmic: boolean; protocol: string | null } {
  const protocol = usualProtocol(
    rows.flatMap((g) => g.runs),
    name,
  );
  const values = rows
    .filter((g) => usualProtocol(g.runs, name) === protocol)
    .flatMap((g) => groupValue(g.runs, name)?.mean ?? [])
    .sort((a, b) => a - b);
  const at = (share: number): number => values[Math.round(share * (values.length - 1))] ?? 0;
  const [low, high] = values.length > 100 ? [at(0.01), at(0.99)] : [at(0), at(1)];
  return { domain: [low, high], logarithmic: low > 0 && high / low > 10, protocol };
}

export function RunsTable(props: {
  rows: readonly RunGroup[];
  columns: readonly Column[];
  view: RunsView;
  picks: readonly string[];
  setPicks: (ids: readonly string[]) => void;
  compared: readonly RunGroup[];
}) {
  const { rows, columns, view, picks, setPicks, compared } = props;
  const router = useRouter();
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setOpen(new Set(JSON.parse(sessionStorage.getItem(OPEN) ?? "[]") as string[])), []);
  const toggle = useCallback((key: string) => {
    setOpen((before) => {
      const next = new Set(before);
      if (!next.delete(key)) next.add(key);
      sessionStorage.setItem(OPEN, JSON.stringify([...next]));
      return next;
    });
  }, []);
  const entries = useMemo(
    () =>
      rows.flatMap((group): Entry[] => {
        const head = { key: group.key, group, isMember: false };
        if (group.runs.length === 1 || !open.has(group.key)) return [head];
        return [
          head,
          ...group.runs.map((r) => ({ key: r.id, group: { key: r.id, name: r.name, runs: [r] }, isMember: true })),
        ];
      }),
    [rows, open],
  );
  const scale = useMemo(() => valueDomain(rows, view.value), [rows, view.value]);
  const pickedIds = useMemo(() => new Set(picks), [picks]);
  const styleOf = useMemo(() => {
    const found = new Map<string, number>();
    for (const [i, g] of compared.entries()) for (const r of g.runs) found.set(r.id, i);
    return found;
  }, [compared]);

  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: entries.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 16,
  });
  // Coming back keeps the place.
  const isRestored = useRef(false);
  useEffect(() => {
    const element = box.current;
    if (!element || isRestored.current || entries.length === 0) return;
    isRestored.current = true;
    const kept = JSON.parse(sessionStorage.getItem(SCROLL) ?? "null") as { address: string; top: number } | null;
    if (kept?.address === sessionStorage.getItem(LAST_ADDRESS)) element.scrollTop = kept?.top ?? 0;
  }, [entries.length]);
  const keepPlace = useCallback(() => {
    const address = sessionStorage.getItem(LAST_ADDRESS);
    sessionStorage.setItem(SCROLL, JSON.stringify({ address, top: box.current?.scrollTop ?? 0 }));
  }, []);

  const [at, setAt] = useState<string | null>(null);
  const index = entries.findIndex((e) => e.key === at);
  const current = entries[index];
  const go = (to: number): void => {
    const next = entries[Math.max(0, Math.min(entries.length - 1, to))];
    if (!next) return;
    setAt(next.key);
    virtual.scrollToIndex(entries.indexOf(next));
  };
  const anchor = useRef<string | null>(null);
  const pick = useCallback(
    (entry: Entry, range: boolean): void => {
      const from = range ? entries.findIndex((e) => e.key === anchor.current) : -1;
      const to = entries.findIndex((e) => e.key === entry.key);
      anchor.current = entry.key;
      setAt(entry.key);
      const ids =
        from < 0
          ? entry.group.runs.map((r) => r.id)
          : entries.slice(Math.min(from, to), Math.max(from, to) + 1).flatMap((e) => e.group.runs.map((r) => r.id));
      if (from < 0 && ids.every((id) => pickedIds.has(id))) setPicks(picks.filter((id) => !ids.includes(id)));
      else setPicks([...new Set([...picks, ...ids])]);
    },
    [entries, picks, pickedIds, setPicks],
  );
  const edits = useRunEdits();
  const [editing, setEditing] = useState<Editing | null>(null);
  const edit = (what: "name" | "tags" | "note") => (): void => {
    if (current) setEditing({ key: current.key, what });
  };
  /** The runs an action applies to: the picked runs, else the focused row. */
  const chosen = (): string[] => (picks.length > 0 ? [...picks] : (current?.group.runs.map((r) => r.id) ?? []));
  const openRun = (): void => {
    const run = current?.group.runs[0];
    if (!current || !run) return;
    if (current.group.runs.length > 1) toggle(current.key);
    else {
      keepPlace();
      router.push(`/runs/${run.id}`);
    }
  };
  useHotkeys({
    "runs.new": () => router.push("/new"),
    "runs.next": () => go(index + 1),
    "runs.previous": () => go(Math.max(0, index - 1)),
    "runs.pick": () => current && pick(current, false),
    "runs.compare": () => document.getElementById("compare")?.focus(),
    "runs.tag": () => {
      if (!current && picks.length > 0) {
        const first = entries.find((e) => e.group.runs.some((r) => pickedIds.has(r.id)));
        if (first) setEditing({ key: first.key, what: "tags" });
      } else edit("tags")();
    },
    "runs.rename": current ? edit("name") : undefined,
    "runs.note": current ? edit("note") : undefined,
    "runs.open": current ? openRun : undefined,
    "runs.archive": () => {
      edits.archive(chosen(), !view.isArchive);
      setPicks([]);
    },
  });

  const template = `22px minmax(220px, 1fr) ${columns.map((c) => c.width).join(" ")}`;
  const sortBy = (id: string): void =>
    view.set({ sort: { by: id, down: view.sort.by === id ? !view.sort.down : id !== "name" && id !== "state" } });
  const head = (id: string, title: string, align: "left" | "right"): React.ReactNode => (
    <span
      key={id}
      role="columnheader"
      className={align === "right" ? "number" : undefined}
      aria-sort={view.sort.by === id ? (view.sort.down ? "descending" : "ascending") : "none"}
    >
      <button type="button" className="quiet" onClick={() => sortBy(id)}>
        {title}
        {view.sort.by === id ? <span aria-hidden="true">{view.sort.down ? "↓" : "↑"}</span> : null}
      </button>
    </span>
  );
  return (
    <div
      ref={box}
      className="runs-scroll"
      role="region"
      tabIndex={0}
      aria-label="Runs"
      onScroll={keepPlace}
      onKeyDown={(e) => {
        const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[e.key];
        if (by === undefined || e.target !== e.currentTarget) return;
        e.preventDefault();
        go(Math.max(0, index + by));
      }}
    >
      <div
        role="table"
        aria-label="Runs"
        aria-rowcount={entries.length + 1}
        style={{ minWidth: 324 + columns.reduce((n, c) => n + Number.parseInt(c.width, 10) + 14, 0) }}
      >
        <div role="rowgroup" className="runs-head">
          <div role="row" aria-rowindex={1} className="runs-row head" style={{ gridTemplateColumns: template }}>
            <span role="columnheader">
              <span className="visually-hidden">Picked</span>
            </span>
            {head("name", "Run", "left")}
            {columns.map((c) =>
              head(c.id, c.id === "value" ? valueTitle(view.value) : c.title, c.id === "value" ? "left" : c.align),
            )}
          </div>
        </div>
        <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const entry = entries[item.index];
            if (!entry) return null;
            const picked = entry.group.runs.filter((r) => pickedIds.has(r.id)).length;
            return (
              <RowOfTable
                key={entry.key}
                entry={entry}
                index={item.index}
                top={item.start}
                template={template}
                columns={columns}
                value={view.value}
                scale={scale}
                isCurrent={entry.key === at}
                isOpen={open.has(entry.key)}
                picked={picked === 0 ? "none" : picked === entry.group.runs.length ? "all" : "some"}
                style={
                  picked > 0 ? (styleOf.get(entry.group.runs.find((r) => pickedIds.has(r.id))?.id ?? "") ?? null) : null
                }
                editing={editing?.key === entry.key ? editing.what : null}
                editedIds={
                  editing?.key === entry.key
                    ? editing.what === "tags" && picks.length > 0
                      ? picks
                      : entry.group.runs.map((r) => r.id)
                    : NONE
                }
                edits={edits}
                onPick={pick}
                onToggle={toggle}
                onCurrent={setAt}
                onEdit={setEditing}
              />
            );
          })}
        </div>
      </div>
      {entries.length === 0 ? (
        <p className="soft" style={{ padding: "12px 20px" }}>
          No run matches the search. <span className="mono">state:lost</span>, <span className="mono">kl&lt;0.05</span>,{" "}
          <span className="mono">tag:paper</span> and words are understood.
        </p>
      ) : null}
    </div>
  );
}
