"use client";
/** @file One axis of parallel coordinates: its ticks, its brush with two handles, its name to drag. */
import { useRef, useState } from "react";
import { linearAxis, logTicks } from "../parts/axis.ts";
import { count } from "../parts/format.ts";
import { significant } from "./columns.ts";
import { type Brush, type ParallelAxis, position, valueAt } from "./parallel-axes.ts";

export interface VerticalFrame {
  readonly from: number;
  readonly to: number;
  /** The rail of runs without a value. */
  readonly missing: number;
}

export const top = (f: VerticalFrame, share: number): number => f.to - share * (f.to - f.from);

function ticksOf(a: ParallelAxis): { value: number; text: string }[] {
  if (a.scale === "ordinal")
    return a.words.map((text, value) => ({ value, text: text.length > 14 ? `${text.slice(0, 13)}…` : text }));
  const [low, high] = a.domain;
  const values = a.scale === "logarithmic" ? logTicks(low, high, 4) : linearAxis([low, high], [0, 1], 4).ticks;
  return values.map((value) => ({
    value,
    text: tickText(value),
  }));
}

const tickText = (v: number): string =>
  v !== 0 && Math.abs(v) < 0.01
    ? v.toExponential(0).replace("-", "−")
    : count(v) === String(v) || Math.abs(v) >= 1_000
      ? count(v)
      : String(Number(v.toPrecision(3))).replace("-", "−");

/** A share of the axis that one arrow moves. */
const STEP = 0.02;

export function ParallelAxisMark(props: {
  axis: ParallelAxis;
  title: string;
  x: number;
  /** To the next axis. */
  gap: number;
  frame: VerticalFrame;
  brush: Brush | null;
  /** While it is dragged, then once finally. */
  onBrush: (brush: Brush | null, isFinal: boolean) => void;
  onMove: (x: number) => void;
  onStep: (by: number) => void;
  onRemove: (() => void) | undefined;
}) {
  const { axis, x, frame, brush, onBrush } = props;
  const [ghost, setGhost] = useState<number | null>(null);
  const drag = useRef<{
    kind: "new" | "move" | "low" | "high";
    from: number;
    brush: Brush | null;
    now: Brush | null;
  } | null>(null);
  const local = (event: React.PointerEvent<SVGElement>): { x: number; share: number } => {
    const svg = event.currentTarget.ownerSVGElement;
    const matrix = svg?.getScreenCTM();
    if (!matrix) return { x, share: 0 };
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return { x: p.x, share: Math.max(0, Math.min(1, (frame.to - p.y) / (frame.to - frame.from))) };
  };
  const fromShares = (a: number, b: number): Brush => {
    const [low, high] = [valueAt(axis, Math.min(a, b)), valueAt(axis, Math.max(a, b))];
    return axis.scale === "ordinal" ? { low: Math.round(low) - 0.4, high: Math.round(high) + 0.4 } : { low, high };
  };
  const shares = (b: Brush): [number, number] => [
    Math.max(0, position(axis, Math.max(b.low, axis.domain[0]))),
    Math.min(1, position(axis, Math.min(b.high, axis.domain[1]))),
  ];
  const start =
    (kind: "new" | "move" | "low" | "high") =>
    (e: React.PointerEvent<SVGElement>): void => {
      e.stopPropagation();
      e.currentTarget.setPointerCapture(e.pointerId);
      drag.current = { kind, from: local(e).share, brush, now: brush };
    };
  const move = (e: React.PointerEvent<SVGElement>): void => {
    const d = drag.current;
    if (!d) return;
    const { share } = local(e);
    if (d.kind === "new") {
      if (Math.abs(share - d.from) > 0.01) d.now = fromShares(d.from, share);
    } else if (d.brush) {
      const [low, high] = shares(d.brush);
      const by = d.kind === "move" ? Math.max(-low, Math.min(1 - high, share - d.from)) : 0;
      if (d.kind === "move") d.now = fromShares(low + by, high + by);
      else d.now = d.kind === "low" ? fromShares(Math.min(share, high), high) : fromShares(low, Math.max(share, low));
    }
    if (d.now) onBrush(d.now, false);
  };
  const end = (): void => {
    const d = drag.current;
    drag.current = null;
    if (d?.now) onBrush(d.now, true);
  };
  const pointer = {
    onPointerMove: move,
    onPointerUp: end,
    onPointerCancel: end,
    style: { touchAction: "none" as const },
  };
  const nudge =
    (which: "low" | "high") =>
    (e: React.KeyboardEvent): void => {
      const by = {
        ArrowUp: STEP,
        ArrowRight: STEP,
        ArrowDown: -STEP,
        ArrowLeft: -STEP,
        PageUp: 0.1,
        PageDown: -0.1,
        Home: -1,
        End: 1,
      }[e.key];
      if (e.key === "Delete" || e.key === "Backspace") onBrush(null, true);
      else if (by === undefined || !brush) return;
      else {
        const [low, high] = shares(brush);
        const clamp = (v: number): number => Math.max(0, Math.min(1, v));
        onBrush(
          which === "low"
            ? fromShares(Math.min(high, clamp(low + by)), high)
            : fromShares(low, Math.max(low, clamp(high + by))),
          true,
        );
      }
      e.preventDefault();
      e.stopPropagation();
    };
  const [low, high] = brush ? shares(brush) : [0, 0];
  const [yHigh, yLow] = [top(frame, high), top(frame, low)];
  const say = (v: number): string => (axis.scale === "ordinal" ? (axis.words[Math.round(v)] ?? "") : significant(v));
  return (
    <g className="parallel-axis">
      <line x1={x} x2={x} y1={frame.from} y2={frame.to} stroke="var(--line-2)" strokeWidth={1.5} />
      {axis.values.some((v) => v === null) ? (
        <text x={x} y={frame.missing + 4} textAnchor="middle" className="none">
          none
        </text>
      ) : null}
      {ticksOf(axis).map((t) => {
        const y = top(frame, position(axis, t.value));
        return (
          <g key={t.value}>
            <path d={`M${x - 4} ${y}h8`} stroke="var(--line-2)" />
            <text x={x - 8} y={y + 4} textAnchor="end" stroke="var(--surface)" strokeWidth={3} paintOrder="stroke">
              {t.text}
            </text>
          </g>
        );
      })}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the handles below do the same by keyboard */}
      <rect
        className="brush-area"
        x={x - 14}
        y={frame.from - 6}
        width={28}
        height={frame.to - frame.from + 12}
        fill="transparent"
        onPointerDown={start("new")}
        onDoubleClick={() => onBrush(null, true)}
        {...pointer}
      />
      {brush ? (
        <>
          {/* biome-ignore lint/a11y/noStaticElementInteractions: the handles do the same by keyboard */}
          <rect
            className="brush"
            x={x - 7}
            y={yHigh}
            width={14}
            height={Math.max(4, yLow - yHigh)}
            rx={3}
            onPointerDown={start("move")}
            onDoubleClick={() => onBrush(null, true)}
            {...pointer}
          />
          {(["high", "low"] as const).map((which) => (
            <rect
              key={which}
              className="brush-handle"
              role="slider"
              tabIndex={0}
              aria-label={`${props.title}, ${which === "low" ? "lower" : "upper"} limit; Delete clears it`}
              aria-orientation="vertical"
              aria-valuemin={axis.domain[0]}
              aria-valuemax={axis.domain[1]}
              aria-valuenow={which === "low" ? brush.low : brush.high}
              aria-valuetext={say(which === "low" ? brush.low : brush.high)}
              x={x - 12}
              y={(which === "low" ? yLow : yHigh) - 6}
              width={24}
              height={12}
              fill="transparent"
              onKeyDown={nudge(which)}
              onPointerDown={start(which)}
              {...pointer}
            />
          ))}
        </>
      ) : null}
      {ghost !== null ? (
        <line x1={ghost} x2={ghost} y1={frame.from} y2={frame.to} stroke="var(--signal)" strokeDasharray="3 3" />
      ) : null}
      <AxisName {...props} ghost={ghost} setGhost={setGhost} />
    </g>
  );
}

