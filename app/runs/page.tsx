"use client";
/** @file All runs: a table that is searched, grouped and sorted, and under it what the picked ones share and differ in. */
import { useQuery } from "@tanstack/react-query";
import { Suspense, useCallback, useDeferredValue, useEffect, useMemo, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { Keys } from "../parts/controls.tsx";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { allColumns, builtIn, sorted } from "./columns.ts";
import { Compare } from "./compare.tsx";
import { FilterBar } from "./filter-bar.tsx";
import { groupRuns, groupValue } from "./groups.ts";
import { matches, parseSearch, unknownNames } from "./search.ts";
import { Shared } from "./shared.tsx";
import { RunsTable } from "./table.tsx";
import { useRunsView } from "./view.ts";
import "./runs.css";

export default function RunsPage() {
  return (
    <Suspense>
      <Runs />
    </Suspense>
  );
}

/** Rows that fill any screen. */
const NEWEST = 200;
/** The newest that a page holds. */
const MOST = 20_000;

function Runs() {
  const trpc = useTRPC();
  const view = useRunsView();
  // The newest at once, all of them a moment later.
  const newest = useQuery(trpc.runs.list.queryOptions({ archived: view.isArchive, limit: NEWEST }));
  const all = useQuery(
    trpc.runs.list.queryOptions({ archived: view.isArchive, limit: MOST }, { enabled: newest.isSuccess }),
  );
  const isAll = all.data !== undefined || (newest.data?.length ?? NEWEST) < NEWEST;
  const runs = all.data ? all : newest;
  const [search, setSearch] = useState(view.search);
  const wanted = useDeferredValue(search);
  useEffect(() => {
    const due = setTimeout(() => wanted !== view.search && view.set({ search: wanted }), 250);
    return () => clearTimeout(due);
  }, [wanted, view]);

  const terms = useMemo(() => parseSearch(wanted), [wanted]);
  const found = useMemo(() => (runs.data ?? []).filter((r) => matches(terms, r)), [runs.data, terms]);
  const unknown = useMemo(() => unknownNames(terms, runs.data ?? []), [terms, runs.data]);
  const grouped = useMemo(() => groupRuns(found, view.grouping), [found, view.grouping]);
  const columns = useMemo(() => allColumns(grouped), [grouped]);
  const shown = useMemo(
    () => view.columns.flatMap((id) => columns.find((c) => c.id === id) ?? builtIn.find((c) => c.id === id) ?? []),
    [columns, view.columns],
  );
  const { by, down } = view.sort;
  const rows = useMemo(() => {
    if (by === "value") return sorted(grouped, (g) => groupValue(g.runs, view.value)?.mean ?? null, down);
    if (by === "name") return sorted(grouped, (g) => g.name.toLowerCase(), down);
    const column = columns.find((c) => c.id === by);
    return column ? sorted(grouped, column.sort, down) : grouped;
  }, [grouped, columns, by, down, view.value]);

  const picked = useMemo(() => {
    const byId = new Map((runs.data ?? []).map((r) => [r.id, r]));
    return view.picks.flatMap((id) => byId.get(id) ?? []);
  }, [view.picks, runs.data]);
  // Compared in the order they were picked, by group where the table is grouped.
  const compared = useMemo(() => groupRuns(picked, view.grouping), [picked, view.grouping]);
  const names = useMemo(() => new Map((runs.data ?? []).map((r) => [r.id, r.name])), [runs.data]);
  const setPicks = useCallback((picks: readonly string[]) => view.set({ picks }), [view]);

  return (
    <div className="runs-page">
      <TopBar
        title={view.isArchive ? "Archived runs" : "Runs"}
        {...(view.isArchive ? { trail: [{ name: "Runs", href: "/runs" }] } : {})}
      >
        <Link className="button" href="/new">
          <Icon name="plus" /> New run <Keys of="runs.new" />
        </Link>
      </TopBar>
      <FilterBar
        view={view}
        search={search}
        onSearch={setSearch}
        unknown={unknown}
        total={isAll ? (runs.data?.length ?? null) : null}
        shown={found.length}
        columns={columns}
        runs={found}
      />
      {runs.error ? (
        <div className="region">
          <ErrorNote
            error={runs.error}
            action={
              <button type="button" onClick={() => void runs.refetch()}>
                Ask again
              </button>
            }
          />
        </div>
      ) : null}
      {runs.data && runs.data.length === 0 ? (
        <div className="region">
          <Empty
            title={view.isArchive ? "Nothing is archived" : "No run yet"}
            action={
              <Link className="button" href="/new">
                New run
              </Link>
            }
          >
            {view.isArchive
              ? "Archived runs keep everything they measured and come back with Restore."
              : "Every experiment is a run: its config, its curves, what it made. The starter study on Home makes the first runs."}
          </Empty>
        </div>
      ) : runs.data ? (
        <RunsTable rows={rows} columns={shown} view={view} picks={view.picks} setPicks={setPicks} compared={compared} />
      ) : runs.error ? null : (
        <div className="region">
          <Waiting>Reading the runs</Waiting>
        </div>
      )}
      {picked.length > 0 ? (
        <section className="runs-lower" aria-label="Picked runs">
          <Compare names={names} groups={compared} value={view.value} clear={() => setPicks([])} />
          <Shared names={names} view={view} runs={found} compared={compared} setPicks={setPicks} />
        </section>
      ) : null}
    </div>
  );
}
