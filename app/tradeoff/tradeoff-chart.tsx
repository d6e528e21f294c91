"use client";
/** @file Accuracy against size: the staircase of what is worth having, references, and a budget to drag. */
import { useMemo } from "react";
import { fineLogTicks, logTicks } from "../parts/axis.ts";
import { Chart, type Series } from "../parts/chart.tsx";
import { small } from "../parts/format.ts";
import type { FigureTable } from "../parts/save-figure.ts";
import { CapsuleMark, Ground, Overlay } from "./chart-overlay.tsx";
import type { Capsule } from "./front.ts";
import { type Measure, type Point, type Size, sizes } from "./measures.ts";

export interface TradeoffChartProps {
  readonly points: readonly Point[];
  readonly front: readonly Point[];
  readonly capsules: readonly Capsule[];
  readonly size: Size;
  readonly measure: Measure;
  readonly budget: number;
  readonly selected: Point | null;
  readonly pinned: Point | null;
  readonly showDominated: boolean;
  readonly showReferences: boolean;
  readonly showReports: boolean;
  readonly sentence: string;
  readonly nameOf: (p: Point) => string;
  readonly onBudget: (value: number) => void;
  readonly onPick: (model: string) => void;
}

/** Share of a logarithmic axis given to the rail of the base. */
const RAIL_SHARE = 0.13;

interface Ranges {
  readonly x: readonly [number, number];
  readonly y: readonly [number, number];
  readonly ticks: readonly number[] | null;
}

export function rangesOf(points: readonly Point[], size: Size, measure: Measure): Ranges {
  const xs = points.map(size.of);
  const span = Math.log(Math.max(...xs) / Math.min(...xs)) || 0.2;
  const x = [Math.min(...xs) * Math.exp(-0.07 * span), Math.max(...xs) * Math.exp(0.06 * span)] as const;
  const ys = points.flatMap((p) => {
    const value = measure.of(p);
    if (value === null || (measure.logarithmic && value <= 0)) return [];
    const { low, high } = measure.interval(p) ?? { low: value, high: value };
    return measure.logarithmic ? [Math.max(low, value / 3), high] : [low, high];
  });
  if (ys.length === 0) return { x, y: [0.001, 1], ticks: null };
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  if (!measure.logarithmic) {
    const margin = (high - low || 1) * 0.08;
    return { x, y: [low - margin, high + margin], ticks: null };
  }
  [low, high] = [low / 1.3, high * 1.6];
  const ticks = logTicks(low, high);
  return { x, y: [low * (low / high) ** RAIL_SHARE, high], ticks };
}

export function TradeoffChart(props: TradeoffChartProps) {
  const { points, front, capsules, size, measure, budget, selected, pinned, showDominated, showReferences } = props;
  const ranges = useMemo(() => rangesOf(points, size, measure), [points, size, measure]);
  const base = points.find((p) => p.isBase) ?? null;
  const series = useMemo(
    () => seriesOf(points, front, size, measure, ranges, { showDominated, showReferences }),
    [points, front, size, measure, ranges, showDominated, showReferences],
  );
  // On the axis of speed a phone marks the numbers that are its own.
  const reported = props.showReports
    ? points.filter((p) => (size === sizes.speed ? p.speed?.kind === "reported" : p.reported.length > 0))
    : [];
  const view = { reported, size, measure, budget, base, selected, pinned, capsules, range: ranges.x };
  const title = size.axis(points);
  const table = (): FigureTable => ({
    columns: ["model", "recipe", "kind", title, measure.axis, "95 % low", "95 % high", "on the front"],
    rows: points.map((p) => {
      const interval = measure.interval(p);
      return [
        p.model,
        props.nameOf(p),
        p.isBase ? "base" : (p.reference ?? "ours"),
        size.of(p),
        measure.of(p),
        interval?.low ?? null,
        interval?.high ?? null,
        front.includes(p) ? "yes" : "no",
      ];
    }),
  });
  return (
    <Chart
      title="How small before it shows"
      sentence={props.sentence}
      series={series}
      x={{ title, logarithmic: true, range: ranges.x, ticks: fineLogTicks(...ranges.x) }}
      y={{
        title: measure.axis,
        logarithmic: measure.logarithmic,
        ...(measure.logarithmic ? { format: (v: number) => small(v, 1) } : {}),
        range: ranges.y,
        ...(ranges.ticks ? { ticks: ranges.ticks } : {}),
      }}
      height={492}
      table={table}
      onPick={props.onPick}
      under={(frame) => (
        <>
          <Ground frame={frame} budget={budget} />
          {capsules.map((c) => (
            <CapsuleMark key={c.points[0]?.model} capsule={c} frame={frame} view={view} />
          ))}
        </>
      )}
      over={(frame) => <Overlay frame={frame} view={view} onBudget={props.onBudget} />}
    />
  );
}

function seriesOf(
  points: readonly Point[],
  front: readonly Point[],
  size: Size,
  measure: Measure,
  { x, y }: Ranges,
  { showDominated, showReferences }: { showDominated: boolean; showReferences: boolean },
): Series[] {
  const value = (p: Point): number | null => measure.of(p);
  const drawn = (name: string, of: readonly Point[], look: Pick<Series, "style"> & Partial<Series>): Series => ({
    name,
    kind: "points",
    x: of.map(size.of),
    y: of.map(value),
    labels: of.map((p) => p.model),
    ...look,
  });
  const bars = (of: readonly Point[]): NonNullable<Series["error"]> => {
    const intervals = of.map((p) => measure.interval(p) ?? { low: value(p) ?? 0, high: value(p) ?? 0 });
    return {
      low: intervals.map((i) => Math.max(i.low, measure.logarithmic ? y[0] : i.low)),
      high: intervals.map((i) => i.high),
    };
  };
  const ours = points.filter((p) => !p.isBase && p.reference === null && value(p) !== null);
  const worth = front.filter((p) => p.reference === null);
  const reference = (which: Point["reference"]): Point[] =>
    points.filter((p) => p.reference === which && value(p) !== null).sort((a, b) => size.of(a) - size.of(b));
  const [palettes, integers] = [reference("uniform palettes"), reference("uniform integers")];
  const [first, last] = [front[0], front.at(-1)];
  return [
    drawn("on the front", worth, { style: "ink", error: bars(worth), markerSize: 9 }),
    ...(first && last
      ? [
          {
            name: "front",
            kind: "staircase" as const,
            style: "ink" as const,
            // Down from the worse edge, and on to the larger one.
            x: [size.of(first), ...front.map(size.of), x[1]],
            y: [measure.lowIsBetter ? y[1] : y[0], ...front.map(value), value(last)],
          },
        ]
      : []),
    ...(showDominated
      ? [
          drawn(
            "dominated",
            ours.filter((p) => !front.includes(p)),
            { style: "reference", marker: "ring", hollow: true, markerSize: 6 },
          ),
        ]
      : []),
    ...(showReferences && palettes.length > 0
      ? [
          drawn("uniform palettes", palettes, {
            style: "reference",
            hollow: true,
            joined: true,
            dotted: true,
            markerSize: 9,
            error: bars(palettes),
            direct: "uniform palettes",
          }),
        ]
      : []),
    ...(showReferences && integers.length > 0
      ? [
          drawn("uniform integers", integers, {
            style: 0,
            marker: "triangle",
            hollow: true,
            joined: true,
            markerSize: 10,
            error: bars(integers),
            direct: "uniform integers",
          }),
        ]
      : []),
  ];
}
