"use client";
/** @file Beside the grid, row by row: attention and MLP removed whole on a log axis, and the neurons each layer keeps. */
import { logAxis } from "../parts/axis.ts";
import { count, fixed, signed } from "../parts/format.ts";
import { decorative } from "./decorative.ts";
import type { GridLayout } from "./grid-layout.ts";
import type { Scale, UnitWorth, Worth } from "./unit-worth.ts";

export interface AsideProps {
  readonly layout: GridLayout;
  readonly layers: number;
  readonly attention: Worth;
  readonly mlp: Worth;
  readonly scale: Scale;
  /** Neurons of each layer, and how many stay. */
  readonly neurons: readonly { readonly all: number; readonly kept: number }[];
}

const PANEL = 112;
const BARS = 40;

export function GridAside({ layout, layers, attention, mlp, scale, neurons }: AsideProps) {
  const x0 = layout.right + 26;
  const xb = x0 + PANEL + 26;
  const values = [...attention.values(), ...mlp.values()].map((w) => w.value * scale.times);
  const positive = values.filter((v) => v > 0);
  const isMeasured = values.length > 0;
  const low = Math.min(...positive, 1e9);
  const high = Math.max(...positive, 1e-9);
  const axis = positive.length > 0 ? logAxis([low * 0.7, high * 1.4], [x0, x0 + PANEL], 3) : null;
  const ticks = (axis?.ticks ?? []).filter((_, i, all) => all.length <= 3 || i % 2 === 0).slice(0, 3);
  const rows = Array.from({ length: layers }, (_, l) => l);
  const widest = Math.max(1, ...neurons.map((n) => n.all));
  const mark = layout.mode === "dense" ? 2 : 3.5;
  const middle = (l: number): number => layout.y(l) + layout.cellHeight / 2;
  const at = (w: UnitWorth): number => (axis ? Math.max(x0, axis(Math.max(1e-12, w.value * scale.times))) : x0);
  const reach = (w: UnitWorth): { from: number; to: number } => {
    const place = (v: number): number => (axis ? axis(Math.max(1e-12, v * scale.times)) : x0);
    return {
      from: Math.max(x0, place(w.value - w.standardError)),
      to: Math.min(x0 + PANEL, place(w.value + w.standardError)),
    };
  };
  const errorBar = (w: UnitWorth, y: number) => {
    const { from, to } = reach(w);
    return to - from > 1 ? <path d={`M${from} ${y}H${to}`} stroke="var(--ink-2)" strokeWidth={1.25} /> : null;
  };
  // Named once, in the top row, on the side where there is room.
  const name = (text: string, w: UnitWorth, y: number) => {
    const isLeft = at(w) - x0 > PANEL / 2;
    const bar = reach(w);
    const x = isLeft ? Math.min(bar.from, at(w) - mark) : Math.max(bar.to, at(w) + mark);
    return (
      <text
        className="direct"
        x={x + (isLeft ? -6 : 6)}
        y={y + (text === "MLP" ? 8 : 0)}
        textAnchor={isLeft ? "end" : "start"}
      >
        {text}
      </text>
    );
  };
  const split = layout.mode === "dense" ? 0 : Math.min(6, layout.pitch / 6);
  const same = new Set(neurons.map((n) => n.all)).size === 1;
  return (
    <g {...decorative} className="aside">
      <text className="aside-name" x={x0} y={11}>
        Whole block removed
      </text>
      {isMeasured && axis ? (
        ticks.map((t) => (
          <g key={t}>
            <text x={axis(t)} y={27} textAnchor="middle">
              {scale.isSigned ? signed(t, t < 1 ? 1 : 0) : fixed(t, t < 1 ? 1 : 0)}
            </text>
            <path d={`M${axis(t)} ${layout.top - 6}V${layout.bottom}`} stroke="var(--line)" />
          </g>
        ))
      ) : (
        <text x={x0} y={layout.top + 14}>
          not measured
        </text>
      )}
      {rows.map((l) => {
        const [a, m] = [attention.get(`L${l}.attn`), mlp.get(`L${l}.mlp`)];
        const [ya, ym] = [middle(l) - split, middle(l) + split];
        return (
          <g key={l}>
            {a ? (
              <>
                {l === layers - 1 && layout.mode === "numbers" ? name("attention", a, ya) : null}
                {errorBar(a, ya)}
                <circle cx={at(a)} cy={ya} r={mark} fill="var(--surface)" stroke="var(--ink)" strokeWidth={1.5} />
              </>
            ) : null}
            {m ? (
              <>
                {l === layers - 1 && layout.mode === "numbers" ? name("MLP", m, ym) : null}
                {errorBar(m, ym)}
                <rect x={at(m) - mark} y={ym - mark} width={2 * mark} height={2 * mark} fill="var(--ink)" />
              </>
            ) : null}
          </g>
        );
      })}
      <text className="aside-name" x={xb + BARS} y={11} textAnchor="end">
        Neurons
      </text>
      {same ? (
        <text x={xb + BARS} y={27} textAnchor="end">
          of {count(neurons[0]?.all ?? 0)}
        </text>
      ) : null}
      {neurons.map((n, l) => {
        const full = (BARS * n.all) / widest;
        const kept = (BARS * n.kept) / widest;
        const height = Math.max(2, Math.min(6, layout.cellHeight / 2));
        const y = middle(l) - height / 2;
        const right = xb + BARS;
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a row is its layer
          <g key={l}>
            <rect x={right - full} y={y} width={kept} height={height} rx={1} fill="var(--ink-2)" />
            {n.kept < n.all ? (
              <>
                <rect
                  x={right - full + kept}
                  y={y + 0.5}
                  width={full - kept}
                  height={height - 1}
                  fill="url(#explore-legend)"
                  stroke="var(--ink-2)"
                  strokeWidth={0.75}
                />
                {layout.mode === "numbers" ? (
                  <text className="kept" x={right} y={y + height + 12} textAnchor="end">
                    {count(n.kept)}
                  </text>
                ) : null}
              </>
            ) : null}
          </g>
        );
      })}
    </g>
  );
}
