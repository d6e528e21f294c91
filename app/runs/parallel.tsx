"use client";
/**
 * @file Parallel coordinates of ours: drag on an axis to brush, drag a name to reorder, double-click to clear; and by keyboard.
 *
 * Lines outside the brushes are drawn together, a few dozen to a path, so that a thousand runs are a few dozen elements. Picked
 * runs keep their colour and dash on top.
 */
import { type ReactNode, useMemo, useState } from "react";
import { fieldTitle } from "../../experiments/flags.ts";
import { Figure } from "../parts/figure.tsx";
import type { RunGroup } from "./groups.ts";
import {
  axisOf,
  type Brush,
  brushed,
  candidateAxes,
  chosenAxes,
  type ParallelAxis,
  position,
} from "./parallel-axes.ts";
import { ParallelAxisMark, top, type VerticalFrame } from "./parallel-axis-mark.tsx";
import type { RunNames, RunRow } from "./run-row.ts";
import { seriesColour, seriesDash } from "./series-key.tsx";
import type { RunsView } from "./view.ts";

const HEIGHT = 318;
const SIDE = 46;
/** More lines than a person can see, and a page should draw. */
const MOST_LINES = 2_000;
/** Lines of one path: few elements, and where lines cross they still add up. */
const LINES_A_PATH = 24;

export const frame: VerticalFrame = { from: 18, to: HEIGHT - 52, missing: HEIGHT - 34 };

export const axisTitle = (a: ParallelAxis): string =>
  a.title === "KL" ? "KL to base" : a.title === "MB" ? "Size, MB" : fieldTitle(a.title);

