"use client";
/**
 * @file Predicted divergence over size with its interval, uniform widths beside it, what was measured whole, and a budget to
 * drag.
 */
import { useMemo } from "react";
import { allocationPoints, uniformAllocation } from "../../lib/compress/allocate/allocation.ts";
import type { Finalist } from "../../lib/compress/allocate/divergence-prediction.ts";
import { z95 } from "../../lib/stats/proportion.ts";
import type { RunWidthMap } from "../../server/runs/run-width-map.ts";
import { stepBudget } from "../parts/budget.ts";
import { Chart, type Series } from "../parts/chart.tsx";
import { bytes, small } from "../parts/format.ts";
import { PictureSlider } from "../parts/picture-slider.tsx";
import type { PlacedFinalist } from "./width-map-model.ts";
import { showWidth } from "./width-map-model.ts";

export function AllocationChart(props: {
  readonly map: RunWidthMap;
  readonly finalists: readonly Finalist[];
  readonly placed: readonly PlacedFinalist[];
  readonly budget: number;
  readonly range: readonly [number, number];
  readonly solved: string;
  readonly onBudget: (bytes: number) => void;
}) {
  const { map, finalists, placed, budget, range, onBudget } = props;
  const series = useMemo(() => seriesOf(map, finalists, placed), [map, finalists, placed]);
  const x = useMemo((): [number, number] => {
    const [low, high] = [range[0] / 1e6, range[1] / 1e6];
    // Until two widths are known there is one size.
    const margin = Math.max((high - low) * 0.03, high * 0.01);
    return [low - margin, high + margin];
  }, [range]);
  return (
    <Chart
      title="Allocation"
      sentence={props.solved}
      series={series}
      x={{ title: "Weights, MB", range: x }}
      y={{ title: "KL to the model, nats per token", logarithmic: true, format: (v) => small(v, 1) }}
      height={264}
      under={(frame) => {
        const at = Math.max(frame.left, frame.x(budget / 1e6));
        return (
          <rect
            x={at}
            y={frame.top}
            width={Math.max(0, frame.left + frame.width - at)}
            height={frame.height}
            fill="var(--ground)"
          />
        );
      }}
      over={(frame) => (
        <PictureSlider
          label="Budget"
          value={budget}
          text={`budget ${bytes(budget)}`}
          min={range[0]}
          max={range[1]}
          at={frame.x(budget / 1e6)}
          from={frame.top}
          to={frame.top + frame.height}
          grip={frame.top + 18}
          side={frame.x(budget / 1e6) > frame.left + frame.width * 0.75 ? "left" : "right"}
          invert={(pixel) => frame.invertX(pixel) * 1e6}
          step={stepBudget}
          onChange={(v) => onBudget(Math.round(v))}
        />
      )}
    />
  );
}

/** Below this, nats per token, rounding errors would stretch a log axis. */
const LEAST = 1e-7;

function seriesOf(map: RunWidthMap, finalists: readonly Finalist[], placed: readonly PlacedFinalist[]): Series[] {
  const curve = allocationPoints(map, finalists).filter((p) => p.prediction.value > LEAST);
  const uniform = map.widths.flatMap((width) => {
    const found = uniformAllocation(map, width);
    return found && found.prediction.value > LEAST ? [{ width, ...found }] : [];
  });
  const ours = placed.filter((f) => !f.isUniform && f.kl > 0);
  const alike = placed.filter((f) => f.isUniform && f.kl > 0);
  const bars = (of: readonly PlacedFinalist[]): NonNullable<Series["error"]> => ({
    low: of.map((f) => Math.max(f.kl / 3, f.kl - z95 * f.standardError)),
    high: of.map((f) => f.kl + z95 * f.standardError),
  });
  return [
    {
      name: "allocated, predicted",
      kind: "line",
      style: 0,
      x: curve.map((p) => p.sizeBytes / 1e6),
      y: curve.map((p) => p.prediction.value),
      band: {
        low: curve.map((p) => Math.max(LEAST, p.prediction.low)),
        high: curve.map((p) => p.prediction.high),
      },
      direct: "allocated, predicted",
      directAt: 0.6,
    },
    ...(uniform.length > 0
      ? [
          {
            name: "uniform, predicted",
            kind: "points" as const,
            style: "reference" as const,
            hollow: true,
            showLabels: true,
            x: uniform.map((u) => u.sizeBytes / 1e6),
            y: uniform.map((u) => u.prediction.value),
            labels: uniform.map((u) => `uniform ${showWidth(u.width)}`),
          },
        ]
      : []),
    ...(alike.length > 0
      ? [
          {
            name: "uniform, measured",
            kind: "points" as const,
            style: "reference" as const,
            x: alike.map((f) => f.sizeBytes / 1e6),
            y: alike.map((f) => f.kl),
            labels: alike.map((f) => f.model),
            error: bars(alike),
          },
        ]
      : []),
    ...(ours.length > 0
      ? [
          {
            name: "measured",
            kind: "points" as const,
            style: "ink" as const,
            markerSize: 9,
            x: ours.map((f) => f.sizeBytes / 1e6),
            y: ours.map((f) => f.kl),
            labels: ours.map((f) => f.model),
            error: bars(ours),
          },
        ]
      : []),
  ];
}
