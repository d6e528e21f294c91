"use client";
/** @file The map: what each tensor loses at each width, the line of the allocation through it, the bytes it keeps below. */
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { cellStyle, costColour } from "../../experiments/figures/colour-scales.ts";
import type { WidthMapCell, WidthMapColumn } from "../../experiments/kinds/sensitivity/width-map.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";
import { Figure } from "../parts/figure.tsx";
import { bytes, fixed } from "../parts/format.ts";
import { BARS, Kept, Legend, MARGIN } from "./below-the-map.tsx";
import {
  allocationPath,
  announce,
  type Box,
  cellKey,
  columnBoxes,
  costDomain,
  type Group,
  groupsOf,
  letterOf,
  movedCell,
  showCost,
  showWidth,
  type Target,
} from "./width-map-model.ts";

const TOP = 30;
const ROW = 40;

export interface MatrixProps {
  readonly columns: readonly WidthMapColumn[];
  readonly widths: readonly Width[];
  readonly cells: readonly WidthMapCell[];
  readonly target: Target;
  /** `L4.value palette3`, or null. */
  readonly measuring: string | null;
  /** tensor → width. */
  readonly chosen: Readonly<Record<string, string>> | null;
  readonly bold: ReadonlySet<number>;
}

export function Matrix(props: MatrixProps) {
  const { columns, widths, cells, target, measuring, chosen } = props;
  const [wide, setWide] = useState(1100);
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!frame.current) return;
    const watch = new ResizeObserver(([entry]) => entry && setWide(Math.floor(entry.contentRect.width)));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const groups = useMemo(() => groupsOf(columns), [columns]);
  const { boxes, width } = useMemo(() => columnBoxes(groups, wide - 2, MARGIN), [groups, wide]);
  const byKey = useMemo(() => new Map(cells.map((c) => [cellKey(c.tensor, c.width), c])), [cells]);
  const domain = useMemo(() => costDomain(cells, target), [cells, target]);
  const [shown, setShown] = useState("");
  const lower = TOP + ROW * widths.length;
  const height = lower + 26 + (chosen ? BARS + 20 : 0);
  const path = chosen ? allocationPath(groups, boxes, widths, chosen, (row) => TOP + ROW * (row + 0.5)) : "";
  return (
    <Figure
      title="What each tensor loses at each width"
      sentence="One tensor quantized at a time, the rest untouched. The stronger the colour, the more it costs. The line is the allocation for the budget below."
      table={() => ({
        columns: [
          "tensor",
          "width",
          "ΔKL, nats per token",
          "standard error",
          "Δloss, nats per token",
          "bytes",
          "bits per weight",
        ],
        rows: cells.map((c) => [
          c.tensor,
          c.width,
          c.kl.mean,
          c.kl.standardError,
          c.loss.mean,
          c.sizeBytes,
          c.bitsPerWeight,
        ]),
      })}
    >
      <div className="quantize-map scrolls" ref={frame}>
        <svg data-drawing width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="presentation">
          <defs>
            <pattern
              id="quantize-waiting"
              width={6}
              height={6}
              patternUnits="userSpaceOnUse"
              patternTransform="rotate(45)"
            >
              <path d="M0 0V6" stroke="var(--line-2)" strokeWidth={1} />
            </pattern>
          </defs>
          <Heads groups={groups} boxes={boxes} bold={props.bold} />
          <Cells
            columns={columns}
            widths={widths}
            byKey={byKey}
            boxes={boxes}
            target={target}
            measuring={measuring}
            domain={domain}
            onShow={setShown}
          />
          {path ? (
            <g fill="none" strokeLinejoin="miter" pointerEvents="none" data-allocation={path}>
              <path d={path} stroke="var(--surface)" strokeWidth={5} />
              <path d={path} stroke="var(--ink)" strokeWidth={2} />
            </g>
          ) : null}
          {groups.flatMap((g) =>
            g.columns.map((c) => {
              const box = boxes.get(c.tensor);
              return box ? (
                <text key={c.tensor} x={box.x + box.width / 2} y={lower + 16} textAnchor="middle">
                  {letterOf(c)}
                </text>
              ) : null;
            }),
          )}
          <Kept columns={columns} byKey={byKey} chosen={chosen} boxes={boxes} top={lower + 28} />
        </svg>
      </div>
      <Legend domain={domain} target={target} shown={shown} />
    </Figure>
  );
}

