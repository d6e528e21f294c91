"use client";
/** @file One cell of the grid in each of its states, and all of them in one drawing where they are too many. */
import { memo } from "react";
import { divergingColour, type Shade } from "../../experiments/figures/colour-scales.ts";
import { isNoise } from "../../lib/stats/noise.ts";
import { fixed, signed } from "../parts/format.ts";
import { decorative } from "./decorative.ts";
import { isDropped, type Selection } from "./dropped-units.ts";
import type { GridLayout } from "./grid-layout.ts";
import { type GridUnit, spokenUnit, type UnitGridModel } from "./grid-units.ts";
import type { Scale, UnitWorth, Worth } from "./unit-worth.ts";

const css = (of: (theme: "light" | "dark") => Shade, what: "fill" | "ink"): string => {
  const [light, dark] = [of("light"), of("dark")];
  return what === "ink"
    ? `light-dark(${light.ink}, ${dark.ink})`
    : `light-dark(rgb(${light.fill.join(" ")}), rgb(${dark.fill.join(" ")}))`;
};

/** `+121`, `+36.4`, `0.03`: three figures at most. */
export function short(value: number, scale: Scale): string {
  const v = value * scale.times;
  const digits = Math.abs(v) >= 99.95 ? 0 : scale.isSigned || Math.abs(v) >= 9.995 ? 1 : 2;
  return scale.isSigned ? signed(v, digits) : fixed(v, digits);
}

export const tickLabel = (t: number, scale: Scale): string =>
  t === 0 ? "0" : scale.isSigned ? signed(t, Math.abs(t) < 1 ? 1 : 0) : fixed(t, Math.abs(t) < 10 ? 1 : 0);

export interface CellState {
  readonly dropped: boolean;
  /** The value still moves: only some sequences are in. */
  readonly measuring: boolean;
  /** Measured once, being measured again. */
  readonly stale: boolean;
}

/** What a cell says: `Layer 5, head 2, plus 121, standard error 4.1, kept`. */
export function spokenCell(unit: GridUnit, worth: UnitWorth | undefined, scale: Scale, state: CellState): string {
  const number = (v: number): string => short(v, scale).replace("+", "plus ").replace("−", "minus ");
  return [
    spokenUnit(unit.unit),
    worth
      ? `${number(worth.value)}, standard error ${fixed(worth.standardError * scale.times, 1)}${scale.isSigned && isNoise(worth) ? ", within noise" : ""}${worth.isEstimate ? ", estimated by Taylor" : ""}`
      : "not measured",
    state.measuring ? "being measured" : state.stale ? "out of date" : "",
    state.dropped ? "dropped" : "kept",
  ]
    .filter((w) => w !== "")
    .join(", ");
}

export interface CellProps extends CellState {
  readonly unit: GridUnit;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly numbers: boolean;
  readonly worth: UnitWorth | undefined;
  readonly max: number;
  readonly scale: Scale;
  readonly tabbable: boolean;
  readonly current: boolean;
  readonly hovered: boolean;
  readonly marked: boolean;
}

export const Cell = memo(function Cell(props: CellProps) {
  const { unit, x, y, width, height, numbers, worth, max, scale } = props;
  const noise = worth !== undefined && scale.isSigned && isNoise(worth);
  // What may be nothing is coloured as nothing.
  const shade = worth ? (theme: "light" | "dark") => divergingColour(noise ? 0 : worth.value, max, theme) : null;
  const classes = [
    "cell",
    worth ? "" : "waiting",
    props.measuring ? "measuring" : "",
    props.stale ? "stale" : "",
    worth?.isEstimate ? "estimated" : "",
    props.dropped ? "dropped" : "",
    props.current ? "current" : "",
    props.hovered ? "hovered" : "",
    props.marked ? "marked" : "",
  ];
  const middle = x + width / 2;
  return (
    <g className={props.dropped ? "unit dropped" : "unit"} style={shade ? { color: css(shade, "ink") } : undefined}>
      <g
        role="gridcell"
        data-unit={unit.unit}
        tabIndex={props.tabbable ? 0 : -1}
        aria-selected={props.dropped}
        aria-label={spokenCell(unit, worth, scale, props)}
        className={classes.filter((c) => c !== "").join(" ")}
      >
        <rect
          className="face"
          x={x}
          y={y}
          width={width}
          height={height}
          rx={3}
          style={shade ? { fill: css(shade, "fill") } : { fill: "url(#explore-waiting)" }}
        />
        {props.dropped ? (
          <rect className="hatched" x={x} y={y} width={width} height={height} rx={3} fill="url(#explore-dropped)" />
        ) : null}
        {noise && !numbers && !props.dropped ? (
          <circle cx={middle} cy={y + height / 2} r={2} fill="none" stroke="currentColor" opacity={0.6} />
        ) : null}
        <rect className="edge" x={x + 0.75} y={y + 0.75} width={width - 1.5} height={height - 1.5} rx={2.5} />
        <rect className="ring" x={x - 3} y={y - 3} width={width + 6} height={height + 6} rx={5} />
      </g>
      {/* The cell's name says this in words. */}
      {worth && numbers ? (
        <g {...decorative} className="numbers">
          <text className="value" x={middle} y={y + height / 2 - 2} textAnchor="middle" fill="currentColor">
            {short(worth.value, scale)}
          </text>
          <text className="error" x={middle} y={y + height / 2 + 12} textAnchor="middle" fill="currentColor">
            {noise
              ? "≈0"
              : `±${fixed(worth.standardError * scale.times, worth.standardError * scale.times < 9.95 ? 1 : 0)}`}
          </text>
        </g>
      ) : null}
    </g>
  );
});

