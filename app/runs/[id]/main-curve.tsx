"use client";
/** @file The large curve: raw faint, smoothed over all points, held-out points with their errors, where a worker was lost, where it is headed. */
import { useMemo } from "react";
import { Chart, type Mark, type Series } from "../../parts/chart.tsx";
import { Segments } from "../../parts/controls.tsx";
import { count } from "../../parts/format.ts";
import { useHotkeys } from "../../parts/hotkeys.ts";
import { significant, withError } from "../columns.ts";
import { Smoothing } from "../smoothing.tsx";
import { type Axis, clockTime, type mainCurves, type Run, tokensAStep, totalSteps, xAtStep, xOf } from "./run-facts.ts";

/** Fewer points are read better as they are. */
const FEW = 30;

export function MainCurve(props: {
  run: Run;
  main: ReturnType<typeof mainCurves>;
  axis: Axis;
  setAxis: (axis: Axis) => void;
  isLog: boolean;
  setLog: (on: boolean) => void;
  smoothing: number;
  setSmoothing: (beta: number) => void;
  /** A step to point at. */
  focus: number | null;
}) {
  const { run, main, isLog, smoothing, setSmoothing } = props;
  const { train, heldOut } = main;
  const aStep = tokensAStep(run.config);
  const axis = props.axis === "tokens" && aStep === null ? "step" : props.axis;
  useHotkeys({
    "run.log": () => props.setLog(!isLog),
    "run.rougher": () => setSmoothing(1 - (1 - smoothing) * 1.5),
    "run.smoother": () => setSmoothing(1 - (1 - smoothing) / 1.5),
  });
  const isSmoothed = smoothing > 0 && (train?.count ?? 0) >= FEW;
  const start = train?.atMs[0] ?? 0;
  const end = totalSteps(run.config);
  // The errors of a run from before errors were curves are in its summary.
  const kept = useMemo(() => errorsOf(run.summary), [run.summary]);
  const series = useMemo((): Series[] => {
    if (!train) return [];
    const x = xOf(train, axis, aStep, start);
    const list: Series[] = isSmoothed
      ? [
          { name: "raw", x, y: train.values, kind: "line", style: 0, faint: true },
          {
            name: `train, smoothed ${smoothing}`,
            x,
            y: train.smoothed,
            kind: "line",
            style: 0,
            direct: `train, smoothed ${smoothing}`,
            directAt: 0.12,
          },
        ]
      : [{ name: "train", x, y: train.values, kind: "line", style: 0, direct: "train", directAt: 0.12 }];
    if (train.expected && axis !== "time") {
      const scale = axis === "tokens" ? (aStep ?? 1) : 1;
      const { steps, values, low, high } = train.expected;
      list.push({
        name: "expected",
        x: steps.map((s) => s * scale),
        y: values,
        kind: "line",
        style: 0,
        dotted: true,
        band: { low, high },
        direct: `expected at ${count(steps.at(-1) ?? 0)}: ${significant(low.at(-1) ?? 0)} to ${significant(high.at(-1) ?? 0)}`,
      });
    }
    if (heldOut) {
      const errors = heldOut.steps.map(
        (s, i) => heldOut.errors?.[i] ?? (heldOut.name === "held-out KL" ? kept.get(s) : undefined) ?? 0,
      );
      const hasErrors = errors.some((e) => e > 0);
      const floor = Math.min(...heldOut.values.filter((v): v is number => v !== null)) / 4;
      list.push({
        name: hasErrors ? "held out ± SE" : "held out",
        x: xOf(heldOut, axis, aStep, start),
        y: heldOut.values,
        kind: "points",
        style: 1,
        hollow: true,
        direct: hasErrors ? "held out ± SE" : "held out",
        directAt: 0.4,
        ...(hasErrors
          ? {
              error: {
                low: heldOut.values.map((v, i) =>
                  Math.max(isLog ? floor : Number.NEGATIVE_INFINITY, (v ?? 0) - (errors[i] ?? 0)),
                ),
                high: heldOut.values.map((v, i) => (v ?? 0) + (errors[i] ?? 0)),
              },
            }
          : {}),
      });
    }
    return list;
  }, [train, heldOut, axis, aStep, start, isSmoothed, smoothing, isLog, kept]);
  const marks = useMemo((): Mark[] => {
    if (!train) return [];
    const at = (step: number): number => xAtStep(train, step, axis, aStep, start);
    return [
      ...train.resumptions.map((r): Mark => {
        const repeated =
          r.repeated === 0
            ? ""
            : `<br>${count(r.repeated)} ${r.repeated === 1 ? "step" : "steps"} repeated${r.same === true ? ", the same to the last bit" : r.same === false ? ", not all with the same value" : ""}`;
        return {
          x: at(r.step),
          tone: "warn",
          text: `interrupted ${clockTime(r.lostAtMs)}, resumed ${clockTime(r.resumedAtMs)} from step ${count(Math.max(0, r.step - 1))}${repeated}`,
        };
      }),
      ...train.notFinite.slice(0, 3).map((s): Mark => ({ x: at(s), tone: "bad", text: `not finite at ${count(s)}` })),
      ...(props.focus === null
        ? []
        : [{ x: at(props.focus), tone: "signal" as const, text: `step ${count(props.focus)}` }]),
    ];
  }, [train, axis, aStep, start, props.focus]);
  if (!train) return null;
  const last = heldOut?.values.findLast((v) => v !== null) ?? null;
  const lastError = heldOut?.errors?.findLast((v) => v !== null) ?? null;
  const sentence =
    heldOut && last !== null
      ? `Held out ${withError(last, lastError).filter(Boolean).join(" ± ")} at step ${count(heldOut.steps.at(-1) ?? 0)}; ${count(train.count)} training steps${isSmoothed ? `, ${isLog ? "logarithms " : ""}averaged over all of them before any thinning` : ""}.`
      : `${count(train.count)} points${isSmoothed ? ", averaged over all of them before any thinning" : ""}.`;
  const xTitle = axis === "step" ? "Step" : axis === "tokens" ? "Tokens" : "Minutes since it began";
  const isOpenEnded = end !== null && axis !== "time" && run.state !== "succeeded";
  return (
    <div className="region run-curve">
      <Chart
        title={main.title.charAt(0).toUpperCase() + main.title.slice(1)}
        sentence={sentence}
        series={series}
        marks={marks}
        x={{
          title: xTitle,
          ...(isOpenEnded && end !== null ? { range: [0, end * (axis === "tokens" ? (aStep ?? 1) : 1)] as const } : {}),
        }}
        y={{ title: train.name, logarithmic: isLog, format: (v) => String(Number(v.toPrecision(3))) }}
        height={330}
        unified
        tools={
          <>
            {train.count >= FEW ? <Smoothing value={smoothing} onChange={setSmoothing} /> : null}
            <Segments
              label="Horizontal axis"
              options={
                [
                  ["step", "Step"],
                  ...(aStep === null ? [] : [["tokens", "Tokens"] as const]),
                  ["time", "Time"],
                ] as const
              }
              value={axis}
              onChange={props.setAxis}
            />
            <Segments
              label="Vertical axis"
              options={[
                ["lin", "Lin"],
                ["log", "Log"],
              ]}
              value={isLog ? "log" : "lin"}
              onChange={(v) => props.setLog(v === "log")}
            />
          </>
        }
      />
    </div>
  );
}

/** Standard errors of held-out KL by step, as the summary of a distillation has them. */
function errorsOf(summary: unknown): ReadonlyMap<number, number> {
  const curve: unknown = typeof summary === "object" && summary !== null ? Reflect.get(summary, "curve") : null;
  const found = new Map<number, number>();
  for (const p of Array.isArray(curve) ? (curve as unknown[]) : []) {
    if (typeof p !== "object" || p === null) continue;
    const [step, error]: unknown[] = [Reflect.get(p, "step"), Reflect.get(p, "heldOutKlError")];
    if (typeof step === "number" && typeof error === "number") found.set(step, error);
  }
  return found;
}
