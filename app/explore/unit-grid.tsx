"use client";
/**
 * @file The grid: layers by units, coloured by what each is worth, hatched where dropped; every gesture also by keyboard.
 *
 * One svg, so that what stands beside the cells is aligned with their rows and the figure saves as it looks.
 */
import { useEffect, useMemo, useRef, useState } from "react";
import { isNoise } from "../../lib/stats/noise.ts";
import { decorative } from "./decorative.ts";
import {
  columnUnits,
  groupUnits,
  isDropped,
  moved,
  type Position,
  rectangleUnits,
  rowUnits,
  type Selection,
  unitAt,
} from "./dropped-units.ts";
import { type AsideProps, GridAside } from "./grid-aside.tsx";
import { Cell, DenseCells, DenseDropped, Hatches, spokenCell } from "./grid-cells.tsx";
import { Brackets, brackets, ColumnHeads, Legend, legendBottom, RowHead } from "./grid-frame.tsx";
import { ASIDE, gridLayout } from "./grid-layout.ts";
import { type GridUnit, kindNames, type UnitGridModel } from "./grid-units.ts";
import type { Scale, Worth } from "./unit-worth.ts";
import { useWidth } from "./use-width.ts";

export interface UnitGridProps {
  readonly label: string;
  readonly grid: UnitGridModel;
  readonly worth: Worth;
  readonly scale: Scale;
  readonly selection: Selection;
  /** Layers that look at everything while others do not. */
  readonly fullLayers: ReadonlySet<number>;
  readonly aside: Omit<AsideProps, "layout">;
  readonly measuring: boolean;
  readonly stale: boolean;
  readonly focus: string | null;
  readonly hover: string | null;
  readonly onFocus: (unit: string) => void;
  readonly onHover: (unit: string | null) => void;
  readonly onToggle: (units: readonly GridUnit[]) => void;
  readonly onExplain: (unit: string) => void;
  readonly onEscape: () => void;
}

/** Below this the grid scrolls sideways and its layer names stay. */
const NARROWEST = 520;

