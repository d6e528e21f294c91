"use client";
/** @file Below the map: the bytes each tensor keeps, and what colours and lines mean. */
import { cellStyle, costColour } from "../../experiments/figures/colour-scales.ts";
import type { WidthMapCell, WidthMapColumn } from "../../experiments/kinds/sensitivity/width-map.ts";
import { bytes } from "../parts/format.ts";
import { type Box, cellKey, type Target, targets } from "./width-map-model.ts";

/** Left of the columns. */
export const MARGIN = 62;
/** The height of the bars. */
export const BARS = 46;

/** Bytes each tensor keeps under the allocation; what is out of all proportion is broken and carries its number. */
export function Kept(props: {
  readonly columns: readonly WidthMapColumn[];
  readonly byKey: ReadonlyMap<string, WidthMapCell>;
  readonly chosen: Readonly<Record<string, string>> | null;
  readonly boxes: ReadonlyMap<string, Box>;
  readonly top: number;
}) {
  const { columns, byKey, chosen, boxes, top } = props;
  if (!chosen) return null;
  const kept = columns.map((c) => ({
    column: c,
    size: byKey.get(cellKey(c.tensor, chosen[c.tensor] ?? ""))?.sizeBytes ?? c.fp16Bytes,
  }));
  const most = Math.max(...kept.filter((k) => k.column.layer !== null).map((k) => k.size), 1);
  return (
    <g>
      <text x={MARGIN - 14} y={top + 12} textAnchor="end">
        kB kept
      </text>
      {kept.map(({ column, size }) => {
        const box = boxes.get(column.tensor);
        if (!box) return null;
        const isBroken = size > 1.5 * most;
        const tall = isBroken ? BARS : ((BARS * Math.min(1, size / most)) as number);
        return (
          <g key={column.tensor}>
            <rect x={box.x + 1.5} y={top} width={Math.max(1, box.width - 3)} height={tall} fill="var(--control)">
              <title>{`${column.tensor} keeps ${bytes(size)}`}</title>
            </rect>
            {isBroken ? (
              <>
                <path d={`M${box.x} ${top + BARS - 10}l${box.width} -7`} stroke="var(--surface)" strokeWidth={3} />
                <text x={box.x + box.width / 2} y={top + BARS + 13} textAnchor="middle">
                  {Math.round(size / 1e3)}
                </text>
              </>
            ) : null}
          </g>
        );
      })}
    </g>
  );
}

export function Legend({
  domain,
  target,
  shown,
}: {
  domain: readonly [number, number];
  target: Target;
  shown: string;
}) {
  const stops = Array.from({ length: 24 }, (_, i) => domain[0] * (domain[1] / domain[0]) ** (i / 23));
  const ticks = [0, 2, 4, 6].map((i) => domain[0] * 10 ** i * 1e3);
  return (
    <div className="quantize-legend small soft">
      <span className="row">
        <svg width={24} height={10} aria-hidden="true">
          <path d="M0 7.5H8V2.5H24" fill="none" stroke="var(--ink)" strokeWidth={2} />
        </svg>
        chosen at this budget
      </span>
      <span className="row">
        <i className="quantize-swatch hatch" /> not measured yet
      </span>
      <span className="row">
        <i className="quantize-swatch measuring" /> measuring now
      </span>
      <output className="quantize-shown">{shown}</output>
      <span className="quantize-scale">
        <span className="quantize-ramp">
          {stops.map((v) => (
            <i key={v} style={cellStyle((t) => costColour(v, domain[0], domain[1], t))} />
          ))}
          <small>
            {ticks
              .map((t) => Number(t.toPrecision(1)))
              .map((t) => (
                <b key={t}>{t}</b>
              ))}
          </small>
        </span>
        <span>Δ{target === "kl" ? "KL" : targets[target]}, 10⁻³ nats</span>
      </span>
    </div>
  );
}