/** Dragged to reorder; arrows do the same, Enter brushes all of it, Delete takes the axis out. */
function AxisName(props: {
  title: string;
  x: number;
  gap: number;
  frame: VerticalFrame;
  axis: ParallelAxis;
  brush: Brush | null;
  ghost: number | null;
  setGhost: (x: number | null) => void;
  onBrush: (brush: Brush | null, isFinal: boolean) => void;
  onMove: (x: number) => void;
  onStep: (by: number) => void;
  onRemove: (() => void) | undefined;
}) {
  const { title, x, ghost, setGhost, frame } = props;
  const width = Math.max(60, Math.min(props.gap - 8, 130));
  const most = Math.max(8, Math.floor(width / 6.2));
  const from = useRef<number | null>(null);
  return (
    <g
      role="button"
      tabIndex={0}
      className="axis-name"
      aria-label={`Axis ${title}. Left and right arrows reorder it, Enter brushes it, Delete removes it`}
      style={{ touchAction: "none" }}
      onPointerDown={(e) => {
        from.current = e.clientX;
        e.currentTarget.setPointerCapture(e.pointerId);
      }}
      onPointerMove={(e) => {
        if (from.current !== null && Math.abs(e.clientX - from.current) > 4) setGhost(x + e.clientX - from.current);
      }}
      onPointerUp={() => {
        from.current = null;
        if (ghost !== null) props.onMove(ghost);
        setGhost(null);
      }}
      onDoubleClick={() => props.onBrush(null, true)}
      onKeyDown={(e) => {
        if (e.key === "ArrowLeft") props.onStep(-1);
        else if (e.key === "ArrowRight") props.onStep(1);
        else if (e.key === "Enter" || e.key === " ")
          props.onBrush(props.brush ? null : { low: props.axis.domain[0], high: props.axis.domain[1] }, true);
        else if ((e.key === "Delete" || e.key === "Backspace") && props.onRemove) props.onRemove();
        else return;
        e.preventDefault();
        e.stopPropagation();
      }}
    >
      <rect x={(ghost ?? x) - width / 2} y={frame.to + 22} width={width} height={26} fill="transparent" rx={3} />
      <text x={ghost ?? x} y={frame.to + 40} textAnchor="middle" className="name">
        {title.length > most ? `${title.slice(0, most - 1)}…` : title}
        <title>{title}</title>
      </text>
    </g>
  );
}
