"use client";
/** @file Below the grid: the distribution with a threshold to drag, and three ways to ask for a selection. */
import { memo, useId, useMemo } from "react";
import { signedRootAxis, ticksApart } from "../parts/axis.ts";
import { Check } from "../parts/controls.tsx";
import { bytes, fixed } from "../parts/format.ts";
import { PictureSlider } from "../parts/picture-slider.tsx";
import { type Cost, costOf, type LayerParts, weightBytes } from "./cost.ts";
import { decorative } from "./decorative.ts";
import { isDropped, replaced, type Selection } from "./dropped-units.ts";
import { short, tickLabel } from "./grid-cells.tsx";
import { type Anatomy, kindNames, type UnitGridModel } from "./grid-units.ts";
import { histogram } from "./histogram.ts";
import { askedFor, type Candidate, countBelow, lowest, savingAtLeast, thresholdFor } from "./threshold.ts";
import type { Scale, Worth } from "./unit-worth.ts";
import { useWidth } from "./use-width.ts";

export interface ChooseProps {
  readonly anatomy: Anatomy;
  readonly parts: LayerParts[];
  readonly cost: Cost;
  readonly grid: UnitGridModel;
  readonly worth: Worth;
  readonly scale: Scale;
  readonly selection: Selection;
  readonly wholeGroups: boolean;
  readonly onWholeGroups: (on: boolean) => void;
  readonly onChoose: (next: Selection, options?: { continued?: boolean }) => void;
}

/** What of a grid can be chosen by value. */
export const candidatesOf = (grid: UnitGridModel, worth: Worth): Candidate[] =>
  [...grid.find.values()].flatMap((u) => {
    const own = worth.get(u.unit);
    // Sub-blocks can be asked about, not cut out.
    if (!own || (grid.kind === "layers" && u.column > 0)) return [];
    return [{ unit: u.unit, value: own.value, row: grid.kind === "layers" ? 0 : u.layer, group: u.group }];
  });

/** The selection in which the k lowest of this grid are dropped. */
export function chooseLowest(
  props: Omit<ChooseProps, "onChoose" | "onWholeGroups" | "cost" | "parts" | "scale">,
  k: number,
) {
  const found = lowest(candidatesOf(props.grid, props.worth), k, { wholeGroups: props.wholeGroups });
  return replaced(
    props.selection,
    props.grid,
    found.flatMap((c) => props.grid.find.get(c.unit) ?? []),
  );
}

const HEIGHT = 104;

export const Choose = memo(function Choose(props: ChooseProps) {
  const { anatomy, parts, cost, grid, worth, scale, selection, wholeGroups, onChoose } = props;
  const ids = useId();
  const candidates = useMemo(() => candidatesOf(grid, worth), [grid, worth]);
  const dropped = useMemo(
    () => new Set([...grid.find.values()].filter((u) => isDropped(selection, u)).map((u) => u.unit)),
    [grid, selection],
  );
  const own = candidates.filter((c) => dropped.has(c.unit)).length;
  const choose = (k: number, continued = false): void => onChoose(chooseLowest(props, Math.max(0, k)), { continued });
  const saveBytes = (share: number): void => {
    const rest = replaced(selection, grid, []);
    const before = weightBytes(costOf(anatomy, rest, parts).removed);
    const saved = (units: readonly Candidate[]): number =>
      weightBytes(
        costOf(
          anatomy,
          replaced(
            rest,
            grid,
            units.flatMap((c) => grid.find.get(c.unit) ?? []),
          ),
          parts,
        ).removed,
      ) - before;
    const found = savingAtLeast(candidates, share * weightBytes(cost.parameters) - before, saved, { wholeGroups });
    onChoose(
      replaced(
        selection,
        grid,
        found.flatMap((c) => grid.find.get(c.unit) ?? []),
      ),
    );
  };
  const { share: whole } = kindNames[grid.kind];
  const isEmpty = candidates.length === 0;
  const share = candidates.length > 0 ? own / candidates.length : 0;
  return (
    <div className="explore-choose">
      <Distribution
        candidates={candidates}
        dropped={dropped}
        scale={scale}
        count={own}
        isByHand={askedFor(candidates, dropped, { wholeGroups }) === null}
        onCount={choose}
      />
      <div className="explore-ways">
        <label htmlFor={`${ids}share`}>
          Lowest
          <NumberField
            id={`${ids}share`}
            label={`Lowest, per cent of ${whole}`}
            value={Math.round(100 * share)}
            disabled={isEmpty}
            onChange={(v) => choose(Math.round((v / 100) * candidates.length))}
          />
          <span className="unit">% of {whole}</span>
        </label>
        <label htmlFor={`${ids}bytes`}>
          Save at least
          <NumberField
            id={`${ids}bytes`}
            label="Save at least, per cent of bytes"
            value={Number(fixed((100 * cost.removed) / cost.parameters, 1).replace("−", "-"))}
            disabled={isEmpty}
            onChange={(v) => saveBytes(v / 100)}
          />
          <span
            className="unit"
            title={`${bytes(weightBytes(cost.removed))} of ${bytes(weightBytes(cost.parameters))}`}
          >
            % of bytes
          </span>
        </label>
        {grid.kind === "heads" ? (
          <Check label="Prefer whole KV groups" checked={wholeGroups} onChange={props.onWholeGroups} />
        ) : null}
      </div>
    </div>
  );
});

