"use client";
/**
 * @file The layers × heads grid: colour for what each head is worth, hatching for what is dropped, every gesture by keyboard too.
 */
import { useRef, useState } from "react";
import { cellStyle, divergingColour } from "../../experiments/studies/colour-scales.ts";
import { signed } from "./format.ts";
import {
  columnUnits,
  type GridShape,
  groupUnits,
  type HeadCellData,
  moved,
  type Position,
  rectangleUnits,
  rowUnits,
  toggled,
  unitAt,
} from "./head-grid-model.ts";

export interface HeadGridProps {
  readonly shape: GridShape;
  readonly cells: ReadonlyMap<string, HeadCellData>;
  readonly selection: ReadonlySet<string>;
  readonly onChange: (next: Set<string>) => void;
  readonly label: string;
}

export function HeadGrid({ shape, cells, selection, onChange, label }: HeadGridProps) {
  const [chosen, setFocus] = useState<Position | null>(null);
  // One cell is always in the tab order, also when the shape came after the grid or has changed since.
  const focus =
    chosen && chosen.head < (shape.heads[chosen.layer] ?? 0) ? chosen : { layer: shape.heads.length - 1, head: 0 };
  const [said, setSaid] = useState("");
  const drag = useRef<Position | null>(null);
  const anchor = useRef<Position | null>(null);
  const grid = useRef<HTMLDivElement>(null);
  const max = Math.max(1e-9, ...[...cells.values()].map((c) => Math.abs(c.value ?? 0)));
  const columns = Math.max(0, ...shape.heads);

  const change = (units: readonly string[]): void => {
    const next = toggled(selection, units);
    onChange(next);
    setSaid(
      `${units.length === 1 ? units[0] : `${units.length} heads`} ${units.every((u) => next.has(u)) ? "dropped" : "restored"}, ${next.size} dropped in all`,
    );
  };
  const go = (to: Position): void => {
    setFocus(to);
    grid.current?.querySelector<HTMLElement>(`[data-unit="${unitAt(to)}"]`)?.focus();
  };
  const onKey = (event: React.KeyboardEvent, at: Position): void => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const to = moved(shape, at, event.key);
    if (to) {
      if (event.shiftKey) anchor.current ??= at;
      else anchor.current = null;
      go(to);
    } else if (event.key === "Enter" && anchor.current) {
      change(rectangleUnits(shape, anchor.current, at));
      anchor.current = null;
    } else if (event.key === " " || event.key === "Enter") change([unitAt(at)]);
    else if (key === "r") change(rowUnits(shape, at.layer));
    else if (key === "c") change(columnUnits(shape, at.head));
    else if (key === "g") change(groupUnits(shape, at));
    else if (event.key === "Escape") anchor.current = null;
    else return;
    event.preventDefault();
  };
  const layers = shape.heads.map((_, l) => shape.heads.length - 1 - l);
  return (
    <div className="scrolls">
      <div role="grid" aria-label={label} aria-multiselectable="true" className="head-grid" ref={grid}>
        <div role="row">
          <span role="columnheader" className="layer-name">
            <span className="visually-hidden">Layer</span>
          </span>
          {Array.from({ length: columns }, (_, head) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a head is its position
            <span role="columnheader" key={`H${head}`} style={{ width: 60, textAlign: "center" }}>
              <button type="button" tabIndex={-1} onClick={() => change(columnUnits(shape, head))}>
                H{head}
              </button>
            </span>
          ))}
        </div>
        {layers.map((layer) => (
          <div role="row" key={`L${layer}`}>
            <span role="rowheader" className="layer-name">
              <button type="button" tabIndex={-1} onClick={() => change(rowUnits(shape, layer))}>
                L{layer}
              </button>
            </span>
            {Array.from({ length: shape.heads[layer] ?? 0 }, (_, head) => {
              const at = { layer, head };
              const unit = unitAt(at);
              const cell = cells.get(unit);
              const value = cell?.value ?? null;
              const error = cell?.standardError ?? 0;
              const isNoise = value !== null && Math.abs(value) < 2 * error;
              const isDropped = selection.has(unit);
              const groups = shape.groupOf[layer] ?? [];
              return (
                <span key={unit} style={{ display: "contents" }}>
                  {head > 0 && groups[head] !== groups[head - 1] ? (
                    <span aria-hidden="true" style={{ width: 4 }} />
                  ) : null}
                  <div
                    role="gridcell"
                    data-unit={unit}
                    className="cell"
                    tabIndex={focus.layer === layer && focus.head === head ? 0 : -1}
                    aria-selected={isDropped}
                    style={
                      value === null
                        ? { background: "var(--sunken)", color: "var(--ink-3)" }
                        : cellStyle((theme) => divergingColour(value, max, theme))
                    }
                    onFocus={() => setFocus(at)}
                    onKeyDown={(event) => onKey(event, at)}
                    onPointerDown={(event) => {
                      drag.current = at;
                      event.currentTarget.releasePointerCapture?.(event.pointerId);
                    }}
                    onPointerUp={() => {
                      if (drag.current) change(rectangleUnits(shape, drag.current, at));
                      drag.current = null;
                    }}
                  >
                    <span className="visually-hidden">
                      Layer {layer}, head {head},{" "}
                    </span>
                    {value === null ? "" : signed(value * 1000, 1)}
                    <small>{value === null ? "" : isNoise ? "≈0" : `±${(error * 1000).toFixed(1)}`}</small>
                    <span className="visually-hidden">
                      , {value === null ? "not measured, " : ""}
                      {isNoise ? "within noise, " : ""}KV group {groups[head] ?? 0}, {isDropped ? "dropped" : "kept"}
                    </span>
                  </div>
                </span>
              );
            })}
          </div>
        ))}
      </div>
      <div aria-live="polite" className="visually-hidden">
        {said}
      </div>
    </div>
  );
}