export function Parallel(props: {
  view: RunsView;
  runs: readonly RunRow[];
  compared: readonly RunGroup[];
  setPicks: (ids: readonly string[]) => void;
  names: RunNames;
  width: number;
  tools: ReactNode;
}) {
  const { view, compared, width, names } = props;
  // The newest, and the picked wherever they stand.
  const runs = useMemo(() => {
    const picked = new Set(compared.flatMap((g) => g.runs));
    return props.runs.filter((r, i) => i < MOST_LINES || picked.has(r));
  }, [props.runs, compared]);
  const all = useMemo(() => candidateAxes(runs, view.value, names), [runs, view.value, names]);
  const axes = useMemo(
    () => (view.axes ? view.axes.flatMap((id) => axisOf(id, runs, names) ?? []) : chosenAxes(all, view.value)),
    [view.axes, all, runs, view.value, names],
  );
  // A brush under the hand is not in the address yet.
  const [draft, setDraft] = useState<{ id: string; brush: Brush | null } | null>(null);
  const brushes = useMemo(() => {
    const kept = new Map([...view.brushes].filter(([id]) => axes.some((a) => a.id === id)));
    if (draft?.brush) kept.set(draft.id, draft.brush);
    else if (draft) kept.delete(draft.id);
    return kept;
  }, [view.brushes, draft, axes]);
  const left = useMemo(() => brushed(axes, brushes), [axes, brushes]);
  const xOf = (i: number): number =>
    axes.length < 2 ? width / 2 : SIDE + (i * (width - 2 * SIDE)) / (axes.length - 1);

  const setBrush = (id: string, brush: Brush | null, isFinal: boolean): void => {
    setDraft(isFinal ? null : { id, brush });
    if (!isFinal) return;
    const next = new Map(view.brushes);
    if (brush) next.set(id, brush);
    else next.delete(id);
    view.set({ brushes: next });
  };
  const reorder = (id: string, to: number): void => {
    const ids = axes.map((a) => a.id);
    const from = ids.indexOf(id);
    const target = Math.max(0, Math.min(ids.length - 1, to));
    if (from === target) return;
    ids.splice(from, 1);
    ids.splice(target, 0, id);
    view.set({ axes: ids });
  };
  const isBrushed = brushes.size > 0;
  const lines = useMemo(() => {
    const at = axes.map((_, i) => (axes.length < 2 ? width / 2 : SIDE + (i * (width - 2 * SIDE)) / (axes.length - 1)));
    return runs.map((_, r) => lineOf(axes, at, r));
  }, [runs, axes, width]);
  const isPicked = useMemo(() => new Set(compared.flatMap((g) => g.runs.map((r) => r.id))), [compared]);
  const [faded, inside] = useMemo(() => {
    const split: [string[], string[]] = [[], []];
    for (const [i, run] of runs.entries()) if (!isPicked.has(run.id)) split[left.has(i) ? 1 : 0].push(lines[i] ?? "");
    return split.map(chunks) as [string[], string[]];
  }, [runs, lines, left, isPicked]);

  const table = () => ({
    columns: ["run", ...axes.map(axisTitle)],
    rows: [...left].map((i) => [
      runs[i]?.name ?? "",
      ...axes.map((a) => {
        const v = a.values[i] ?? null;
        return v !== null && a.scale === "ordinal" ? (a.words[v] ?? "") : v;
      }),
    ]),
  });
  const unused = all.filter((a) => !axes.some((b) => b.id === a.id));
  const sentence = `${runs.length} ${runs.length === 1 ? "run" : "runs"}${props.runs.length > runs.length ? ` of ${props.runs.length}, the newest` : ""}${
    isBrushed ? `, ${brushes.size} ${brushes.size === 1 ? "axis" : "axes"} brushed, ${left.size} left` : ""
  }.`;
  if (axes.length < 2)
    return (
      <div>
        <div className="row" style={{ justifyContent: "space-between" }}>
          <h2>What the good ones share</h2>
          {props.tools}
        </div>
        <p className="soft">The runs shown do not vary; the picture needs two fields that differ.</p>
      </div>
    );
  return (
    <Figure
      title="What the good ones share"
      sentence={sentence}
      table={table}
      tools={
        <>
          {isBrushed && left.size > 0 && left.size <= 500 ? (
            <button type="button" onClick={() => props.setPicks([...left].flatMap((i) => runs[i]?.id ?? []))}>
              Pick the {left.size}
            </button>
          ) : null}
          {unused.length > 0 ? (
            <select
              aria-label="Add an axis"
              value=""
              onChange={(e) => e.target.value && view.set({ axes: [...axes.map((a) => a.id), e.target.value] })}
            >
              <option value="">Add an axis</option>
              {unused.map((a) => (
                <option key={a.id} value={a.id}>
                  {axisTitle(a)}
                </option>
              ))}
            </select>
          ) : null}
          {props.tools}
        </>
      }
    >
      <svg
        width={width}
        height={HEIGHT}
        className="parallel"
        role="group"
        aria-label="Parallel coordinates. Drag on an axis to brush, drag a name to reorder; names and handles take arrows"
        data-drawing=""
      >
        <g fill="none" stroke="var(--ink-3)" strokeWidth={1} opacity={isBrushed ? 0.16 : 0.3}>
          {faded.map((d) => (
            <path key={d.slice(0, 60)} d={d} />
          ))}
        </g>
        <g fill="none" stroke="var(--ink-2)" strokeWidth={1} opacity={isBrushed ? 0.7 : runs.length > 300 ? 0.14 : 0.3}>
          {inside.map((d) => (
            <path key={d.slice(0, 60)} d={d} />
          ))}
        </g>
        {axes.map((a, i) => (
          <ParallelAxisMark
            key={a.id}
            axis={a}
            title={axisTitle(a)}
            x={xOf(i)}
            gap={axes.length > 1 ? (width - 2 * SIDE) / (axes.length - 1) : width}
            frame={frame}
            brush={brushes.get(a.id) ?? null}
            onBrush={(brush, isFinal) => setBrush(a.id, brush, isFinal)}
            onMove={(x) => reorder(a.id, Math.round((x - SIDE) / ((width - 2 * SIDE) / (axes.length - 1))))}
            onStep={(by) => reorder(a.id, i + by)}
            onRemove={
              axes.length > 2 ? () => view.set({ axes: axes.filter((b) => b.id !== a.id).map((b) => b.id) }) : undefined
            }
          />
        ))}
        <g fill="none" strokeWidth={2} pointerEvents="none">
          {compared.flatMap((g, k) =>
            g.runs.map((r) => {
              const i = runs.findIndex((o) => o.id === r.id);
              return i < 0 ? null : (
                <path key={r.id} d={lines[i]} stroke={seriesColour(k)} strokeDasharray={seriesDash(k)}>
                  <title>{r.name}</title>
                </path>
              );
            }),
          )}
        </g>
      </svg>
    </Figure>
  );
}

/** Smooth between axes; what has no value passes on the rail below. */
function lineOf(axes: readonly ParallelAxis[], at: readonly number[], run: number): string {
  let d = "";
  let [px, py] = [0, 0];
  for (const [i, a] of axes.entries()) {
    const v = a.values[run];
    const [x, y] = [at[i] ?? 0, v === null || v === undefined ? frame.missing : top(frame, position(a, v))];
    const half = (x - px) / 2;
    d +=
      i === 0
        ? `M${x.toFixed(1)} ${y.toFixed(1)}`
        : `C${(px + half).toFixed(1)} ${py.toFixed(1)} ${(x - half).toFixed(1)} ${y.toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)}`;
    [px, py] = [x, y];
  }
  return d;
}

function chunks(lines: readonly string[]): string[] {
  // Every nth line together, so that lines of one path seldom lie on each other.
  const paths = Math.ceil(lines.length / LINES_A_PATH);
  return Array.from({ length: paths }, (_, p) => lines.filter((_, i) => i % paths === p).join(""));
}
