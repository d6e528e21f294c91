"use client";
/** @file A line on a drawing that is dragged or stepped: a budget, a threshold. The value also has a field somewhere else. */
import { useRef } from "react";

export interface PictureSliderProps {
  /** What it sets, for assistive technology. */
  readonly label: string;
  readonly value: number;
  /** How the value is read out and written beside the grip. */
  readonly text: string;
  readonly min: number;
  readonly max: number;
  /** Where the value is drawn, in the coordinates of the svg. */
  readonly at: number;
  readonly from: number;
  readonly to: number;
  /** Where on the line the grip sits. */
  readonly grip: number;
  readonly invert: (coordinate: number) => number;
  /** The value one step up or down from here; ten steps with Shift. */
  readonly step: (value: number, steps: number) => number;
  readonly onChange: (value: number) => void;
  /** The side of the words. */
  readonly side?: "left" | "right";
}

/** A vertical line; put it into an svg as its last child. */
export function PictureSlider(props: PictureSliderProps) {
  const { value, min, max, at, from, to, grip, invert, step, onChange } = props;
  const dragging = useRef(false);
  const clamp = (v: number): number => Math.max(min, Math.min(max, v));
  const move = (event: React.PointerEvent<SVGGElement>): void => {
    const svg = event.currentTarget.ownerSVGElement;
    const matrix = svg?.getScreenCTM();
    if (!svg || !matrix) return;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    onChange(clamp(invert(point.x)));
  };
  const onKey = (event: React.KeyboardEvent): void => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const to =
      steps !== undefined ? step(value, event.shiftKey ? 10 * steps : steps) : { Home: min, End: max }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    onChange(clamp(to));
  };
  const isLeft = props.side === "left";
  return (
    <g
      role="slider"
      tabIndex={0}
      aria-label={props.label}
      aria-valuemin={min}
      aria-valuemax={max}
      aria-valuenow={value}
      aria-valuetext={props.text}
      className="grip"
      style={{ touchAction: "none" }}
      onKeyDown={onKey}
      onPointerDown={(e) => {
        dragging.current = true;
        e.currentTarget.setPointerCapture(e.pointerId);
      }}
      onPointerMove={(e) => dragging.current && move(e)}
      onPointerUp={() => {
        dragging.current = false;
      }}
    >
      <line x1={at} x2={at} y1={from} y2={to} stroke="transparent" strokeWidth={24} />
      <line x1={at} x2={at} y1={from} y2={to} stroke="var(--signal)" strokeWidth={1.5} />
      <rect x={at - 7} y={grip - 13} width={14} height={26} rx={3} fill="var(--signal)" />
      <path d={`M${at - 2} ${grip - 5}v10M${at + 2} ${grip - 5}v10`} stroke="var(--surface)" strokeWidth={1.2} />
      <text
        x={at + (isLeft ? -13 : 13)}
        y={grip + 4}
        textAnchor={isLeft ? "end" : "start"}
        style={{ fill: "var(--ink)", fontWeight: 590, fontSize: 12 }}
        stroke="var(--surface)"
        strokeWidth={3}
        paintOrder="stroke"
      >
        {props.text}
      </text>
    </g>
  );
}
