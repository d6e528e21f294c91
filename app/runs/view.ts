"use client";
/** @file What the page of runs shows, kept in its address; the columns also in the browser. */
import { useEffect, useMemo, useState } from "react";
import { useAddress } from "../parts/url-state.ts";
import { defaultColumns } from "./columns.ts";
import { type Grouping, groupings } from "./groups.ts";
import { type Brush, brushesText, parseBrushes } from "./parallel-axes.ts";

const COLUMNS = "runs-columns";
/** Where a run's page leads back to. */
export const LAST_ADDRESS = "runs-address";
/** More picks than an address should hold stay in the tab. */
const PICKS_IN_ADDRESS = 60;
const PICKS = "runs-picks";

export interface RunsView {
  readonly search: string;
  readonly grouping: Grouping;
  readonly value: string;
  readonly sort: { readonly by: string; readonly down: boolean };
  readonly columns: readonly string[];
  readonly picks: readonly string[];
  readonly axes: readonly string[] | null;
  readonly brushes: ReadonlyMap<string, Brush>;
  readonly lower: "parallel" | "curves";
  readonly isArchive: boolean;
  set(changes: Partial<Omit<RunsView, "set">>): void;
}

export function useRunsView(): RunsView {
  const { get, set } = useAddress();
  const [stored, setStored] = useState<string | null>(null);
  useEffect(() => setStored(localStorage.getItem(COLUMNS)), []);
  const given = {
    q: get("q") ?? "",
    group: get("group"),
    value: get("value") ?? "KL",
    sort: get("sort") ?? "-started",
    columns: get("columns") ?? stored,
    picks: get("picks") ?? "",
    axes: get("axes"),
    brushes: get("brushes") ?? "",
    lower: get("lower"),
    archive: get("archive"),
  };
  const key = JSON.stringify(given);
  useEffect(() => {
    if (key) sessionStorage.setItem(LAST_ADDRESS, window.location.pathname + window.location.search);
  }, [key]);
  return useMemo((): RunsView => {
    const g = JSON.parse(key) as typeof given;
    const list = (text: string): string[] => text.split(",").filter((t) => t !== "");
    return {
      search: g.q,
      grouping: groupings.find((n) => n === g.group) ?? "none",
      value: g.value,
      sort: { by: g.sort.replace(/^-/, ""), down: g.sort.startsWith("-") },
      columns: g.columns === null ? defaultColumns : list(g.columns),
      picks: g.picks === "kept" ? list(sessionStorage.getItem(PICKS) ?? "") : list(g.picks),
      axes: g.axes === null ? null : g.axes.split(";").filter((t) => t !== ""),
      brushes: parseBrushes(g.brushes),
      lower: g.lower === "curves" ? "curves" : "parallel",
      isArchive: g.archive !== null,
      set(changes) {
        const next: Record<string, string | null> = {};
        if (changes.search !== undefined) next.q = changes.search;
        if (changes.grouping !== undefined) next.group = changes.grouping === "none" ? null : changes.grouping;
        if (changes.value !== undefined) next.value = changes.value === "KL" ? null : changes.value;
        if (changes.sort) next.sort = `${changes.sort.down ? "-" : ""}${changes.sort.by}`;
        if (changes.columns) {
          const text = changes.columns.join(",");
          localStorage.setItem(COLUMNS, text);
          setStored(text);
          next.columns = text === defaultColumns.join(",") ? null : text;
        }
        if (changes.picks) {
          const text = changes.picks.join(",");
          const isLong = changes.picks.length > PICKS_IN_ADDRESS;
          if (isLong) sessionStorage.setItem(PICKS, text);
          next.picks = isLong ? "kept" : text;
        }
        if (changes.axes !== undefined) next.axes = changes.axes === null ? null : changes.axes.join(";");
        if (changes.brushes) next.brushes = brushesText(changes.brushes);
        if (changes.lower) next.lower = changes.lower === "parallel" ? null : changes.lower;
        if (changes.isArchive !== undefined) next.archive = changes.isArchive ? "yes" : null;
        set(next, { quietly: true });
      },
    };
  }, [key, set]);
}
