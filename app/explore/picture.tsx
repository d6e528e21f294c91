"use client";
/** @file The left of the page: the grid in its frame, and below it the ways to choose by value. */
import { type RefObject, useCallback, useMemo } from "react";
import { isNoise } from "../../lib/stats/noise.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { Figure } from "../parts/figure.tsx";
import { count } from "../parts/format.ts";
import { Choose } from "./choose.tsx";
import type { Cost, LayerParts } from "./cost.ts";
import { isDropped, type Selection, toggled } from "./dropped-units.ts";
import type { TextChoice } from "./explore-view.tsx";
import { type Anatomy, kindNames, type UnitGridModel, unitGrid } from "./grid-units.ts";
import { Measure } from "./measure.tsx";
import { UnitGrid } from "./unit-grid.tsx";
import { measured, measuredCount, metricName, type Scale, type Worth } from "./unit-worth.ts";
import type { ExploreState } from "./use-explore.ts";

export interface PictureProps {
  readonly picture: RefObject<HTMLElement | null>;
  readonly state: ExploreState;
  readonly anatomy: Anatomy;
  readonly importance: readonly Importance[];
  readonly grid: UnitGridModel;
  readonly worth: Worth;
  readonly scale: Scale;
  readonly source: Importance | null;
  readonly running: Importance | null;
  readonly selection: Selection;
  readonly cost: Cost;
  readonly parts: LayerParts[];
  readonly text: TextChoice | null;
  readonly neuronBlock: number;
  readonly focus: string | null;
  readonly hover: string | null;
  readonly onHover: (unit: string | null) => void;
}

const lossScale: Scale = { times: 1000, unit: "10⁻³ nats per token", isSigned: true };

export function Picture(props: PictureProps) {
  const { state, anatomy, importance, grid, worth, scale, source, running, selection } = props;
  const { one, many } = kindNames[grid.kind];
  const blocks = useMemo(
    () => ({
      attention: measured(importance, "leave-one-out", "attention", "loss").worth,
      mlp: measured(importance, "leave-one-out", "mlp", "loss").worth,
    }),
    [importance],
  );
  const fullLayers = useMemo(() => {
    const full = anatomy.layers.flatMap((l, i) => (l.window === null ? [i] : []));
    return new Set(full.length < anatomy.layers.length ? full : []);
  }, [anatomy]);
  const neurons = anatomy.layers.map((l, i) => ({ all: l.neurons, kept: props.cost.kept[i]?.neurons ?? l.neurons }));
  const { set } = state;
  const onWholeGroups = useCallback((on: boolean) => set({ groups: on ? null : "single" }, { quietly: true }), [set]);
  const isPartial = source !== null && source.state !== "succeeded";
  const table = () => ({
    columns: [one, "layer", scale.unit, "± SE", "within noise", "state"],
    rows: [...grid.find.values()].map((u) => {
      const w = worth.get(u.unit);
      return [
        u.unit,
        u.layer,
        w ? Number((w.value * scale.times).toPrecision(6)) : null,
        w ? Number((w.standardError * scale.times).toPrecision(4)) : null,
        w ? (isNoise(w) ? "yes" : "no") : "not measured",
        isDropped(selection, u) ? "dropped" : "kept",
      ];
    }),
  });
  return (
    <section className="explore-picture" aria-label="What each unit is worth" ref={props.picture}>
      <Figure
        title={`What each ${one} is worth`}
        sentence={<Sentence {...props} isPartial={isPartial} />}
        table={table}
        asTable={state.asTable}
        onTable={(on) => state.set({ view: on ? "table" : null })}
      >
        <Measure
          model={state.model}
          text={props.text}
          kind={grid.kind}
          metric={state.metric}
          neuronBlock={props.neuronBlock}
          anatomy={anatomy}
          worth={worth}
          running={running}
          units={grid.find.size}
        />
        <UnitGrid
          label={`${kindNames[grid.kind].title} of ${state.model}, layers by ${many}`}
          grid={grid}
          worth={worth}
          scale={scale}
          selection={selection}
          fullLayers={fullLayers}
          aside={{ layers: anatomy.layers.length, ...blocks, scale: lossScale, neurons }}
          measuring={isPartial}
          stale={!isPartial && running !== null && worth.size > 0}
          focus={props.focus}
          hover={props.hover}
          onFocus={state.focusOn}
          onHover={props.onHover}
          onToggle={(units) => state.choose(toggled(selection, units))}
          onExplain={(unit) => {
            state.focusOn(unit);
            state.set({ explain: "yes" }, { quietly: true });
          }}
          onEscape={() =>
            state.explaining ? state.set({ explain: "no" }, { quietly: true }) : state.choose(new Set())
          }
        />
      </Figure>
      <Choose
        anatomy={anatomy}
        parts={props.parts}
        cost={props.cost}
        grid={grid}
        worth={worth}
        scale={scale}
        selection={selection}
        wholeGroups={state.wholeGroups}
        onWholeGroups={onWholeGroups}
        onChoose={state.choose}
      />
    </section>
  );
}

/** Units of the whole grid, for the sentence over a large model. */
function Sentence(props: PictureProps & { isPartial: boolean }) {
  const { grid, worth, scale, source, running, state, anatomy } = props;
  const { one } = kindNames[grid.kind];
  if (worth.size === 0)
    return <>{running ? "Values appear as they are measured." : "Not measured yet: hatched cells have no value."}</>;
  const noise = [...worth.values()].filter(isNoise).length;
  const estimated = worth.size - measuredCount(worth);
  const what =
    state.metric === "leave-one-out"
      ? `Change in loss when one ${one} is zeroed`
      : state.target === "loss"
        ? `Change in loss that ${metricName(state.metric)} predicts for each ${one}`
        : `${metricName(state.metric)} of each ${one}`;
  const widest = Math.max(...unitGrid(anatomy, "heads").rows.map((r) => r.length));
  return (
    <>
      {what}, {scale.unit} ± SE. {scale.isSigned ? `${count(noise)} of ${count(worth.size)} are within noise. ` : ""}
      {estimated > 0 ? `${count(estimated)} are estimated by Taylor. ` : ""}
      {props.isPartial && source ? `${source.sequences} sequences so far. ` : ""}
      {grid.rows.length > 14 || widest > 14 ? "Numbers appear on focus and in the table." : ""}
    </>
  );
}
