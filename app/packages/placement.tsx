"use client";
/** @file Where each operation runs: rows of the decoder by layers, in pairs, modelled left and reported right, differences ringed. */
import type { Row, Unit } from "../../lib/cost/placement.ts";
import { Figure } from "../parts/figure.tsx";
import type { Placed } from "./card-lines.ts";

const names: Record<Unit, string> = { ANE: "Neural Engine", GPU: "GPU", CPU: "CPU" };
/** Rows as they are short enough to stand beside squares. */
const rowNames: Partial<Record<Row, string>> = { "query, key, value": "q k v", head: "vocabulary" };
const nameOf = (row: Row): string => rowNames[row] ?? row;
type Cell = Placed["rows"][number]["cells"][number];

/** Left of the cells, for the names of the rows. */
const NAMES = 84;
const ROW = 23;
const HEAD = 20;
/** A square is this wide at most, and at least; below that the drawing scrolls. */
const SQUARE = { most: 14, least: 8 };
const DRAWN = 372;

export interface PlacementProps {
  readonly placed: Placed;
  readonly reportedBy: string | null;
}

export function Placement({ placed, reportedBy }: PlacementProps) {
  const layers = [...new Set(placed.rows.flatMap((r) => r.cells.flatMap((c) => (c.layer === null ? [] : [c.layer]))))];
  layers.sort((a, b) => a - b);
  const inLayers = placed.rows.filter((r) => r.cells.some((c) => c.layer !== null));
  const outside = placed.rows.filter((r) => r.cells.every((c) => c.layer === null));
  const room = layers.length > 0 ? (DRAWN - NAMES) / layers.length : SQUARE.most * 2 + 6;
  const square = Math.max(SQUARE.least, Math.min(SQUARE.most, Math.floor((room - 6) / 2)));
  const pitch = Math.max(square * 2 + 6, Math.min(room, square * 2 + 8));
  const width = Math.max(DRAWN, NAMES + layers.length * pitch);
  const outsideTop = HEAD + inLayers.length * ROW + (inLayers.length > 0 ? 10 : 0);
  const height = outsideTop + outside.length * ROW + 26;
  const legendTop = height - 20;
  const isReported = placed.reported > 0;
  const words = isReported
    ? `Left of each pair modelled, right reported${reportedBy ? ` by ${reportedBy}` : ""}. ${placed.differing} of ${placed.reported} differ.`
    : "Left of each pair modelled. The right halves stay blank until a phone has reported where its operations ran.";
  // Every few layers are named where all would touch.
  const step = Math.ceil(26 / pitch);
  return (
    <Figure
      title="Where each operation runs"
      sentence={words}
      table={() => ({
        columns: ["operations", "layer", "modelled", "reported", "count", "differing operations"],
        rows: placed.rows.flatMap((r) =>
          r.cells.map((c) => [
            r.row,
            c.layer === null ? "outside" : `L${c.layer}`,
            names[c.modelled],
            c.reported ? names[c.reported] : "not reported",
            c.operations,
            c.differing.map((d) => `${d.output} (${d.operator}) on ${names[d.reported]}`).join(", "),
          ]),
        ),
      })}
    >
      <div className="scrolls">
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={`${words} “View as table” has every cell.`}
          data-drawing=""
        >
          <defs>
            <pattern id="package-gpu" width={4} height={4} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <rect width={4} height={4} fill="var(--surface)" />
              <rect width={1.4} height={4} fill="var(--ink-2)" />
            </pattern>
          </defs>
          {layers.map((l, i) =>
            i % step === 0 ? (
              <text key={l} x={NAMES + i * pitch + square + 1} y={12} textAnchor="middle">
                L{l}
              </text>
            ) : null,
          )}
          {inLayers.map((r, i) => (
            <g key={r.row} transform={`translate(0 ${HEAD + i * ROW})`}>
              <text x={NAMES - 12} y={12} textAnchor="end">
                {nameOf(r.row)}
              </text>
              {layers.map((l, at) => {
                const cell = r.cells.find((c) => c.layer === l);
                return cell ? <Pair key={l} cell={cell} row={r.row} x={NAMES + at * pitch} square={square} /> : null;
              })}
            </g>
          ))}
          {inLayers.length > 0 && outside.length > 0 ? (
            <path d={`M${NAMES} ${outsideTop - 6}H${width}`} stroke="var(--line)" />
          ) : null}
          {outside.map((r, i) => {
            const [cell] = r.cells;
            return (
              <g key={r.row} transform={`translate(0 ${outsideTop + i * ROW})`}>
                <text x={NAMES - 12} y={12} textAnchor="end">
                  {nameOf(r.row)}
                </text>
                {cell ? <Pair cell={cell} row={r.row} x={NAMES} square={SQUARE.most} /> : null}
              </g>
            );
          })}
          <g transform={`translate(${NAMES} ${legendTop})`}>
            <Square unit="ANE" x={0} size={12} />
            <text x={18} y={10}>
              Neural Engine
            </text>
            <Square unit="GPU" x={104} size={12} />
            <text x={122} y={10}>
              GPU
            </text>
            <Square unit="CPU" x={156} size={12} />
            <text x={174} y={10}>
              CPU
            </text>
            <rect x={209} y={-1.5} width={15} height={15} rx={4} fill="none" stroke="var(--signal)" strokeWidth={1.5} />
            <text x={230} y={10}>
              differs
            </text>
          </g>
        </svg>
      </div>
    </Figure>
  );
}

function Pair({ cell, row, x, square }: { cell: Cell; row: string; x: number; square: number }) {
  const where = cell.layer === null ? row : `${row}, layer ${cell.layer}`;
  const differs = cell.differing.length > 0;
  return (
    <g transform={`translate(${x} 0)`}>
      <title>
        {`${where}: ${cell.operations} operation${cell.operations === 1 ? "" : "s"}, modelled on ${names[cell.modelled]}, ${cell.reported ? `reported on ${names[cell.reported]}` : "not reported"}`}
        {differs ? `: ${cell.differing.map((d) => d.output).join(", ")}` : ""}
      </title>
      <Square unit={cell.modelled} x={0} size={square} />
      <Square unit={cell.reported} x={square + 2} size={square} />
      {differs ? (
        <rect
          x={-3}
          y={-3}
          width={2 * square + 8}
          height={square + 6}
          rx={5}
          fill="none"
          stroke="var(--signal)"
          strokeWidth={1.5}
        />
      ) : null}
    </g>
  );
}

function Square({ unit, x, size }: { unit: Unit | null; x: number; size: number }) {
  if (unit === null)
    return <rect x={x + 0.5} y={0.5} width={size - 1} height={size - 1} rx={2.5} fill="none" stroke="var(--line)" />;
  if (unit === "ANE") return <rect x={x} y={0} width={size} height={size} rx={2.5} fill="var(--ink-2)" />;
  return (
    <>
      <rect
        x={x + 0.5}
        y={0.5}
        width={size - 1}
        height={size - 1}
        rx={2.5}
        fill={unit === "GPU" ? "url(#package-gpu)" : "var(--surface)"}
        stroke="var(--ink-2)"
      />
      {unit === "CPU" ? <circle cx={x + size / 2} cy={size / 2} r={1.8} fill="var(--ink-2)" /> : null}
    </>
  );
}
