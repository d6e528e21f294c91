"use client";
/** @file The other curves, small, on the same horizontal axis; and how fast it went. */
import { useMemo } from "react";
import { Chart, type Mark } from "../../parts/chart.tsx";
import { count } from "../../parts/format.ts";
import { significant } from "../columns.ts";
import { type Axis, type Curve, type mainCurves, type Run, speedOf, tokensAStep, xAtStep, xOf } from "./run-facts.ts";

const names: Readonly<Record<string, string>> = { "learning rate": "Learning rate", "gradient norm": "Gradient norm" };

export function Multiples(props: {
  run: Run;
  curves: readonly Curve[];
  main: ReturnType<typeof mainCurves>;
  axis: Axis;
}) {
  const { run, curves, main } = props;
  const aStep = tokensAStep(run.config);
  const axis = props.axis === "tokens" && aStep === null ? "step" : props.axis;
  const start = main.train?.atMs[0] ?? 0;
  const speed = useMemo(() => (main.train ? speedOf(main.train) : null), [main.train]);
  const small = curves.filter((c) => c.name !== main.train?.name && c.name !== main.heldOut?.name);
  const marks = useMemo(
    (): Mark[] =>
      (main.train?.resumptions ?? []).map((r) => ({
        x: xAtStep(main.train as Curve, Math.max(0, r.step - Math.max(1, r.repeated)), axis, aStep, start),
        to: xAtStep(main.train as Curve, r.step + 1, axis, aStep, start),
        tone: "warn" as const,
      })),
    [main.train, axis, aStep, start],
  );
  const xTitle = axis === "step" ? "Step" : axis === "tokens" ? "Tokens" : "Minutes";
  const perStep = aStep ?? 1;
  const chartOf = (c: Curve): React.ReactNode => (
    <Chart
      key={c.name}
      title={names[c.name] ?? c.name.charAt(0).toUpperCase() + c.name.slice(1)}
      sentence={`${count(c.count)} points, the last ${significant(c.values.findLast((v) => v !== null) ?? Number.NaN)}.`}
      series={[{ name: c.name, x: xOf(c, axis, aStep, start), y: c.values, kind: "line", style: "ink" }]}
      x={{ title: xTitle }}
      y={{ title: c.name }}
      height={150}
      level={3}
      unified
    />
  );
  return (
    <div className="run-multiples">
      {small.filter((c) => c.name === "learning rate").map(chartOf)}
      {speed && main.train && speed.steps.length > 1 ? (
        <Chart
          title={aStep === null ? "Steps per second" : "Tokens per second"}
          sentence={`Over stretches of at least ${significant(speed.stretchMs / 1000)} s, held-out passes counted; median ${significant(median(speed.perSecond) * perStep)}.`}
          series={[
            {
              name: aStep === null ? "steps per second" : "tokens per second",
              x: speed.steps.map((s) => xAtStep(main.train as Curve, s, axis, aStep, start)),
              y: speed.perSecond.map((v) => (v === null ? null : v * perStep)),
              kind: "line",
              style: "ink",
            },
          ]}
          x={{ title: xTitle }}
          y={{ title: "per second", range: [0, 1.1 * perStep * Math.max(...speed.perSecond.map((v) => v ?? 0))] }}
          marks={marks}
          height={150}
          level={3}
          unified
        />
      ) : null}
      {small.filter((c) => c.name !== "learning rate").map(chartOf)}
    </div>
  );
}

function median(values: readonly (number | null)[]): number {
  const sorted = values.filter((v): v is number => v !== null).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
