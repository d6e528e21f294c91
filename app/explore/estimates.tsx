"use client";
/** @file The estimates of one change on one axis: the sum of single effects, the prediction, the measurement, and the goal. */
import { linearAxis } from "../parts/axis.ts";
import { fixed, signed } from "../parts/format.ts";
import { PictureSlider } from "../parts/picture-slider.tsx";
import { decorative } from "./decorative.ts";

/** In 10⁻³ nats per token. */
export interface Estimate {
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

export interface EstimatesProps {
  readonly additive: Estimate | null;
  readonly predicted: Estimate | null;
  readonly measured: Estimate | null;
  readonly isStale: boolean;
  readonly isPredicting: boolean;
  readonly goal: number;
  readonly onGoal: (goal: number) => void;
}

const LEFT = 74;
const WIDTH = 296;
const ROW = 23;

export function Estimates({ additive, predicted, measured, isStale, isPredicting, goal, onGoal }: EstimatesProps) {
  const all = [additive, predicted, measured].flatMap((e) => (e ? [e.value, e.low ?? e.value, e.high ?? e.value] : []));
  const low = Math.min(0, ...all);
  const high = Math.max(goal * 1.25, 1, ...all.map((v) => v * 1.08));
  const x = linearAxis([low, high], [LEFT, WIDTH - 8], 4);
  const top = 26;
  const row = (i: number): number => top + 10 + i * ROW;
  const bottom = row(2) + 14;
  const rows = [
    { name: "additive", of: additive, y: row(0) },
    { name: "predicted", of: predicted, y: row(1) },
    { name: "measured", of: measured, y: row(2) },
  ];
  const step = 10 ** Math.floor(Math.log10(Math.max(1, high)) - 1);
  return (
    <svg
      className="explore-estimates"
      width={WIDTH}
      height={bottom + 20}
      role="group"
      aria-label={`Estimates in 10⁻³ nats per token: ${rows.map((r) => `${r.name} ${r.of ? signed(r.of.value, 1) : "unknown"}`).join(", ")}`}
    >
      {x.ticks.map((t) => (
        <g key={t} {...decorative}>
          <path d={`M${x(t)} ${top}V${bottom}`} stroke="var(--line)" />
          <text className="tick" x={x(t)} y={bottom + 14} textAnchor="middle">
            {t === 0 ? "0" : signed(t, step < 1 ? 1 : 0)}
          </text>
        </g>
      ))}
      {rows.map((r) => (
        <g key={r.name} {...decorative} opacity={r.name === "measured" && isStale ? 0.5 : 1}>
          <text x={0} y={r.y + 4} className={r.name === "measured" ? "strong" : undefined}>
            {r.name}
          </text>
          {r.of === null ? (
            <text className="tick" x={LEFT + 4} y={r.y + 4}>
              {r.name === "measured" ? "…" : r.name === "predicted" && isPredicting ? "…" : "unknown"}
            </text>
          ) : (
            <>
              {r.of.low !== undefined && r.of.high !== undefined ? (
                <path
                  d={`M${x(r.of.low)} ${r.y}H${x(r.of.high)}`}
                  stroke={r.name === "measured" ? "var(--ink)" : "var(--ink-3)"}
                  strokeWidth={r.name === "measured" ? 2 : 1.5}
                  strokeDasharray={r.name === "predicted" ? "3 2.5" : undefined}
                />
              ) : null}
              {r.name === "predicted" ? (
                <path
                  d={`M${x(r.of.value)} ${r.y - 5}l5 5l-5 5l-5 -5z`}
                  fill="var(--surface)"
                  stroke="var(--ink-2)"
                  strokeWidth={1.5}
                />
              ) : (
                <circle
                  cx={x(r.of.value)}
                  cy={r.y}
                  r={4}
                  fill={r.name === "measured" ? "var(--ink)" : "var(--surface)"}
                  stroke={r.name === "measured" ? "var(--ink)" : "var(--ink-2)"}
                  strokeWidth={1.5}
                />
              )}
            </>
          )}
        </g>
      ))}
      <PictureSlider
        label="Goal, 10⁻³ nats per token"
        value={goal}
        text={`goal ${signed(goal, goal < 10 ? 1 : 0)}`}
        min={0}
        max={Math.max(high, 1)}
        at={x(goal)}
        from={top}
        to={bottom}
        grip={13}
        invert={(p) => Number(fixed(x.invert(p), high < 10 ? 1 : 0).replace("−", "-"))}
        step={(v, n) => v + n * Math.max(step, 0.1)}
        onChange={onGoal}
        side={x(goal) > WIDTH - 90 ? "left" : "right"}
      />
    </svg>
  );
}
