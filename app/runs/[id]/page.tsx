"use client";
/** @file One run: how it goes, its curves, its log, where it comes from and what it made. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams, useRouter } from "next/navigation";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useTopic, useTRPC } from "../../parts/api.tsx";
import { loadPlotly } from "../../parts/chart.tsx";
import { ShareButton, TopBar } from "../../parts/shell.tsx";
import { ErrorNote, Waiting } from "../../parts/states.tsx";
import { useSmoothing } from "../smoothing.tsx";
import { LAST_ADDRESS } from "../view.ts";
import { RunHeader } from "./header.tsx";
import { KindSummary } from "./kind-summary.tsx";
import { LogView } from "./log.tsx";
import { MainCurve } from "./main-curve.tsx";
import { Multiples } from "./multiples.tsx";
import { type Axis, mainCurves, totalSteps } from "./run-facts.ts";
import { SidePanel } from "./side.tsx";
import { useLog } from "./use-log.ts";
import "../runs.css";
import "./run.css";

/** A live run's curves are read again at most this often. */
const CURVES_MS = 1_500;

export default function RunPage() {
  const { id } = useParams<{ id: string }>();
  const trpc = useTRPC();
  const router = useRouter();
  const queries = useQueryClient();
  const [smoothing, setSmoothing] = useSmoothing(0.9);
  const [isLog, setLog] = useState(true);
  const [axis, setAxis] = useState<Axis>("step");
  const [focus, setFocus] = useState<number | null>(null);
  const [back, setBack] = useState("/runs");
  useEffect(() => setBack(sessionStorage.getItem(LAST_ADDRESS) ?? "/runs"), []);
  useEffect(() => void loadPlotly(), []);

  const run = useQuery(trpc.runs.get.queryOptions({ id }));
  const r = run.data;
  const isLive = r?.state === "queued" || r?.state === "running" || r?.state === "stopping";
  const until = r && r.state !== "succeeded" ? totalSteps(r.config) : null;
  const curves = useQuery(
    trpc.runs.curves.queryOptions(
      { id, smoothing, logarithmic: isLog, ...(until === null ? {} : { until }) },
      { placeholderData: (old) => old, staleTime: 60_000 },
    ),
  );
  const log = useLog(id);

  // Steps come a few times a second; the picture follows about as often as an eye does.
  const due = useRef<ReturnType<typeof setTimeout> | null>(null);
  const refresh = useCallback(() => {
    due.current ??= setTimeout(() => {
      due.current = null;
      void queries.invalidateQueries({ queryKey: [["runs", "curves"]] });
    }, CURVES_MS);
  }, [queries]);
  useEffect(
    () => () => {
      if (due.current) clearTimeout(due.current);
    },
    [],
  );
  useTopic(`run:${id}`, (payload) => {
    if (typeof payload !== "object" || payload === null) return;
    const has = (name: string): boolean => Reflect.get(payload, name) === true;
    const hasEnded = Reflect.get(payload, "type") === "ended";
    if (has("metrics") || hasEnded) refresh();
    if (has("log") || hasEnded) log.more();
    if (hasEnded) void queries.invalidateQueries({ queryKey: [["runs", "get"]] });
  });
  const main = useMemo(() => mainCurves(curves.data ?? [], r?.config ?? {}), [curves.data, r?.config]);

  if (run.error)
    return (
      <>
        <TopBar title={id} trail={[{ name: "Runs", href: back }]} />
        <div className="region">
          <ErrorNote
            error={run.error}
            action={
              <button type="button" onClick={() => router.push("/runs")}>
                All runs
              </button>
            }
          />
        </div>
      </>
    );
  return (
    <>
      <TopBar title={<span className="mono">{id}</span>} name={r?.name} trail={[{ name: "Runs", href: back }]}>
        <ShareButton />
      </TopBar>
      {r ? (
        <>
          <RunHeader run={r} isLive={isLive} />
          <div className="run-body">
            <div className="run-main">
              {main.train ? (
                <>
                  <MainCurve
                    run={r}
                    main={main}
                    axis={axis}
                    setAxis={setAxis}
                    isLog={isLog}
                    setLog={setLog}
                    smoothing={smoothing}
                    setSmoothing={setSmoothing}
                    focus={focus}
                  />
                  <Multiples run={r} curves={curves.data ?? []} main={main} axis={axis} />
                </>
              ) : curves.isPending ? (
                <div className="region">
                  <Waiting>Reading the curves</Waiting>
                </div>
              ) : null}
              <KindSummary run={r} hasCurves={main.train !== null} />
              <LogView
                lines={log.lines}
                isComplete={log.isComplete}
                isLive={isLive}
                curve={main.train}
                onPlace={setFocus}
              />
            </div>
            <SidePanel run={r} curves={curves.data ?? []} />
          </div>
        </>
      ) : (
        <div className="region">
          <Waiting>Reading the run</Waiting>
        </div>
      )}
    </>
  );
}
