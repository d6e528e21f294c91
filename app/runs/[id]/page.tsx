"use client";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useSubscription } from "@trpc/tanstack-react-query";
import Link from "next/link";
import { useParams } from "next/navigation";
import { useMemo, useState } from "react";
import { useTRPC } from "../../parts/api.tsx";
import { Chart } from "../../parts/chart.tsx";
import { duration, plain } from "../../parts/format.ts";
import { TopBar } from "../../parts/shell.tsx";
import { ErrorNote, ProgressBar, RunStateMark } from "../../parts/states.tsx";

export default function RunPage() {
  const { id } = useParams<{ id: string }>();
  const trpc = useTRPC();
  const queries = useQueryClient();
  const [smoothing, setSmoothing] = useState(0.6);
  const [logarithmic, setLogarithmic] = useState(false);
  const run = useQuery(trpc.runs.get.queryOptions({ id }));
  const curves = useQuery(
    trpc.runs.curves.queryOptions({ id, smoothing, logarithmic }, { placeholderData: (old) => old }),
  );
  const log = useQuery(trpc.runs.log.queryOptions({ id }));
  useSubscription(
    trpc.events.stream.subscriptionOptions(
      { topics: [`run:${id}`] },
      {
        enabled: run.data?.state === "running" || run.data?.state === "queued",
        onData: () => void queries.invalidateQueries({ queryKey: [["runs"]] }),
      },
    ),
  );
  const again = { onSuccess: () => queries.invalidateQueries({ queryKey: [["runs"]] }) };
  const stop = useMutation(trpc.runs.stop.mutationOptions(again));
  const cancel = useMutation(trpc.runs.cancel.mutationOptions(again));
  const resume = useMutation(trpc.runs.resume.mutationOptions(again));
  const retry = useMutation(trpc.runs.retry.mutationOptions(again));
  const charts = useMemo(() => {
    // A handful of points is read better as it is.
    const isSmoothed = (c: { count: number }): boolean => smoothing > 0 && c.count >= 30;
    return (curves.data ?? []).map((c) => ({
      name: c.name,
      sentence: `${c.count} points, the last ${plain(c.values.findLast((v) => v !== null) ?? Number.NaN)}.${c.resumedAt.length > 0 ? ` Resumed at step ${c.resumedAt.join(", ")}.` : ""}${isSmoothed(c) ? " The raw line stays behind the smoothed one." : ""}`,
      series: [
        ...(isSmoothed(c)
          ? [{ name: "raw", x: c.steps, y: c.values, kind: "line" as const, style: 0, faint: true }]
          : []),
        { name: c.name, x: c.steps, y: isSmoothed(c) ? c.smoothed : c.values, kind: "line" as const, style: 0 },
      ],
    }));
  }, [curves.data, smoothing]);
  const r = run.data;
  if (run.error) return <ErrorNote error={run.error} />;
  if (!r) return <TopBar title="Run" />;
  const changed = r.parentConfig
    ? [...new Set([...Object.keys(r.config), ...Object.keys(r.parentConfig)])].filter(
        (k) => JSON.stringify(r.config[k]) !== JSON.stringify(r.parentConfig?.[k]),
      )
    : [];
  const isLive = r.state === "queued" || r.state === "running" || r.state === "stopping";
  const failed = [stop, cancel, resume, retry].find((m) => m.error)?.error;
  return (
    <>
      <TopBar title={r.name}>
        <RunStateMark state={r.state} />
        <span className="soft">
          {r.kind}
          {r.attempt > 1 ? `, attempt ${r.attempt}` : ""}
        </span>
        <span className="end row">
          {isLive ? (
            <button type="button" onClick={() => stop.mutate({ id })} title="Finish the step at hand, keep everything">
              Stop
            </button>
          ) : null}
          {isLive ? (
            <button type="button" onClick={() => cancel.mutate({ id })} title="End at once; finished units are kept">
              Cancel
            </button>
          ) : null}
          {r.state === "cancelled" || r.state === "failed" || r.state === "lost" ? (
            <button type="button" onClick={() => resume.mutate({ id })}>
              Resume
            </button>
          ) : null}
          {isLive ? null : (
            <button type="button" onClick={() => retry.mutate({ id })} title="The same config, measured anew">
              Retry
            </button>
          )}
        </span>
      </TopBar>
      {failed ? <ErrorNote error={failed} /> : null}
      <div className="split">
        <div>
          {isLive && r.progress ? (
            <section className="region">
              <ProgressBar progress={r.progress} name={r.name} />
            </section>
          ) : null}
          {r.error ? (
            <section className="region">
              <div className="note error" role="alert">
                <strong>{r.error.message}</strong>
                {r.error.hint ? <p style={{ margin: "4px 0 0" }}>{r.error.hint}</p> : null}
                <code className="soft">{r.error.code}</code>
              </div>
            </section>
          ) : r.reason ? (
            <section className="region soft">{r.reason}</section>
          ) : null}
          {charts.length > 0 ? (
            <section className="region">
              <div className="row">
                <label className="row">
                  Smoothing
                  <input
                    type="range"
                    min={0}
                    max={0.99}
                    step={0.01}
                    value={smoothing}
                    onChange={(e) => setSmoothing(Number(e.target.value))}
                  />
                  {smoothing.toFixed(2)}
                </label>
                <label className="row">
                  <input type="checkbox" checked={logarithmic} onChange={(e) => setLogarithmic(e.target.checked)} />
                  Log axis
                </label>
              </div>
              {charts.map((c) => (
                <Chart
                  key={c.name}
                  title={c.name}
                  sentence={c.sentence}
                  series={c.series}
                  x={{ title: "step" }}
                  y={{ title: c.name, logarithmic }}
                  height={220}
                />
              ))}
            </section>
          ) : null}
          <section className="region">
            <h2>Log</h2>
            <pre tabIndex={0}>
              {(log.data ?? [])
                .map(
                  (l) => `${new Date(l.at).toLocaleTimeString()}  ${l.level === "info" ? "" : `${l.level} `}${l.line}`,
                )
                .join("\n") || "Nothing was said."}
            </pre>
          </section>
        </div>
        <aside className="region">
          <h2>Numbers</h2>
          <table>
            <tbody>
              {Object.entries(r.numbers).map(([k, v]) => (
                <tr key={k}>
                  <td>{k}</td>
                  <td className="number">{plain(v)}</td>
                </tr>
              ))}
              {r.computeSeconds > 0 ? (
                <tr>
                  <td>computed for</td>
                  <td className="number">{duration(r.computeSeconds)}</td>
                </tr>
              ) : null}
              {r.queuePosition ? (
                <tr>
                  <td>place in the queue</td>
                  <td className="number">{r.queuePosition}</td>
                </tr>
              ) : null}
            </tbody>
          </table>
          {r.outputModelId ? (
            <p style={{ marginTop: 12 }}>
              Made <Link href={`/explore?model=${r.outputModelId}`}>{r.outputModelId}</Link>
            </p>
          ) : null}
          {r.outputPackageId ? (
            <p style={{ marginTop: 12 }}>
              Made <Link href="/packages">a package</Link>
            </p>
          ) : null}
          <h2 style={{ marginTop: 16 }}>Config</h2>
          {changed.length > 0 ? <p className="soft">Changed from its parent: {changed.join(", ")}</p> : null}
          <pre tabIndex={0}>{JSON.stringify(r.config, null, 2)}</pre>
          <h2 style={{ marginTop: 16 }}>Provenance</h2>
          <table>
            <tbody>
              {r.provenance ? (
                Object.entries(r.provenance).map(([k, v]) => (
                  <tr key={k}>
                    <td className="soft">{k}</td>
                    <td>{v === null ? "unknown" : String(v)}</td>
                  </tr>
                ))
              ) : (
                <tr>
                  <td className="soft">unknown until it has run</td>
                </tr>
              )}
            </tbody>
          </table>
          <h2 style={{ marginTop: 16 }}>Again, from a terminal</h2>
          <pre
            tabIndex={0}
          >{`npm run -s espalier -- api runs submit --kind ${r.kind} --config '${JSON.stringify(r.config)}'`}</pre>
        </aside>
      </div>
    </>
  );
}
