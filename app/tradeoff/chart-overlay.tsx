"use client";
/** @file What is ours on the trade-off: the base on its rail, capsules, rings, the budget and its two sides. */
import { stepBudget } from "../parts/budget.ts";
import type { ChartFrame } from "../parts/chart.tsx";
import { fixed } from "../parts/format.ts";
import { PictureSlider } from "../parts/picture-slider.tsx";
import type { Capsule } from "./front.ts";
import type { Measure, Point, Size } from "./measures.ts";

export interface View {
  readonly size: Size;
  readonly measure: Measure;
  readonly budget: number;
  readonly base: Point | null;
  readonly selected: Point | null;
  readonly pinned: Point | null;
  readonly capsules: readonly Capsule[];
  readonly range: readonly [number, number];
  /** Points a phone has reported on; empty while they are not shown. */
  readonly reported: readonly Point[];
}

/** How far above the lower edge the rail of the base runs. */
const RAIL = 9;

/** The side that costs more than the budget. */
export function Ground({ frame, budget }: { frame: ChartFrame; budget: number }) {
  const x = Math.max(frame.left, Math.min(frame.left + frame.width, frame.x(budget)));
  return <rect x={x} y={frame.top} width={frame.left + frame.width - x} height={frame.height} fill="var(--ground)" />;
}

/** Where a point is drawn; the base with KL 0 has no place on a logarithmic axis but its rail. */
function place(frame: ChartFrame, { size, measure }: View, p: Point): { x: number; y: number } | null {
  const value = measure.of(p);
  if (value === null) return null;
  const onRail = measure.logarithmic && value <= 0;
  return { x: frame.x(size.of(p)), y: onRail ? frame.top + frame.height - RAIL : frame.y(value) };
}

export function Overlay(props: {
  readonly frame: ChartFrame;
  readonly view: View;
  readonly onBudget: (value: number) => void;
}) {
  const { frame, view, onBudget } = props;
  const { size, measure, budget, base, range } = view;
  const bottom = frame.top + frame.height;
  const ring = (p: Point | null, stroke: string, dash?: string) => {
    const at = p ? place(frame, view, p) : null;
    return at ? (
      <circle cx={at.x} cy={at.y} r={8} fill="none" stroke={stroke} strokeWidth={2} strokeDasharray={dash} />
    ) : null;
  };
  const baseAt = base ? place(frame, view, base) : null;
  return (
    <>
      {view.capsules.map((c) => (
        <CapsuleWords key={c.points[0]?.model} capsule={c} frame={frame} view={view} />
      ))}
      {measure.logarithmic && base ? (
        <>
          <path d={`M${frame.left} ${bottom - RAIL}H${frame.left + frame.width}`} stroke="var(--line)" />
          <path
            d={`M${frame.left - 5} ${bottom - RAIL - 17}l10 -5M${frame.left - 5} ${bottom - RAIL - 12}l10 -5`}
            stroke="var(--ink-3)"
            strokeWidth={1.2}
          />
          <text x={frame.left - 9} y={bottom - RAIL + 4} textAnchor="end">
            0
          </text>
        </>
      ) : null}
      {baseAt ? (
        <g>
          <path
            d={`M${baseAt.x - 5} ${baseAt.y - 5}l10 10m0 -10l-10 10`}
            stroke="var(--ink)"
            strokeWidth={2}
            strokeLinecap="round"
          />
          <text
            x={baseAt.x - 12}
            y={baseAt.y + 4}
            textAnchor="end"
            className="tradeoff-halo"
            style={{ fill: "var(--ink-2)" }}
          >
            fp16 base, {base ? size.text(size.of(base)) : ""}
          </text>
        </g>
      ) : null}
      {view.reported.map((p) => {
        const at = place(frame, view, p);
        return at ? (
          <g key={p.model}>
            <rect x={at.x - 4} y={at.y - 25} width={8} height={13} rx={2} fill="var(--surface)" stroke="var(--ink-2)">
              <title>reported by {[...new Set(p.reported.map((r) => r.device))].join(", ")}</title>
            </rect>
            <path d={`M${at.x - 1.5} ${at.y - 14.5}h3`} stroke="var(--ink-2)" />
          </g>
        ) : null;
      })}
      {ring(view.pinned, "var(--ink-2)", "3 2")}
      {ring(view.selected, "var(--signal)")}
      <Better frame={frame} isLow={measure.lowIsBetter} raised={measure.logarithmic} />
      <PictureSlider
        label="Budget"
        value={budget}
        text={`budget ${size.text(budget)}`}
        min={range[0]}
        max={range[1]}
        at={frame.x(budget)}
        from={frame.top}
        to={bottom}
        grip={frame.top + 104}
        side={frame.x(budget) > frame.left + frame.width * 0.8 ? "left" : "right"}
        invert={frame.invertX}
        step={stepBudget}
        onChange={(v) => onBudget(Number(v.toPrecision(4)))}
      />
    </>
  );
}

interface CapsuleProps {
  readonly capsule: Capsule;
  readonly frame: ChartFrame;
  readonly view: View;
}

function outline({ capsule, frame, view }: CapsuleProps) {
  const places = capsule.points.flatMap((p) => place(frame, view, p) ?? []);
  const xs = places.map((p) => p.x);
  const ys = places.map((p) => p.y);
  const [left, right] = [Math.min(...xs) - 13, Math.max(...xs) + 13];
  const [top, bottom] = [Math.min(...ys) - 13, Math.max(...ys) + 13];
  const isOurs = view.selected !== null && capsule.points.includes(view.selected);
  return { left, right, top, bottom, isOurs };
}

/** Drawn behind the points it holds. */
export function CapsuleMark(props: CapsuleProps) {
  const { left, right, top, bottom, isOurs } = outline(props);
  return (
    <rect
      x={left}
      y={top}
      width={right - left}
      height={bottom - top}
      rx={13}
      fill={isOurs ? "var(--signal-soft)" : "none"}
      fillOpacity={0.45}
      stroke={isOurs ? "var(--signal)" : "var(--control)"}
      strokeDasharray="4 3"
    />
  );
}

function CapsuleWords(props: CapsuleProps) {
  const { capsule, view } = props;
  const { right, top, isOurs } = outline(props);
  const offered = capsule.points[0];
  return isOurs ? (
    <text x={right} y={top - 20} textAnchor="end" className="tradeoff-halo" style={{ fill: "var(--ink-2)" }}>
      <tspan>
        {capsule.points.length} points here are indistinguishable (least p {fixed(capsule.leastP, 2)})
      </tspan>
      <tspan x={right} dy={14}>
        the {view.size.words[2]} is offered{offered ? `, ${view.size.text(view.size.of(offered))}` : ""}
      </tspan>
    </text>
  ) : null;
}

/** An arrow to the better corner. */
function Better({ frame, isLow, raised }: { frame: ChartFrame; isLow: boolean; raised: boolean }) {
  const x = frame.left + 14;
  const y = isLow ? frame.top + frame.height - (raised ? 46 : 16) : frame.top + 18;
  const d = isLow ? `M${x + 16} ${y - 16}L${x} ${y}m0 -9v9h9` : `M${x + 16} ${y + 16}L${x} ${y}m0 9v-9h9`;
  return (
    <g>
      <path d={d} fill="none" stroke="var(--ink-3)" strokeWidth={1.2} />
      <text x={x + 24} y={isLow ? y - 8 : y + 14}>
        {isLow ? "lower left is better" : "upper left is better"}
      </text>
    </g>
  );
}