export function UnitGrid(props: UnitGridProps) {
  const { grid, worth, scale, selection, focus, hover } = props;
  const [box, width] = useWidth<HTMLDivElement>(664);
  const layout = useMemo(() => gridLayout(grid, Math.max(NARROWEST, width), ASIDE), [grid, width]);
  const bracketList = useMemo(() => brackets(grid, layout), [grid, layout]);
  const [range, setRange] = useState<{ from: Position; to: Position } | null>(null);
  const drag = useRef<Position | null>(null);
  const svg = useRef<SVGSVGElement>(null);
  const [low, high] = useMemo(() => {
    const values = [...worth.values()].map((w) => w.value);
    return [Math.min(0, ...values), Math.max(0, ...values)] as const;
  }, [worth]);
  const max = Math.max(1e-12, high, -low);
  const last = grid.rows.length - 1;
  const current = (focus !== null ? grid.find.get(focus) : undefined) ?? grid.rows[last]?.[0];
  const isDense = layout.mode === "dense";
  const marked = new Set(range ? rectangleUnits(grid, range.from, range.to).map((u) => u.unit) : []);
  const droppedGroups = useMemo(
    () => new Set(bracketList.filter((b) => b.units.every((u) => isDropped(selection, u))).map((b) => b.group)),
    [bracketList, selection],
  );
  const state = (u: GridUnit) => ({
    dropped: isDropped(selection, u),
    measuring: props.measuring && worth.has(u.unit),
    stale: props.stale,
  });

  const go = (to: Position): void => {
    const unit = unitAt(grid, to);
    if (!unit) return;
    props.onFocus(unit.unit);
    if (!isDense) svg.current?.querySelector<SVGGElement>(`[data-unit="${unit.unit}"]`)?.focus();
  };
  const onKey = (event: React.KeyboardEvent): void => {
    if (event.metaKey || event.ctrlKey || event.altKey || !current) return;
    const at = { layer: current.layer, column: current.column };
    const to = moved(grid, at, event.key);
    const key = event.key.toLowerCase();
    if (to) {
      setRange(event.shiftKey ? { from: range?.from ?? at, to } : null);
      go(to);
    } else if (event.key === "Enter" && range) {
      props.onToggle(rectangleUnits(grid, range.from, range.to));
      setRange(null);
    } else if (event.key === " ") props.onToggle([current]);
    else if (key === "e" || event.key === "Enter") props.onExplain(current.unit);
    else if (key === "r") props.onToggle(rowUnits(grid, at.layer));
    else if (key === "c") props.onToggle(columnUnits(grid, at.column));
    else if (key === "g") props.onToggle(groupUnits(grid, current));
    else if (event.key === "Escape") {
      if (range) setRange(null);
      else props.onEscape();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const pointAt = (event: React.PointerEvent): { x: number; y: number } => {
    const frame = svg.current?.getBoundingClientRect();
    return { x: event.clientX - (frame?.left ?? 0), y: event.clientY - (frame?.top ?? 0) };
  };
  const positionAt = (event: React.PointerEvent): Position | null => {
    const { x, y } = pointAt(event);
    return layout.at(x, y);
  };
  const onDown = (event: React.PointerEvent): void => {
    if (event.button !== 0) return;
    const { x, y } = pointAt(event);
    const at = layout.at(x, y);
    if (!at) return;
    // The strip under a row of cells is its brackets.
    const bracket = bracketList.find(
      (b) => x >= b.from && x <= b.to && y > b.y - 2 && y < b.y + Math.max(6, layout.pitch - layout.cellHeight),
    );
    if (bracket && layout.mode !== "dense") {
      event.preventDefault();
      props.onToggle(bracket.units);
      return;
    }
    drag.current = at;
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const onMove = (event: React.PointerEvent): void => {
    const at = positionAt(event);
    if (drag.current && at && (at.layer !== drag.current.layer || at.column !== drag.current.column || range))
      setRange({ from: drag.current, to: at });
    const unit = at ? (unitAt(grid, at)?.unit ?? null) : null;
    if (unit !== hover) props.onHover(unit);
  };
  const onUp = (event: React.PointerEvent): void => {
    const from = drag.current;
    drag.current = null;
    if (!from) return;
    const to = range?.to ?? from;
    event.preventDefault();
    go(to);
    props.onToggle(rectangleUnits(grid, from, to));
    setRange(null);
  };
  // Escape lets go of a range under the pointer too.
  useEffect(() => {
    const letGo = (event: KeyboardEvent): void => {
      if (event.key !== "Escape" || !drag.current) return;
      drag.current = null;
      setRange(null);
      event.preventDefault();
    };
    window.addEventListener("keydown", letGo, true);
    return () => window.removeEventListener("keydown", letGo, true);
  }, []);

  const hasNoise = scale.isSigned && [...worth.values()].some(isNoise);
  const legend = [
    "dropped" as const,
    ...(bracketList.length > 0 && !isDense ? ["group" as const] : []),
    ...(hasNoise && layout.mode === "marks" ? ["noise" as const] : []),
    ...(props.fullLayers.size > 0 ? ["full" as const] : []),
    ...(worth.size < grid.find.size ? ["waiting" as const] : []),
    ...([...worth.values()].some((w) => w.isEstimate) && !isDense ? ["estimated" as const] : []),
    ...(props.aside.attention.size > 0 && layout.mode !== "numbers" ? ["attention" as const] : []),
    ...(props.aside.mlp.size > 0 && layout.mode !== "numbers" ? ["mlp" as const] : []),
  ];
  const nameEvery = Math.max(1, Math.ceil(13 / layout.pitch));
  const hovered = hover !== null ? grid.find.get(hover) : undefined;
  return (
    <div
      className="explore-grid"
      ref={box}
      onScroll={(e) => svg.current?.style.setProperty("--scrolled", `${e.currentTarget.scrollLeft}px`)}
    >
      <svg
        ref={svg}
        data-drawing
        data-mode={layout.mode}
        width={layout.width}
        height={legendBottom(legend, layout)}
        role="presentation"
        className={props.stale ? "units stale" : "units"}
      >
        <Hatches />
        <g
          role="grid"
          aria-label={props.label}
          aria-multiselectable="true"
          aria-rowcount={grid.rows.length + 1}
          onKeyDown={onKey}
          onPointerDown={onDown}
          onPointerMove={onMove}
          onPointerUp={onUp}
          onPointerLeave={() => hover !== null && props.onHover(null)}
        >
          <rect
            x={layout.left}
            y={layout.top}
            width={Math.max(0, layout.right - layout.left)}
            height={layout.bottom - layout.top}
            fill="transparent"
          />
          <ColumnHeads grid={grid} layout={layout} onColumn={(c) => props.onToggle(columnUnits(grid, c))} />
          {isDense ? (
            <>
              <DenseCells grid={grid} layout={layout} worth={worth} max={max} isSigned={scale.isSigned} />
              <DenseDropped grid={grid} layout={layout} selection={selection} />
            </>
          ) : null}
          {grid.rows
            .map((row, layer) => ({ row, layer }))
            .reverse()
            .filter(({ layer }) => !isDense || layer === current?.layer)
            .map(({ row, layer }) => (
              <g role="row" key={layer} aria-rowindex={last - layer + 2}>
                {isDense ? (
                  <g role="rowheader">
                    <title>{`Layer ${layer}`}</title>
                  </g>
                ) : (
                  <RowHead
                    layer={layer}
                    layout={layout}
                    full={props.fullLayers.has(layer)}
                    every={nameEvery}
                    onRow={(l) => props.onToggle(rowUnits(grid, l))}
                  />
                )}
                {(isDense ? row.filter((u) => u === current) : row).map((u) => (
                  <Cell
                    key={isDense ? "current" : u.unit}
                    unit={u}
                    x={layout.x(layer, u.column)}
                    y={layout.y(layer)}
                    width={layout.cellWidth}
                    height={layout.cellHeight}
                    numbers={layout.mode === "numbers"}
                    worth={worth.get(u.unit)}
                    max={max}
                    scale={scale}
                    tabbable={u === current}
                    current={focus === u.unit}
                    hovered={hover === u.unit}
                    marked={marked.has(u.unit)}
                    {...state(u)}
                  />
                ))}
              </g>
            ))}
        </g>
        <Brackets list={bracketList} dropped={droppedGroups} mode={layout.mode} />
        {range ? <RangeBox range={range} grid={grid} layout={layout} /> : null}
        {hovered && isDense ? (
          <rect
            {...decorative}
            x={layout.x(hovered.layer, hovered.column) - 1}
            y={layout.y(hovered.layer) - 1}
            width={layout.cellWidth + 2}
            height={layout.cellHeight + 2}
            fill="none"
            stroke="var(--ink)"
            strokeWidth={1.5}
            pointerEvents="none"
          />
        ) : null}
        {isDense ? (
          <g {...decorative}>
            <rect
              className="row-name"
              x={0}
              y={layout.top}
              width={layout.left - 2}
              height={layout.bottom - layout.top}
              fill="var(--surface)"
            />
            {grid.rows.map((_, layer) => (
              <RowHead
                // biome-ignore lint/suspicious/noArrayIndexKey: a row is its layer
                key={layer}
                layer={layer}
                layout={layout}
                full={props.fullLayers.has(layer)}
                every={nameEvery}
                onRow={(l) => props.onToggle(rowUnits(grid, l))}
              />
            ))}
          </g>
        ) : null}
        <GridAside {...props.aside} layout={layout} />
        <Legend layout={layout} low={low} high={high} scale={scale} marks={legend} />
      </svg>
      {layout.mode !== "numbers" && current ? (
        <p className="soft small explore-reading" aria-live={isDense ? "polite" : undefined}>
          {spokenCell(hovered ?? current, worth.get((hovered ?? current).unit), scale, state(hovered ?? current))}
        </p>
      ) : null}
    </div>
  );
}

function RangeBox(props: {
  range: { from: Position; to: Position };
  grid: UnitGridModel;
  layout: ReturnType<typeof gridLayout>;
}) {
  const { range, layout } = props;
  const units = rectangleUnits(props.grid, range.from, range.to);
  if (units.length === 0) return null;
  const xs = units.map((u) => layout.x(u.layer, u.column));
  const ys = units.map((u) => layout.y(u.layer));
  const [x, y] = [Math.min(...xs) - 3, Math.min(...ys) - 3];
  return (
    <g {...decorative} pointerEvents="none">
      <rect
        className="range"
        x={x}
        y={y}
        width={Math.max(...xs) + layout.cellWidth + 3 - x}
        height={Math.max(...ys) + layout.cellHeight + 3 - y}
        rx={4}
      />
      <title>
        {units.length} {units.length === 1 ? kindNames[props.grid.kind].one : kindNames[props.grid.kind].many}
      </title>
    </g>
  );
}
