"use client";
/** @file Curves of the picked runs over each other, smoothed over all their points, in the colours of the comparison. */
import { useQueries } from "@tanstack/react-query";
import { type ReactNode, useMemo, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { Chart, type Series } from "../parts/chart.tsx";
import { Picker, Segments } from "../parts/controls.tsx";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Waiting } from "../parts/states.tsx";
import type { RunGroup } from "./groups.ts";
import { Smoothing, useSmoothing } from "./smoothing.tsx";

/** Lines at once. */
const MOST = 12;

export function PickedCurves({ compared, tools }: { compared: readonly RunGroup[]; tools: ReactNode }) {
  const trpc = useTRPC();
  const [smoothing, setSmoothing] = useSmoothing(0.9);
  const [isLog, setLog] = useState(true);
  const [name, setName] = useState<string | null>(null);
  const runs = compared.flatMap((g, style) => g.runs.map((run) => ({ run, style }))).slice(0, MOST);
  const curves = useQueries({
    queries: runs.map(({ run }) =>
      trpc.runs.curves.queryOptions(
        { id: run.id, smoothing, logarithmic: isLog, points: 800 },
        { placeholderData: (old) => old, staleTime: 30_000 },
      ),
    ),
  });
  useHotkeys({
    "run.rougher": () => setSmoothing(smoothing - 0.05),
    "run.smoother": () => setSmoothing(smoothing + 0.05),
    "run.log": () => setLog(!isLog),
  });
  const names = [...new Set(curves.flatMap((c) => (c.data ?? []).map((d) => d.name)))];
  const shown = name !== null && names.includes(name) ? name : (names.find((n) => n === "loss") ?? names[0] ?? null);
  const isFew = !curves.some((c) => (c.data?.find((d) => d.name === shown)?.count ?? 0) >= 30);
  const series = useMemo(
    () =>
      runs.flatMap(({ run, style }, i): Series[] => {
        const curve = curves[i]?.data?.find((d) => d.name === shown);
        if (!curve) return [];
        const line = { x: curve.steps, kind: "line" as const, style };
        return isFew || smoothing === 0
          ? [{ ...line, name: run.name, y: curve.values, direct: run.name }]
          : [
              { ...line, name: `${run.name}, raw`, y: curve.values, faint: true },
              { ...line, name: run.name, y: curve.smoothed, direct: run.name },
            ];
      }),
    [runs, curves, shown, isFew, smoothing],
  );
  if (runs.length > 0 && curves.every((c) => c.isPending)) return <Waiting>Reading the curves</Waiting>;
  if (shown === null)
    return (
      <div>
        <div className="row" style={{ justifyContent: "space-between" }}>
          <h2>Curves of the picked runs</h2>
          {tools}
        </div>
        <p className="soft">None of the picked runs has a curve. Distillations have; pick one of those.</p>
      </div>
    );
  const without = runs.length - new Set(series.map((s) => s.name.replace(/, raw$/, ""))).size;
  return (
    <Chart
      title={`${shown.charAt(0).toUpperCase()}${shown.slice(1)} of the picked runs`}
      sentence={`${isFew || smoothing === 0 ? "As measured." : `Moving average of ${smoothing.toFixed(2)} over all points, debiased; the raw lines stay behind.`}${without > 0 ? ` ${without} of the picked runs have no such curve.` : ""}`}
      series={series}
      x={{ title: "Step" }}
      y={{ title: shown, logarithmic: isLog }}
      height={300}
      unified
      tools={
        <>
          <Picker label="curve" options={names.map((n) => [n, n] as const)} value={shown} onChange={setName} />
          {isFew ? null : <Smoothing value={smoothing} onChange={setSmoothing} />}
          <Segments
            label="Axis"
            options={[
              ["lin", "Lin"],
              ["log", "Log"],
            ]}
            value={isLog ? "log" : "lin"}
            onChange={(v) => setLog(v === "log")}
          />
          {tools}
        </>
      }
    />
  );
}
