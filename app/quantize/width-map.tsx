"use client";
/** @file A width map, at work or done, and what a budget buys of it; or none yet. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import type { WidthMapColumn } from "../../experiments/kinds/sensitivity/width-map.ts";
import { allocateWidths } from "../../lib/compress/allocate/allocation.ts";
import { tensorUnit } from "../../lib/units.ts";
import type { RunState } from "../../server/db/schema.ts";
import { useTRPC } from "../parts/api.tsx";
import { fixed, percent } from "../parts/format.ts";
import { ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { AllocationChart } from "./allocation-chart.tsx";
import { AllocationPanel } from "./allocation-panel.tsx";
import { Matrix } from "./matrix.tsx";
import type { WidthMapRun } from "./progress.tsx";
import { type Settings, widthsOf } from "./settings.ts";
import { budgetRange, calibration, measuringNow, placeFinalists, type Target } from "./width-map-model.ts";

/** How often a map at work is asked for its news. */
export const LIVE_MS = 700;
export const isAtWork = (state: RunState): boolean => state === "queued" || state === "running" || state === "stopping";

/** The map before anything is measured: its columns are the model's, its cells wait. */
export function Unmeasured({ settings, target }: { settings: Settings; target: Target }) {
  const trpc = useTRPC();
  const anatomy = useQuery(
    trpc.models.anatomy.queryOptions({ id: settings.model }, { staleTime: Number.POSITIVE_INFINITY }),
  );
  const columns = useMemo(
    (): WidthMapColumn[] =>
      (anatomy.data?.tensors ?? [])
        .filter((t) => t.shape.length > 1)
        .map((t) => ({
          tensor: tensorUnit(t.name),
          layer: t.layer,
          role: t.role as WidthMapColumn["role"],
          elements: t.elements,
          fp16Bytes: 2 * t.elements,
        })),
    [anatomy.data],
  );
  if (anatomy.error) return <ErrorNote error={anatomy.error} />;
  return (
    <section className="region">
      <Matrix
        columns={columns}
        widths={widthsOf(settings.scheme)}
        cells={[]}
        target={target}
        measuring={null}
        chosen={null}
        bold={new Set()}
      />
      <p className="soft" role="status">
        Nothing is measured yet with these settings. “Measure every tensor” stores one tensor at a time at each width,{" "}
        {columns.length} tensors at {widthsOf(settings.scheme).length} widths on {settings.limit} sequences of{" "}
        {settings.text}; cells fill in as they are done.
      </p>
    </section>
  );
}

export function WidthMapView({ run, settings, target }: { run: WidthMapRun; settings: Settings; target: Target }) {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  const map = useQuery(
    trpc.runs.tensors.queryOptions(
      { id: run.id },
      { placeholderData: keepPreviousData, refetchInterval: isAtWork(run.state) ? LIVE_MS : false },
    ),
  );
  const anatomy = useQuery(
    trpc.models.anatomy.queryOptions({ id: settings.model }, { staleTime: Number.POSITIVE_INFINITY }),
  );
  const { data } = map;
  const placed = useMemo(() => (data ? placeFinalists(data.finalists, data) : []), [data]);
  const finalists = useMemo(() => calibration(placed), [placed]);
  const range = useMemo((): readonly [number, number] => (data ? budgetRange(data) : [0, 1]), [data]);
  const [moved, setMoved] = useState<number | null>(null);
  useEffect(() => {
    if (moved === null) return;
    const timer = setTimeout(() => {
      set({ budget: moved }, { quietly: true });
      setMoved(null);
    }, 200);
    return () => clearTimeout(timer);
  }, [moved, set]);
  const middle = Math.round(range[0] + (range[1] - range[0]) * 0.35);
  const budget = Math.max(range[0], Math.min(range[1], moved ?? (Number(get("budget")) || middle)));
  const solution = useMemo(() => {
    if (!data || data.cells.length === 0) return null;
    const from = performance.now();
    const allocation = allocateWidths(data, budget, finalists);
    return { allocation, milliseconds: performance.now() - from };
  }, [data, budget, finalists]);
  const bold = useMemo(
    () =>
      new Set(
        (anatomy.data?.layers ?? []).flatMap((l, i, all) =>
          l.window === null && all.some((o) => o.window !== null) ? [i] : [],
        ),
      ),
    [anatomy.data],
  );
  if (map.error) return <ErrorNote error={map.error} />;
  if (!data)
    return (
      <div className="region">
        <Waiting>Reading the measurements</Waiting>
      </div>
    );
  const solved = solution
    ? `re-solved in ${fixed(solution.milliseconds, solution.milliseconds < 10 ? 1 : 0)} ms · ${
        solution.allocation.optimal
          ? "the exact optimum"
          : `gap to the exact optimum at most ${percent(solution.allocation.gap, 2)}`
      }`
    : "";
  return (
    <>
      <section className="region quantize-top">
        <Matrix
          columns={data.columns}
          widths={data.widths}
          cells={data.cells}
          target={target}
          measuring={run.state === "running" ? measuringNow(data.columns, data.widths, data.cells) : null}
          chosen={solution?.allocation.tensors ?? null}
          bold={bold}
        />
      </section>
      {solution ? (
        <div className="quantize-below">
          <section className="region">
            <AllocationChart
              map={data}
              finalists={finalists}
              placed={placed}
              budget={budget}
              range={range}
              solved={`${solved}${data.done < data.total ? ` · ${data.done} of ${data.total} cells known` : ""}. Band: 95 %. By KL to the model, measured on ${settings.text}.`}
              onBudget={setMoved}
            />
          </section>
          <AllocationPanel
            allocation={solution.allocation}
            widths={data.widths}
            settings={settings}
            budget={budget}
            placed={placed}
          />
        </div>
      ) : (
        <section className="region">
          <h2>Allocation</h2>
          <p className="soft" role="status">
            The allocation appears with the first cells.
          </p>
        </section>
      )}
    </>
  );
}
