"use client";
/** @file The page once its data is there: bars, picture, what-if, dock, inspector, and the keys that go through them. */
import { useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { type RefObject, useCallback, useMemo, useRef, useState } from "react";
import { findUnit } from "../../lib/units.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton } from "../parts/controls.tsx";
import { useHotkeys } from "../parts/hotkeys.ts";
import { ShareButton, TopBar, type TopBarProps } from "../parts/shell.tsx";
import { Empty } from "../parts/states.tsx";
import { Actions, useSavedSelections } from "./actions.tsx";
import { candidatesOf, chooseLowest } from "./choose.tsx";
import { costOf, layerParts } from "./cost.ts";
import { Dock } from "./dock.tsx";
import { askedUnits, formatSelection, isDropped, parseSelection, within } from "./dropped-units.ts";
import { predict, singleEffects } from "./expected-cost.ts";
import { type Anatomy, neuronBlockOf, unitGrid } from "./grid-units.ts";
import { headAddress } from "./head-address.ts";
import { Inspector } from "./inspector.tsx";
import { Overlay } from "./metric-overlay.tsx";
import { Picture } from "./picture.tsx";
import { modelledSpeed } from "./selection-speed.ts";
import { Tools } from "./tools.tsx";
import { agreement, measured, metricName, metricsMeasured, scaleOf, targetsOf, type Worth } from "./unit-worth.ts";
import type { ExploreState } from "./use-explore.ts";
import { useWhatIf } from "./use-what-if.ts";
import { WhatIfPanel } from "./what-if-panel.tsx";

export interface TextChoice {
  readonly id: string;
  readonly split: string | null;
  readonly separator: string | null;
}

export interface ExploreViewProps {
  readonly state: ExploreState;
  readonly trail: NonNullable<TopBarProps["trail"]>;
  readonly models: readonly string[];
  readonly anatomy: Anatomy;
  readonly importance: readonly Importance[];
  readonly texts: readonly TextChoice[];
  /** Questions to ask, where there are some. */
  readonly tasks: string | null;
}

export function ExploreView(props: ExploreViewProps) {
  const { state, anatomy, texts } = props;
  // What was measured on another text says nothing of the one that was chosen.
  const importance = useMemo(
    () => (state.text === null ? props.importance : props.importance.filter((i) => i.text === state.text)),
    [props.importance, state.text],
  );
  const { kind, metric, target, overlay } = state;
  const trpc = useTRPC();
  const [hover, setHover] = useState<string | null>(null);
  const picture = useRef<HTMLElement>(null);

  const found = useMemo(() => measured(importance, metric, kind, target), [importance, metric, kind, target]);
  const { worth, source, running } = found;
  const neuronBlock = useMemo(() => {
    const block = findUnit([...worth.keys()][0] ?? "");
    return kind === "neurons" && block ? block.count : neuronBlockOf(anatomy);
  }, [anatomy, kind, worth]);
  const grid = useMemo(() => unitGrid(anatomy, kind, neuronBlock), [anatomy, kind, neuronBlock]);
  const scale = useMemo(() => scaleOf(worth, metric, target), [worth, metric, target]);
  const available = useMemo(() => metricsMeasured(importance, kind), [importance, kind]);
  const second = useMemo(() => {
    const other = overlay ?? available.find((m) => m !== metric) ?? null;
    if (other === null) return null;
    const otherTarget = targetsOf(other)[0] ?? "size";
    const w = measured(importance, other, kind, otherTarget).worth;
    return { metric: other, worth: w, scale: scaleOf(w, other, otherTarget), agreement: agreement(worth, w) };
  }, [overlay, available, metric, importance, kind, worth]);
  const selection = useMemo(() => within(state.selection, anatomy), [state.selection, anatomy]);
  const parts = useMemo(() => layerParts(anatomy), [anatomy]);
  const cost = useMemo(() => costOf(anatomy, selection, parts), [anatomy, selection, parts]);
  const effects = useMemo(() => singleEffects(importance), [importance]);

  const text =
    texts.find((t) => t.id === state.text) ??
    texts.find((t) => t.id === source?.text) ??
    texts.find((t) => t.split === "calibrate") ??
    texts[0] ??
    null;
  const asked = useMemo(() => askedUnits(selection, anatomy), [selection, anatomy]);
  const whatIf = useWhatIf({ model: state.model, text: text?.id ?? null, tasks: props.tasks }, asked);
  const prediction = useMemo(
    () => predict(effects, selection, whatIf.predicted),
    [effects, selection, whatIf.predicted],
  );
  const fitted = useQuery(trpc.devices.parameters.queryOptions(undefined, { staleTime: 60_000 }));
  const figures = useQuery(trpc.models.figures.queryOptions({ id: state.model }, { retry: false }));
  const speed = useMemo(
    () => modelledSpeed(anatomy, cost.kept, figures.data, fitted.data),
    [anatomy, cost, figures.data, fitted.data],
  );

  const candidates = useMemo(() => candidatesOf(grid, worth), [grid, worth]);
  const stepThreshold = (by: number): void => {
    const own = candidates.filter((c) => {
      const unit = grid.find.get(c.unit);
      return unit !== undefined && isDropped(selection, unit);
    }).length;
    const { wholeGroups } = state;
    state.choose(chooseLowest({ anatomy, grid, worth, selection, wholeGroups }, Math.max(0, own + by)), {
      continued: true,
    });
  };
  const next = (from: string | null, list: readonly string[]): string | null =>
    list.length === 0 ? null : (list[(list.indexOf(from ?? "") + 1) % list.length] ?? null);
  const saved = useSavedSelections();
  const drop = formatSelection(selection);
  const savedAs = saved.find((s) => s.model === state.model && s.drop === drop);
  const close = useCallback(() => {
    state.set({ explain: "no" }, { quietly: true });
    focusGrid(picture);
  }, [state.set]);
  const asTable = state.asTable;
  // Until a unit is chosen the one that is worth most is explained.
  const focused = grid.find.get(state.focus ?? "") ?? grid.find.get(dearest(worth) ?? "");
  const ownPage = focused ? headAddress(state.model, focused.unit, text?.id ?? null) : null;
  const router = useRouter();
  useHotkeys({
    "explore.head": ownPage ? () => router.push(ownPage) : undefined,
    "explore.undo": state.undo,
    "explore.redo": state.redo,
    "explore.metric": () => state.set({ metric: next(metric, available), target: null }),
    "explore.overlay": () =>
      state.set({
        overlay: next(
          overlay,
          available.filter((m) => m !== metric),
        ),
      }),
    "explore.table": () => state.set({ view: asTable ? null : "table" }),
    "explore.less": candidates.length > 0 ? () => stepThreshold(-1) : undefined,
    "explore.more": candidates.length > 0 ? () => stepThreshold(1) : undefined,
    "explore.restore": selection.size > 0 ? () => state.choose(new Set()) : undefined,
  });

  const inspected = state.explaining ? focused : undefined;
  const ofOverlay = overlay !== null && second !== null;
  return (
    <>
      <TopBar
        title="Explore"
        trail={props.trail}
        chips={
          selection.size > 0 ? (
            <span className="chip">selection: {savedAs ? savedAs.title : "unsaved"}</span>
          ) : undefined
        }
      >
        <IconButton icon="undo" label="Undo" disabled={!state.canUndo} onClick={state.undo} />
        <IconButton icon="redo" label="Redo" disabled={!state.canRedo} onClick={state.redo} />
        <ShareButton />
      </TopBar>
      <Tools
        state={state}
        models={props.models}
        texts={texts.map((t) => t.id)}
        text={text?.id ?? null}
        available={available}
        grid={grid}
        source={source}
        split={texts.find((t) => t.id === source?.text)?.split ?? null}
        measuredUnits={[...grid.find.keys()].filter((u) => worth.has(u) && !worth.get(u)?.isEstimate).length}
        agreement={second?.agreement ? { rho: second.agreement.rho, with: metricName(second.metric) } : null}
      />
      <div className={!inspected ? "explore alone" : overlay === null ? "explore" : "explore alone drawer"}>
        <Picture
          picture={picture}
          state={state}
          anatomy={anatomy}
          importance={importance}
          grid={grid}
          worth={worth}
          scale={scale}
          source={source}
          running={running}
          selection={selection}
          cost={cost}
          parts={parts}
          text={text}
          neuronBlock={neuronBlock}
          focus={focused?.unit ?? null}
          hover={hover}
          onHover={setHover}
        />
        <section className="explore-what" aria-label="What if">
          {text === null ? (
            <Empty title="There is no text to measure on">Add a text, and every selection is measured on it.</Empty>
          ) : (
            <WhatIfPanel
              anatomy={anatomy}
              selection={selection}
              cost={cost}
              whatIf={whatIf}
              prediction={prediction}
              goal={state.goal}
              onGoal={(goal) => state.set({ goal }, { quietly: true })}
              onHover={setHover}
              change={{ speed }}
            >
              {ofOverlay && second ? (
                <Overlay
                  grid={grid}
                  a={{ name: metricName(metric), worth, scale, measured: metric === "leave-one-out" }}
                  b={{
                    name: metricName(second.metric),
                    worth: second.worth,
                    scale: second.scale,
                    measured: second.metric === "leave-one-out",
                  }}
                  ceiling={source?.agreement?.noiseCeiling ?? null}
                  selection={selection}
                  focus={focused?.unit ?? null}
                  hover={hover}
                  onFocus={state.focusOn}
                  onHover={setHover}
                />
              ) : undefined}
            </WhatIfPanel>
          )}
          <Actions
            model={state.model}
            anatomy={anatomy}
            selection={selection}
            saved={saved}
            onOpen={(s) => state.choose(parseSelection(s.drop))}
          />
        </section>
        {text !== null ? (
          <Dock model={state.model} text={text.id} units={asked} isReady={whatIf.state === "measured"} />
        ) : null}
        {inspected ? (
          <Inspector
            model={state.model}
            text={text?.id ?? null}
            unit={inspected}
            dropped={isDropped(selection, inspected)}
            worth={worth}
            scale={scale}
            others={second ? [{ name: metricName(second.metric), worth: second.worth, scale: second.scale }] : []}
            isReady={whatIf.state === "measured"}
            onClose={close}
          />
        ) : null}
      </div>
    </>
  );
}

function dearest(worth: Worth): string | null {
  let best: string | null = null;
  for (const [unit, w] of worth) if (best === null || w.value > (worth.get(best)?.value ?? 0)) best = unit;
  return best;
}

/** Gives the hand back to the cell it came from. */
function focusGrid(picture: RefObject<HTMLElement | null>): void {
  picture.current?.querySelector<SVGElement>('[role="gridcell"][tabindex="0"]')?.focus();
}
