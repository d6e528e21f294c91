"use client";
/** @file The frame around the cells: names of layers and columns, brackets of KV groups, the colour legend. */
import { memo, type ReactNode } from "react";
import { cellStyle, divergingColour } from "../../experiments/figures/colour-scales.ts";
import { signedRootAxis, ticksApart } from "../parts/axis.ts";
import { decorative } from "./decorative.ts";
import { tickLabel } from "./grid-cells.tsx";
import type { GridLayout } from "./grid-layout.ts";
import type { GridUnit, UnitGridModel } from "./grid-units.ts";
import type { Scale } from "./unit-worth.ts";

export interface Bracket {
  readonly group: string;
  readonly units: readonly GridUnit[];
  readonly from: number;
  readonly to: number;
  readonly y: number;
}

/** Neighbouring cells that read one KV group. */
export function brackets(grid: UnitGridModel, layout: GridLayout): Bracket[] {
  return grid.rows.flatMap((row, layer) => {
    const found = new Map<string, GridUnit[]>();
    for (const u of row) if (u.group !== null) found.set(u.group, [...(found.get(u.group) ?? []), u]);
    return [...found].map(([group, units]) => ({
      group,
      units,
      from: layout.x(layer, units[0]?.column ?? 0),
      to: layout.x(layer, units.at(-1)?.column ?? 0) + layout.cellWidth,
      y: layout.y(layer) + layout.cellHeight + (layout.mode === "numbers" ? 3 : 1.5),
    }));
  });
}

export const Brackets = memo(function Brackets(props: {
  readonly list: readonly Bracket[];
  readonly dropped: ReadonlySet<string>;
  readonly mode: GridLayout["mode"];
}) {
  if (props.mode === "dense") return null;
  return (
    <g {...decorative}>
      {props.list.map((b) =>
        props.dropped.has(b.group) ? (
          <path
            key={b.group}
            className="bracket"
            d={`M${b.from} ${b.y + 0.5}H${b.to}`}
            stroke="var(--ink)"
            strokeWidth={3}
          />
        ) : (
          <path
            key={b.group}
            className="bracket"
            d={
              props.mode === "numbers" ? `M${b.from + 0.5} ${b.y - 2}v3H${b.to - 0.5}v-3` : `M${b.from} ${b.y}H${b.to}`
            }
            fill="none"
            stroke="var(--line-2)"
          />
        ),
      )}
    </g>
  );
});

/** Group names over the columns, when every layer has the same groups. */
function groupHeads(grid: UnitGridModel, layout: GridLayout): { name: string; from: number; to: number }[] {
  const shapes = new Set(grid.rows.map((row) => row.map((u) => u.group?.replace(/^L\d+\./, "")).join()));
  if (shapes.size !== 1 || grid.rows[0]?.[0]?.group == null) return [];
  return brackets({ ...grid, rows: grid.rows.slice(0, 1) }, layout).map((b) => ({
    name: b.group.replace(/^L\d+\./, ""),
    from: b.from,
    to: b.to,
  }));
}

/** Every how many columns a name fits. */
const nameStep = (layout: GridLayout, longest: number): number =>
  Math.max(1, Math.ceil((longest * 6.2 + 4) / Math.max(1, layout.cellWidth + 1)));

export function ColumnHeads(props: {
  readonly grid: UnitGridModel;
  readonly layout: GridLayout;
  readonly onColumn: (column: number) => void;
}) {
  const { grid, layout } = props;
  const step = nameStep(layout, Math.max(...grid.columns.map((c) => c.length)));
  const widest = grid.rows.reduce((best, row, l) => (row.length > (grid.rows[best]?.length ?? 0) ? l : best), 0);
  const groups = groupHeads(grid, layout);
  return (
    <>
      {groups.length > 0 ? (
        <g {...decorative}>
          {groups.map((g) => (
            <g key={g.name}>
              <text className="group-name" x={(g.from + g.to) / 2} y={11} textAnchor="middle">
                {g.name}
              </text>
              <path d={`M${g.from + 0.5} 21v-4H${g.to - 0.5}v4`} fill="none" stroke="var(--line-2)" />
            </g>
          ))}
        </g>
      ) : null}
      <g role="row">
        <g role="columnheader">
          <title>Layer</title>
        </g>
        {grid.columns.map((name, column) => (
          <g
            key={name}
            role="columnheader"
            aria-label={name}
            className="head-name"
            onPointerDown={(e) => e.stopPropagation()}
            onClick={() => props.onColumn(column)}
          >
            <title>{name}</title>
            <rect
              x={layout.x(widest, column)}
              y={layout.top - 20}
              width={layout.cellWidth}
              height={20}
              fill="transparent"
            />
            {column % step === 0 ? (
              <text x={layout.x(widest, column) + layout.cellWidth / 2} y={layout.top - 6} textAnchor="middle">
                {layout.mode === "numbers" || grid.kind !== "heads" ? name : name.slice(1)}
              </text>
            ) : null}
          </g>
        ))}
      </g>
    </>
  );
}

