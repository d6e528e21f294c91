"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useMemo, useRef, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { duration, plain } from "../parts/format.ts";
import { TopBar } from "../parts/shell.tsx";
import { ErrorNote, RunStateMark } from "../parts/states.tsx";
import { matches, parseSearch } from "./search.ts";

export default function RunsPage() {
  return (
    <Suspense>
      <Runs />
    </Suspense>
  );
}

const columns = "24px 104px 96px minmax(180px, 1fr) 90px minmax(220px, 1.4fr) 84px";

function Runs() {
  const trpc = useTRPC();
  const router = useRouter();
  const params = useSearchParams();
  const search = params.get("q") ?? "";
  const runs = useQuery(trpc.runs.list.queryOptions({}));
  const update = useMutation(trpc.runs.update.mutationOptions());
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [order, setOrder] = useState<{ by: "created" | "name" | "state" | "seconds"; down: boolean }>({
    by: "created",
    down: true,
  });
  const rows = useMemo(() => {
    const query = parseSearch(search);
    const found = (runs.data ?? []).filter((r) => matches(query, r));
    const key = (r: (typeof found)[number]): string | number =>
      order.by === "name"
        ? r.name
        : order.by === "state"
          ? r.state
          : order.by === "seconds"
            ? r.computeSeconds
            : new Date(r.createdAt).getTime();
    return found.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (order.down ? -1 : 1));
  }, [runs.data, search, order]);
  const view = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => view.current,
    estimateSize: () => 28,
    overscan: 12,
  });
  const compared = (runs.data ?? []).filter((r) => picked.has(r.id));
  const sortBy = (by: typeof order.by) => () => setOrder((o) => ({ by, down: o.by === by ? !o.down : true }));
  return (
    <>
      <TopBar title="Runs">
        <label className="row">
          <span className="visually-hidden">Search</span>
          <input
            style={{ width: 320 }}
            placeholder="state:lost KL<0.05 tag:paper palette"
            defaultValue={search}
            onChange={(e) => router.replace(`/runs?q=${encodeURIComponent(e.target.value)}`, { scroll: false })}
          />
        </label>
        <span className="soft">
          {rows.length} of {runs.data?.length ?? 0}
        </span>
        <span className="end row">
          <Link className="button" style={{ height: 28 }} href="/new">
            New run
          </Link>
          <button
            type="button"
            disabled={picked.size === 0}
            onClick={() =>
              update.mutate({ ids: [...picked], archived: true }, { onSuccess: () => setPicked(new Set()) })
            }
          >
            Archive {picked.size || ""}
          </button>
          {update.variables?.archived && update.isSuccess ? (
            <button type="button" onClick={() => update.mutate({ ids: update.variables?.ids ?? [], archived: false })}>
              Undo
            </button>
          ) : null}
        </span>
      </TopBar>
      {runs.error ? <ErrorNote error={runs.error} /> : null}
      <div
        ref={view}
        tabIndex={0}
        role="region"
        aria-label="Runs"
        className="scrolls"
        style={{ height: compared.length > 1 ? "50vh" : "calc(100vh - 46px)", overflow: "auto", padding: "0 20px" }}
      >
        <div role="table" aria-label="Runs" aria-rowcount={rows.length}>
          <div
            role="row"
            style={{
              display: "grid",
              gridTemplateColumns: columns,
              gap: 8,
              position: "sticky",
              top: 0,
              background: "var(--surface)",
              zIndex: 1,
              borderBottom: "1px solid var(--line-2)",
            }}
          >
            <span role="columnheader">
              <span className="visually-hidden">Picked</span>
            </span>
            <span role="columnheader">
              <button type="button" style={{ border: 0 }} onClick={sortBy("state")}>
                State
              </button>
            </span>
            <span role="columnheader" style={{ paddingTop: 5 }}>
              Kind
            </span>
            <span role="columnheader">
              <button type="button" style={{ border: 0 }} onClick={sortBy("name")}>
                Name
              </button>
            </span>
            <span role="columnheader">
              <button type="button" style={{ border: 0 }} onClick={sortBy("created")}>
                Begun
              </button>
            </span>
            <span role="columnheader" style={{ paddingTop: 5 }}>
              Numbers, or why
            </span>
            <span role="columnheader">
              <button type="button" style={{ border: 0 }} onClick={sortBy("seconds")}>
                Took
              </button>
            </span>
          </div>
          <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: "relative" }}>
            {virtual.getVirtualItems().map((item) => {
              const r = rows[item.index];
              if (!r) return null;
              const numbers = Object.entries(r.numbers)
                .slice(0, 4)
                .map(([k, v]) => `${k} ${plain(v)}`);
              const cut = { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } as const;
              return (
                <div
                  role="row"
                  key={r.id}
                  aria-rowindex={item.index + 1}
                  style={{
                    display: "grid",
                    gridTemplateColumns: columns,
                    gap: 8,
                    alignItems: "center",
                    position: "absolute",
                    top: item.start,
                    height: 28,
                    width: "100%",
                    borderBottom: "1px solid var(--line)",
                    background: picked.has(r.id) ? "var(--signal-soft)" : undefined,
                  }}
                >
                  <span role="cell">
                    <input
                      type="checkbox"
                      aria-label={`Pick ${r.name}`}
                      checked={picked.has(r.id)}
                      onChange={() => {
                        const next = new Set(picked);
                        if (!next.delete(r.id)) next.add(r.id);
                        setPicked(next);
                      }}
                    />
                  </span>
                  <span role="cell">
                    <RunStateMark state={r.state} />
                  </span>
                  <span role="cell" className="soft">
                    {r.kind}
                  </span>
                  <span role="cell" style={cut}>
                    <Link href={`/runs/${r.id}`}>{r.name}</Link>
                  </span>
                  <span role="cell" className="soft">
                    {new Date(r.createdAt).toLocaleTimeString()}
                  </span>
                  <span role="cell" className="small" style={cut}>
                    {numbers.length > 0
                      ? numbers.join(" · ")
                      : (r.reason ?? (r.progress ? `${Math.floor(r.progress.share * 100)} % ${r.progress.label}` : ""))}
                  </span>
                  <span role="cell" className="number">
                    {r.computeSeconds > 0 ? duration(r.computeSeconds) : ""}
                  </span>
                </div>
              );
            })}
          </div>
        </div>
      </div>
      {compared.length > 1 ? <Compare runs={compared} /> : null}
    </>
  );
}

interface Compared {
  id: string;
  name: string;
  config: Record<string, unknown>;
  numbers: Record<string, number>;
}

function Compare({ runs }: { runs: Compared[] }) {
  const show = (v: unknown): string =>
    v === undefined ? "" : typeof v === "number" ? plain(v) : typeof v === "string" ? v : JSON.stringify(v);
  const rowsOf = (pick: (r: Compared) => Record<string, unknown>) =>
    [...new Set(runs.flatMap((r) => Object.keys(pick(r))))]
      .map((k) => ({ k, values: runs.map((r) => show(pick(r)[k])) }))
      .filter((row) => new Set(row.values).size > 1);
  return (
    <section className="region scrolls">
      <h2>Only the differences</h2>
      <table>
        <thead>
          <tr>
            <th>
              <span className="visually-hidden">Field</span>
            </th>
            {runs.map((r) => (
              <th key={r.id} className="number">
                {r.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {[...rowsOf((r) => r.config), ...rowsOf((r) => r.numbers)].map(({ k, values }) => (
            <tr key={k}>
              <td className="soft">{k}</td>
              {values.map((v, i) => (
                <td key={runs[i]?.id} className="number">
                  {v}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
