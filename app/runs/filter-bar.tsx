"use client";
/** @file The bar over the table: search, grouping, which number counts, which columns stand. */
import { useEffect, useMemo, useRef, useState } from "react";
import { Check, IconButton, KeyLabels, Picker } from "../parts/controls.tsx";
import { count } from "../parts/format.ts";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Icon } from "../parts/icons.tsx";
import { ToolBar } from "../parts/shell.tsx";
import { type Column, defaultColumns } from "./columns.ts";
import { type Grouping, groupings } from "./groups.ts";
import { isError, numbersOf, type RunRow } from "./run-row.ts";
import { searchIssues } from "./search.ts";
import type { RunsView } from "./view.ts";

const groupingNames: Record<Grouping, string> = {
  none: "nothing",
  seed: "all but seed",
  kind: "kind",
  model: "model",
  tag: "tag",
  sweep: "sweep",
};
const grouped: readonly (readonly [Grouping, string])[] = groupings.map((g) => [g, groupingNames[g]]);

export function FilterBar(props: {
  view: RunsView;
  search: string;
  onSearch: (text: string) => void;
  unknown: readonly string[];
  total: number | null;
  shown: number;
  columns: readonly Column[];
  runs: readonly RunRow[];
}) {
  const { view, search, unknown, total, shown } = props;
  const issues = searchIssues(search);
  const field = useRef<HTMLInputElement>(null);
  useHotkeys({ search: () => field.current?.focus() });
  const values = useMemo(() => {
    const counts = new Map<string, number>();
    for (const r of props.runs)
      for (const name of Object.keys(numbersOf(r))) if (!isError(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
    const names = [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name);
    return [...new Set(["KL", view.value, ...names])];
  }, [props.runs, view.value]);
  return (
    <ToolBar
      provenance={
        total === null ? (
          <span role="status">reading the rest</span>
        ) : (
          <span role="status">
            {count(total)} {total === 1 ? "run" : "runs"}
            {shown === total ? "" : `, ${count(shown)} shown`}
          </span>
        )
      }
    >
      <span className="runs-search">
        <Icon name="search" />
        <input
          ref={field}
          type="search"
          aria-label="Search runs"
          aria-describedby={unknown.length + issues.length > 0 ? "runs-unknown" : undefined}
          placeholder="state:any kind:any"
          title="state:lost,failed  kind:distill  tag:paper  model:starter  kl<0.05  bits<=4  took>5min  temperature=2  -word  “two words”"
          value={search}
          onChange={(e) => props.onSearch(e.target.value)}
          onKeyDown={(e) => {
            if (e.key !== "Escape") return;
            if (search === "") field.current?.blur();
            props.onSearch("");
          }}
        />
        {search === "" ? <KeyLabels keys="/" /> : null}
      </span>
      <Picker
        label="group by"
        options={grouped}
        value={view.grouping}
        onChange={(grouping) => view.set({ grouping })}
      />
      <Picker
        label="value"
        options={values.map((v) => [v, valueTitle(v)] as const)}
        value={view.value}
        onChange={(value) => view.set({ value })}
      />
      {unknown.length + issues.length > 0 ? (
        <span id="runs-unknown" className="small warn" role="status">
          {[...issues, ...(unknown.length > 0 ? [`no run has “${unknown.join("”, “")}”`] : [])].join("; ")}
        </span>
      ) : null}
      <ColumnChooser columns={props.columns} view={view} />
    </ToolBar>
  );
}

export const valueTitle = (name: string): string =>
  ({ KL: "KL to base", agreement: "same top token", MB: "size, MB" })[name] ?? name;

function ColumnChooser({ columns, view }: { columns: readonly Column[]; view: RunsView }) {
  const [isOpen, setOpen] = useState(false);
  const [words, setWords] = useState("");
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const outside = (e: PointerEvent): void => {
      if (e.target instanceof Node && !box.current?.contains(e.target)) setOpen(false);
    };
    window.addEventListener("pointerdown", outside);
    return () => window.removeEventListener("pointerdown", outside);
  }, [isOpen]);
  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  const chosen = view.columns;
  const move = (id: string, by: number): void => {
    const at = chosen.indexOf(id);
    const to = at + by;
    if (to < 0 || to >= chosen.length) return;
    const next = [...chosen];
    next.splice(at, 1);
    next.splice(to, 0, id);
    view.set({ columns: next });
  };
  const fits = (c: Column): boolean => c.title.toLowerCase().includes(words.toLowerCase());
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes what is inside
    <div className="has-menu runs-columns" ref={box} onKeyDown={(e) => e.key === "Escape" && isOpen && close()}>
      <button
        ref={button}
        type="button"
        className="quiet"
        aria-expanded={isOpen}
        aria-haspopup="dialog"
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="columns" /> Columns
      </button>
      {isOpen ? (
        <div className="menu runs-columns-menu" role="dialog" aria-label="Columns">
          <input
            // biome-ignore lint/a11y/noAutofocus: it opened on a person's wish
            autoFocus
            aria-label="Find a column"
            placeholder="Find a column"
            value={words}
            onChange={(e) => setWords(e.target.value)}
          />
          {words === "" ? (
            <fieldset>
              <legend>Shown, from the left</legend>
              {chosen.map((id, i) => {
                const title = columns.find((c) => c.id === id)?.title ?? id;
                return (
                  <div key={id} className="runs-column">
                    <Check
                      label={title}
                      checked
                      onChange={() => view.set({ columns: chosen.filter((c) => c !== id) })}
                    />
                    <span className="row" style={{ gap: 0, marginLeft: "auto" }}>
                      <IconButton
                        icon="up"
                        label={`${title} further left`}
                        disabled={i === 0}
                        onClick={() => move(id, -1)}
                      />
                      <IconButton
                        icon="chevron"
                        label={`${title} further right`}
                        disabled={i === chosen.length - 1}
                        onClick={() => move(id, 1)}
                      />
                    </span>
                  </div>
                );
              })}
            </fieldset>
          ) : null}
          {(["Run", "Numbers", "Config"] as const).map((part) => {
            const left = columns.filter((c) => c.part === part && fits(c) && (words !== "" || !chosen.includes(c.id)));
            return left.length === 0 ? null : (
              <fieldset key={part}>
                <legend>{part}</legend>
                {left.map((c) => (
                  <div key={c.id} className="runs-column">
                    <Check
                      label={c.title}
                      checked={chosen.includes(c.id)}
                      onChange={(on) =>
                        view.set({ columns: on ? [...chosen, c.id] : chosen.filter((id) => id !== c.id) })
                      }
                    />
                  </div>
                ))}
              </fieldset>
            );
          })}
          <div className="row" style={{ padding: 6, justifyContent: "space-between" }}>
            <button type="button" className="quiet" onClick={() => view.set({ columns: defaultColumns })}>
              Reset columns
            </button>
            <Check
              label="Archived runs"
              checked={view.isArchive}
              onChange={(isArchive) => view.set({ isArchive, picks: [] })}
            />
          </div>
        </div>
      ) : null}
    </div>
  );
}