/** A layer's name; bold with a bar where it looks at everything. */
export function RowHead(props: {
  readonly layer: number;
  readonly layout: GridLayout;
  readonly full: boolean;
  readonly every: number;
  readonly onRow: (layer: number) => void;
}) {
  const { layer, layout, full } = props;
  const y = layout.y(layer);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: R on a cell does the same
    <g
      className={full ? "row-name full" : "row-name"}
      onPointerDown={(e) => e.stopPropagation()}
      onClick={() => props.onRow(layer)}
    >
      <g role="rowheader">
        <title>{`Layer ${layer}${full ? ", full attention" : ""}`}</title>
      </g>
      <rect
        x={0}
        y={y}
        width={layout.left - 4}
        height={layout.pitch}
        fill={layout.mode === "dense" ? "transparent" : "var(--surface)"}
      />
      {layer % props.every === 0 ? (
        <text {...decorative} x={layout.left - 13} y={y + layout.cellHeight / 2 + 4} textAnchor="end">
          L{layer}
        </text>
      ) : null}
      {full ? <rect x={layout.left - 8} y={y} width={2} height={layout.cellHeight} fill="var(--ink-2)" /> : null}
    </g>
  );
}

const stops = 24;

export type LegendMark = "dropped" | "group" | "noise" | "full" | "waiting" | "estimated" | "attention" | "mlp";

const markNames: Record<LegendMark, string> = {
  dropped: "dropped",
  group: "KV group dropped",
  noise: "within noise",
  full: "full attention",
  waiting: "not measured",
  estimated: "estimated by Taylor",
  attention: "attention",
  mlp: "MLP",
};

const markDrawings: Record<LegendMark, ReactNode> = {
  dropped: <rect x={0.5} y={-1.5} width={16} height={11} rx={2} fill="url(#explore-legend)" stroke="var(--ink)" />,
  waiting: <rect x={0.5} y={-1.5} width={16} height={11} rx={2} fill="url(#explore-waiting)" stroke="var(--line)" />,
  estimated: (
    <rect x={0.5} y={-1.5} width={16} height={11} rx={2} fill="none" stroke="var(--ink-2)" strokeDasharray="1.5 2.5" />
  ),
  group: <path d="M0 4.5H16" stroke="var(--ink)" strokeWidth={3} />,
  noise: <circle cx={8} cy={4} r={2} fill="none" stroke="var(--ink-2)" />,
  full: <rect x={7} y={-2} width={2} height={12} fill="var(--ink-2)" />,
  attention: <circle cx={8} cy={4} r={3.5} fill="none" stroke="var(--ink)" strokeWidth={1.5} />,
  mlp: <rect x={4.5} y={0.5} width={7} height={7} fill="var(--ink)" />,
};

const BAR = 200;
const LINE = 19;

interface PlacedMark {
  readonly mark: LegendMark;
  readonly x: number;
  readonly y: number;
}

/** Marks one after the other beside the colours, in as many lines as they need. */
export function placeMarks(marks: readonly LegendMark[], layout: GridLayout): PlacedMark[] {
  const first = layout.left + BAR + 22;
  let [x, y] = [first, layout.bottom + 4];
  return marks.map((mark) => {
    const width = 34 + markNames[mark].length * 6.2;
    if (x + width > layout.width && x > first) {
      x = first;
      y += LINE;
    }
    const at = { mark, x, y };
    x += width;
    return at;
  });
}

/** Where a legend ends. */
export const legendBottom = (marks: readonly LegendMark[], layout: GridLayout): number =>
  Math.max(layout.bottom + 32, ...placeMarks(marks, layout).map((p) => p.y + 14));

export function Legend(props: {
  readonly layout: GridLayout;
  readonly low: number;
  readonly high: number;
  readonly scale: Scale;
  readonly marks: readonly LegendMark[];
}) {
  const { layout, scale, marks } = props;
  const [low, high] = [Math.min(0, props.low * scale.times), Math.max(1e-9, props.high * scale.times)];
  const max = Math.max(-low, high);
  const x0 = layout.left;
  const y = layout.bottom + 4;
  const axis = signedRootAxis([low, high], [x0, x0 + BAR], 3);
  const placed = placeMarks(marks, layout);
  return (
    <g {...decorative} className="legend">
      <pattern id="explore-legend" width={4} height={4} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <path d="M0 0V4" stroke="var(--ink-2)" strokeWidth={1} />
      </pattern>
      <g>
        <title>Colour: signed square root</title>
        {Array.from({ length: stops }, (_, i) => {
          const value = axis.invert(x0 + ((i + 0.5) / stops) * BAR);
          const fill = cellStyle((theme) => divergingColour(value, max, theme)).background;
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: a step is its place
            <rect key={i} x={x0 + (i * BAR) / stops} y={y} width={BAR / stops + 0.3} height={8} style={{ fill }} />
          );
        })}
      </g>
      {ticksApart(axis, 34).map((t) => (
        <g key={t}>
          <path d={`M${axis(t)} ${y + 8}v4`} stroke="var(--line-2)" />
          <text x={axis(t)} y={y + 24} textAnchor="middle">
            {tickLabel(t, scale)}
          </text>
        </g>
      ))}
      {placed.map((p) => (
        <g key={p.mark} transform={`translate(${p.x} ${p.y})`}>
          {markDrawings[p.mark]}
          <text x={22} y={8}>
            {markNames[p.mark]}
          </text>
        </g>
      ))}
    </g>
  );
}
