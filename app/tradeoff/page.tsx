"use client";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Suspense, useCallback, useEffect, useMemo, useState } from "react";
import type { EvaluatedBoard } from "../../server/tradeoff/evaluated.ts";
import { useTRPC } from "../parts/api.tsx";
import { stepBudget } from "../parts/budget.ts";
import { loadPlotly } from "../parts/chart.tsx";
import { Check, Picker } from "../parts/controls.tsx";
import { count } from "../parts/format.ts";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Link } from "../parts/link.tsx";
import { ShareButton, ToolBar, TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { BudgetField } from "./budget-field.tsx";
import { capsulesOf, firstBudget, frontOf, offeredWithin, walk } from "./front.ts";
import { Layers } from "./layers.tsx";
import {
  type Measure,
  type MeasureId,
  measureIds,
  measures,
  type Point,
  type Size,
  sizeIds,
  sizes,
} from "./measures.ts";
import { neighboursOf } from "./neighbours.tsx";
import { PointPanel } from "./point-panel.tsx";
import { layersOf, nameOf, recipeOf, yaml } from "./point-recipe.ts";
import "./tradeoff.css";
import { rangesOf, TradeoffChart } from "./tradeoff-chart.tsx";

export default function TradeoffPage() {
  return (
    <Suspense>
      <Tradeoff />
    </Suspense>
  );
}

function Tradeoff() {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  useEffect(() => void loadPlotly(), []);
  const boards = useQuery(trpc.tradeoff.boards.queryOptions(undefined, { placeholderData: keepPreviousData }));
  // A comparison of many says more than a check of one.
  const board =
    boards.data?.find((b) => b.id === get("board")) ??
    boards.data?.find((b) => b.points.length > 3) ??
    boards.data?.[0];
  if (boards.error) return <Frame>{<ErrorNote error={boards.error} />}</Frame>;
  if (!boards.data) return <Frame>{<Waiting>Reading the evaluated models</Waiting>}</Frame>;
  if (!board || board.points.length === 0)
    return (
      <Frame>
        <Empty
          title="No model has been compared with its base yet"
          action={
            <Link className="button" href="/">
              Open the starter study
            </Link>
          }
        >
          Points appear here once models have been compared with the model they were made from: by a trade-off run, by
          an evaluation with a base, or by the starter study.
        </Empty>
      </Frame>
    );
  return (
    <Board
      key={board.id}
      board={board}
      boards={boards.data}
      onBoard={(id) => set({ board: id, budget: null, point: null, pin: null })}
    />
  );
}

function Frame({ children }: { children: React.ReactNode }) {
  return (
    <>
      <TopBar title="Trade-off" />
      <div className="region">{children}</div>
    </>
  );
}

const nameOfBoard = (b: EvaluatedBoard): string => `${b.base} on ${b.text}, ${b.points.length} points`;

function Board(props: { board: EvaluatedBoard; boards: readonly EvaluatedBoard[]; onBoard: (id: string) => void }) {
  const { board, boards } = props;
  const { get, set } = useAddress();
  const sizeId = sizeIds.find((s) => s === get("size")) ?? "bytes";
  const size: Size = sizes[sizeId];
  const points = useMemo(() => board.points.filter(size.has), [board, size]);
  const asked = measureIds.find((m) => m === get("measure")) ?? "kl";
  const measureId: MeasureId = points.some((p) => measures[asked].of(p) !== null) ? asked : "kl";
  const measure: Measure = measures[measureId];
  const showDominated = get("dominated") !== "off";
  const showReferences = get("references") !== "off";
  const hasReports = board.points.some((p) => p.reported.length > 0);
  const showReports = hasReports && get("reports") !== "off";
  const front = useMemo(() => frontOf(points, size, measure), [points, size, measure]);
  const capsules = useMemo(() => capsulesOf(points, front, size, measure), [points, front, size, measure]);
  const range = useMemo(() => rangesOf(points, size, measure).x, [points, size, measure]);

  // The line follows the hand; the address follows when it rests.
  const kept = Number(get("budget")) || null;
  const [moved, setMoved] = useState<number | null>(null);
  const clamp = (v: number): number => Math.max(range[0], Math.min(range[1], v));
  const budget = clamp(moved ?? kept ?? firstBudget(points, size, board.winner?.model ?? null));
  useEffect(() => {
    if (moved === null) return;
    const timer = setTimeout(() => {
      set({ budget: moved, point: null }, { quietly: true });
      setMoved(null);
    }, 200);
    return () => clearTimeout(timer);
  }, [moved, set]);

  const base = points.find((p) => p.isBase) ?? null;
  const madeOfBase = base?.made ?? null;
  const named = useCallback((p: Point) => nameOf(p, madeOfBase), [madeOfBase]);
  const offered = offeredWithin(front, capsules, size, budget);
  // Keys may come faster than the address changes.
  const [ahead, setAhead] = useState<string | null>(null);
  const asks = get("point");
  useEffect(() => setAhead((a) => (a === asks ? null : a)), [asks]);
  const chosen = moved === null ? points.find((p) => p.model === (ahead ?? asks)) : undefined;
  const selected = chosen ?? offered;
  const pinned = points.find((p) => p.model === get("pin")) ?? null;
  const pick = useCallback((p: Point | null) => set({ point: p?.model ?? null }), [set]);
  const onPick = useCallback((model: string) => set({ point: model }), [set]);
  const walkBy = (steps: number) => () => {
    const to = walk(front, selected, size, steps)?.model ?? null;
    setAhead(to === asks ? null : to);
    set({ point: to }, { quietly: true });
  };
  const step = (steps: number) => () => setMoved(clamp(stepBudget(budget, steps)));
  useHotkeys({
    "tradeoff.next": walkBy(1),
    "tradeoff.previous": walkBy(-1),
    "tradeoff.dominated": () => set({ dominated: showDominated ? "off" : null }),
    "tradeoff.less": step(-1),
    "tradeoff.more": step(1),
  });

  const [copied, setCopied] = useState<string | null>(null);
  const copy = (as: "YAML" | "JSON"): void => {
    if (!selected) return;
    const recipe = recipeOf(selected, { id: board.base, made: madeOfBase });
    const text = as === "JSON" ? JSON.stringify(recipe, null, 2) : `${yaml(recipe).trimStart()}\n`;
    void navigator.clipboard.writeText(text).then(() => {
      setCopied(as);
      setTimeout(() => setCopied(null), 1500);
    });
  };
  const layers = selected ? layersOf(selected.made, madeOfBase) : null;
  return (
    <>
      <TopBar
        title="Trade-off"
        trail={[{ name: board.base, href: `/models?model=${encodeURIComponent(board.base)}` }]}
        chips={
          boards.length > 1 ? (
            <Picker
              label="Study"
              options={boards.map((b) => [b.id, nameOfBoard(b)] as const)}
              value={board.id}
              onChange={props.onBoard}
            />
          ) : null
        }
      >
        <ShareButton />
      </TopBar>
      <ToolBar provenance={<span title={board.protocol ?? undefined}>{provenanceOf(board)}</span>}>
        <Picker
          label="Accuracy"
          options={measureIds
            .filter((m) => points.some((p) => measures[m].of(p) !== null))
            .map((m) => [m, measures[m].name] as const)}
          value={measureId}
          onChange={(m) => set({ measure: m === "kl" ? null : m })}
        />
        <Picker
          label="Size"
          options={sizeIds.map((s) => [s, sizes[s].name] as const)}
          value={sizeId}
          onChange={(s) => set({ size: s === "bytes" ? null : s, budget: null })}
        />
        <span className="divider" aria-hidden="true" />
        <Check label="Dominated" checked={showDominated} onChange={(on) => set({ dominated: on ? null : "off" })} />
        <Check label="References" checked={showReferences} onChange={(on) => set({ references: on ? null : "off" })} />
        {hasReports ? (
          <Check label="iPhone reports" checked={showReports} onChange={(on) => set({ reports: on ? null : "off" })} />
        ) : null}
        <BudgetField key={sizeId} unit={size.axis(points)} budget={budget} onChange={(v) => setMoved(clamp(v))} />
      </ToolBar>
      <div className="tradeoff">
        <div className="tradeoff-main">
          <section className="region">
            <TradeoffChart
              points={points}
              front={front}
              capsules={capsules}
              size={size}
              measure={measure}
              budget={budget}
              selected={selected}
              pinned={pinned}
              showDominated={showDominated}
              showReferences={showReferences}
              showReports={showReports}
              nameOf={named}
              sentence={sentenceOf(offered, measure, size, budget, named)}
              onBudget={setMoved}
              onPick={onPick}
            />
            <p className="visually-hidden" role="status">
              {selected && moved === null
                ? `${named(selected)}, ${size.text(size.of(selected))}, ${measure.name} ${measure.text(selected)} ${measure.error(selected)}`
                : ""}
            </p>
          </section>
          {selected && layers ? (
            <Layers point={selected} layers={layers} copied={copied} onCopy={copy} />
          ) : selected ? (
            <section className="region">
              <h2>What was done, layer by layer</h2>
              <p className="soft">
                {selected.model} was measured before Espalier stored layers with the numbers; “Measure again” fills this
                in.
              </p>
            </section>
          ) : null}
        </div>
        {selected ? (
          <PointPanel
            key={selected.model}
            point={selected}
            board={board}
            others={neighboursOf(selected, front, points, pinned, size)}
            pinned={pinned}
            isOffered={selected === offered}
            size={size}
            measure={measure}
            base={madeOfBase}
            nameOf={named}
            onPick={pick}
            onPin={() => set({ pin: pinned === selected ? null : selected.model })}
          />
        ) : (
          <aside className="tradeoff-panel">
            <Empty title="Nothing is this small">
              No point fits {size.text(budget)}. Drag the line to the right, or prune and quantize further.
            </Empty>
          </aside>
        )}
      </div>
    </>
  );
}

function sentenceOf(
  offered: Point | null,
  measure: Measure,
  size: Size,
  budget: number,
  named: (p: Point) => string,
): string {
  const bars = `Bars are 95 % intervals over ${measure === measures.accuracy ? "questions" : "sequences"}.`;
  if (!offered) return `Nothing measured fits ${size.text(budget)}. ${bars}`;
  const value =
    measure === measures.kl
      ? `stays ${measure.text(offered)} ${measure.error(offered)} nats from the base`
      : `has ${measure.name.toLowerCase()} ${measure.text(offered)} (${measure.error(offered)})`;
  return `Within ${size.text(budget)} the best recipe, ${named(offered)}, ${value}. ${bars}`;
}

function provenanceOf(board: EvaluatedBoard): string {
  const tokens = board.points.find((p) => p.paired)?.paired?.tokens;
  const measured = tokens
    ? `${count(tokens.length)} sequences, ${count(tokens.reduce((n, t) => n + t, 0))} tokens`
    : board.text;
  const recipes = board.points.filter((p) => !p.isBase).length;
  return `${board.split ? `${board.split} split · ` : ""}${measured} · ${recipes} ${recipes === 1 ? "recipe" : "recipes"}`;
}