/** Steps of the colour scale that a dense grid tells apart. */
const STEPS = 40;

const boxAt = (layout: GridLayout, unit: GridUnit): string => {
  const [w, h] = [layout.cellWidth.toFixed(2), layout.cellHeight.toFixed(2)];
  return `M${layout.x(unit.layer, unit.column).toFixed(2)} ${layout.y(unit.layer).toFixed(2)}h${w}v${h}h-${w}z`;
};

interface DenseProps {
  readonly grid: UnitGridModel;
  readonly layout: GridLayout;
}

/** All cells of a very large model: one path per colour, and one for units that are not measured. */
export const DenseCells = memo(function DenseCells(
  props: DenseProps & { readonly worth: Worth; readonly max: number; readonly isSigned: boolean },
) {
  const { grid, layout, worth, max, isSigned } = props;
  const paths = new Map<number, string[]>();
  const waiting: string[] = [];
  for (const unit of grid.find.values()) {
    const box = boxAt(layout, unit);
    const own = worth.get(unit.unit);
    if (!own) {
      waiting.push(box);
      continue;
    }
    const step =
      isSigned && isNoise(own) ? 0 : Math.round(Math.sign(own.value) * Math.sqrt(Math.abs(own.value) / max) * STEPS);
    const list = paths.get(step);
    if (list) list.push(box);
    else paths.set(step, [box]);
  }
  return (
    <g {...decorative}>
      {[...paths].map(([step, boxes]) => {
        const value = Math.sign(step) * (step / STEPS) ** 2;
        const fill = css((theme) => divergingColour(value, 1, theme), "fill");
        return <path key={step} d={boxes.join("")} style={{ fill }} />;
      })}
      {waiting.length > 0 ? <path d={waiting.join("")} fill="url(#explore-waiting)" /> : null}
    </g>
  );
});

/** What is dropped of them, in one path. */
export const DenseDropped = memo(function DenseDropped(props: DenseProps & { readonly selection: Selection }) {
  const { grid, layout, selection } = props;
  if (selection.size === 0) return null;
  const boxes = [...grid.find.values()].flatMap((u) => (isDropped(selection, u) ? [boxAt(layout, u)] : []));
  return (
    <path
      {...decorative}
      d={boxes.join("")}
      fill="url(#explore-dropped-dense)"
      stroke="var(--ink)"
      strokeWidth={0.75}
    />
  );
});

/** Hatches; every drawing that uses them carries them, so that it can be saved alone. */
export function Hatches() {
  return (
    <defs>
      <pattern id="explore-dropped" width={6} height={6} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <path d="M0.6 0V6" stroke="black" strokeWidth={1} opacity={0.34} />
        <path d="M1.6 0V6" stroke="white" strokeWidth={1} opacity={0.3} />
      </pattern>
      <pattern
        id="explore-dropped-dense"
        width={3}
        height={3}
        patternUnits="userSpaceOnUse"
        patternTransform="rotate(45)"
      >
        <path d="M0 0V3" stroke="var(--ink)" strokeWidth={1.1} />
      </pattern>
      <pattern id="explore-waiting" width={6} height={6} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <path d="M0 0V6" stroke="var(--line)" strokeWidth={2} />
      </pattern>
    </defs>
  );
}