function NumberField(props: {
  id: string;
  label: string;
  value: number;
  disabled: boolean;
  onChange: (value: number) => void;
}) {
  return (
    <input
      id={props.id}
      type="number"
      min={0}
      max={99}
      step={1}
      aria-label={props.label}
      disabled={props.disabled}
      value={props.value}
      onChange={(e) => {
        const v = Number(e.target.value);
        if (Number.isFinite(v) && v >= 0 && v < 100) props.onChange(v);
      }}
    />
  );
}

function Distribution(props: {
  readonly candidates: readonly Candidate[];
  readonly dropped: ReadonlySet<string>;
  readonly scale: Scale;
  readonly count: number;
  readonly isByHand: boolean;
  readonly onCount: (k: number, continued?: boolean) => void;
}) {
  const { candidates, dropped, scale, count } = props;
  const [box, width] = useWidth<HTMLDivElement>(420);
  const bins = useMemo(
    () =>
      histogram(
        candidates.map((c) => ({ value: c.value * scale.times, dropped: dropped.has(c.unit) })),
        Math.max(16, Math.min(44, candidates.length)),
      ),
    [candidates, dropped, scale.times],
  );
  if (bins.length === 0)
    return (
      <div ref={box} className="soft small" style={{ minHeight: HEIGHT }}>
        The distribution appears once units have been measured.
      </div>
    );
  const [low, high] = [bins[0]?.from ?? 0, bins.at(-1)?.to ?? 1];
  const x = signedRootAxis([low, high], [6, width - 10], 4);
  const base = HEIGHT - 20;
  const tallest = Math.max(...bins.map((b) => b.count));
  const y = (n: number): number => base - (n / tallest) * (base - 30);
  const threshold = thresholdFor(candidates, count);
  const ticks = ticksApart(x, 32);
  const at = Math.max(6, Math.min(width - 10, x(threshold * scale.times)));
  const text =
    count === 0 ? "drop nothing" : props.isByHand ? "chosen by hand" : `drop below ${short(threshold, scale)}`;
  return (
    <div ref={box} style={{ minWidth: 0 }}>
      <svg width={width} height={HEIGHT} role="group" aria-label="Distribution of what units are worth">
        <g {...decorative}>
          {bins.map((b) => {
            const [x0, x1] = [x(b.from) + 0.75, x(b.to) - 0.75];
            if (b.count === 0) return null;
            return (
              <g key={b.from}>
                {b.count > b.dropped ? (
                  <rect
                    x={x0}
                    y={y(b.count)}
                    width={x1 - x0}
                    height={base - y(b.count) - (base - y(b.dropped))}
                    fill="var(--line-2)"
                  />
                ) : null}
                {b.dropped > 0 ? (
                  <rect
                    x={x0 + 0.5}
                    y={y(b.dropped)}
                    width={Math.max(1, x1 - x0 - 1)}
                    height={base - y(b.dropped)}
                    fill="url(#explore-legend)"
                    stroke="var(--ink)"
                    strokeWidth={0.75}
                  />
                ) : null}
              </g>
            );
          })}
          <path d={`M6 ${base + 0.5}H${width - 10}`} stroke="var(--line-2)" />
          {ticks.map((t) => (
            <text key={t} x={x(t)} y={base + 15} textAnchor="middle">
              {tickLabel(t, scale)}
            </text>
          ))}
        </g>
        <PictureSlider
          label="Threshold: units worth less are dropped"
          value={count}
          text={text}
          min={0}
          max={candidates.length}
          at={at}
          from={16}
          to={base}
          grip={15}
          invert={(p) => countBelow(candidates, x.invert(p) / scale.times)}
          step={(v, steps) => v + steps}
          onChange={(k) => props.onCount(k, true)}
          side={at > width * 0.62 ? "left" : "right"}
        />
      </svg>
    </div>
  );
}