function Heads({
  groups,
  boxes,
  bold,
}: {
  groups: readonly Group[];
  boxes: ReadonlyMap<string, Box>;
  bold: ReadonlySet<number>;
}) {
  return (
    <g>
      {groups.map((g) => {
        const [first, last] = [boxes.get(g.columns[0]?.tensor ?? ""), boxes.get(g.columns.at(-1)?.tensor ?? "")];
        if (!first || !last) return null;
        const [from, to] = [first.x, last.x + last.width];
        const isBold = bold.has(g.columns[0]?.layer ?? -1);
        const isEnd = g.columns[0]?.layer === null;
        return (
          <g key={g.name}>
            <text
              x={isEnd ? to : (from + to) / 2}
              y={11}
              textAnchor={isEnd ? "end" : "middle"}
              style={isBold ? { fill: "var(--ink)", fontWeight: 620 } : undefined}
            >
              {g.name}
            </text>
            {isEnd ? null : <path d={`M${from + 0.5} 23V18.5H${to - 0.5}V23`} fill="none" stroke="var(--line-2)" />}
          </g>
        );
      })}
    </g>
  );
}

interface CellsProps {
  readonly columns: readonly WidthMapColumn[];
  readonly widths: readonly Width[];
  readonly byKey: ReadonlyMap<string, WidthMapCell>;
  readonly boxes: ReadonlyMap<string, Box>;
  readonly target: Target;
  readonly measuring: string | null;
  readonly domain: readonly [number, number];
  readonly onShow: (text: string) => void;
}

/** Not drawn again while a budget is dragged. */
const Cells = memo(function Cells(props: CellsProps) {
  const { columns, widths, byKey, boxes, target, measuring, domain, onShow } = props;
  const [focus, setFocus] = useState({ column: 0, row: 0 });
  const grid = useRef<SVGGElement>(null);
  const column = Math.min(focus.column, columns.length - 1);
  const row = Math.min(focus.row, widths.length - 1);
  const onKey = (event: React.KeyboardEvent): void => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const to = movedCell(columns, widths.length, { column, row }, event.key);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    setFocus(to);
    grid.current?.querySelector<SVGElement>(`[data-cell="${to.column} ${to.row}"]`)?.focus();
  };
  return (
    <g
      ref={grid}
      role="grid"
      aria-label={`Tensors by widths, ${byKey.size} of ${columns.length * widths.length} measured`}
      aria-colcount={columns.length}
      aria-rowcount={widths.length}
      onKeyDown={onKey}
    >
      {widths.map((width, r) => (
        <g key={width} role="row">
          <text x={MARGIN - 14} y={TOP + ROW * (r + 0.5) + 4} textAnchor="end" role="rowheader">
            {showWidth(width)}
          </text>
          {columns.map((c, i) => {
            const box = boxes.get(c.tensor);
            const key = cellKey(c.tensor, width);
            const cell = byKey.get(key);
            const isMeasuring = !cell && measuring === key;
            const text = announce(c, width, cell, target, isMeasuring);
            const fill = cell
              ? cellStyle((t) => costColour(Math.max(0, cell[target].mean), domain[0], domain[1], t)).background
              : isMeasuring
                ? "var(--surface)"
                : "url(#quantize-waiting)";
            return box ? (
              <rect
                key={c.tensor}
                role="gridcell"
                aria-label={text}
                aria-colindex={i + 1}
                tabIndex={i === column && r === row ? 0 : -1}
                data-cell={`${i} ${r}`}
                data-measured={cell ? "" : undefined}
                x={box.x + 0.75}
                y={TOP + ROW * r + 0.75}
                width={box.width - 1.5}
                height={ROW - 1.5}
                rx={2}
                style={{ fill }}
                className={isMeasuring ? "measuring" : cell ? "measured" : "waiting"}
                onFocus={() => {
                  setFocus({ column: i, row: r });
                  onShow(detail(text, cell, target));
                }}
                onPointerEnter={() => onShow(detail(text, cell, target))}
              />
            ) : null;
          })}
        </g>
      ))}
    </g>
  );
});

const detail = (text: string, cell: WidthMapCell | undefined, target: Target): string => {
  if (!cell) return text;
  const { mean, standardError } = cell[target];
  const error = Number.isFinite(standardError) ? ` ± ${fixed(standardError * 1e3, Math.abs(mean) < 1e-4 ? 4 : 2)}` : "";
  return `${cell.tensor} at ${showWidth(cell.width)}: ${showCost(mean)}${error} · 10⁻³ nats, ${bytes(cell.sizeBytes)}, ${fixed(cell.bitsPerWeight, 2)} bits per weight`;
};
