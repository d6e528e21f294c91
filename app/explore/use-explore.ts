"use client";
/**
 * @file The state of Explore: in the address, except for what changes with every move of the hand, which follows it a moment
 * later; and everything that was dropped or restored within the visit, for undo.
 */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { useAddress } from "../parts/url-state.ts";
import { formatSelection, parseSelection, type Selection } from "./dropped-units.ts";
import { type GridKind, gridKinds } from "./grid-units.ts";
import { isMetric, type Target, targetsOf } from "./unit-worth.ts";

/** Browsers refuse addresses that change many times a second. */
const WRITE_AFTER_MS = 200;

/** Steps of a dragged threshold closer together than this are undone as one. */
const SAME_GESTURE_MS = 700;

/** A value that changes at once and reaches the address a moment later; Back and links change it too. */
function useFollowed(name: string): [string, (value: string) => void] {
  const { get, set } = useAddress();
  const inAddress = get(name) ?? "";
  const written = useRef(inAddress);
  const [value, setValue] = useState(inAddress);
  useEffect(() => {
    if (inAddress === written.current) return;
    written.current = inAddress;
    setValue(inAddress);
  }, [inAddress]);
  useEffect(() => {
    if (value === written.current) return;
    const timer = setTimeout(() => {
      written.current = value;
      set({ [name]: value }, { quietly: true });
    }, WRITE_AFTER_MS);
    return () => clearTimeout(timer);
  }, [value, name, set]);
  return [value, setValue];
}

export interface ExploreState {
  readonly model: string;
  /** Id of the text to measure on, where one was chosen. */
  readonly text: string | null;
  readonly metric: SensitivityMetric;
  readonly target: Target;
  readonly overlay: SensitivityMetric | null;
  readonly kind: GridKind;
  readonly selection: Selection;
  readonly focus: string | null;
  readonly explaining: boolean;
  readonly asTable: boolean;
  /** 10⁻³ nats per token that may be lost. */
  readonly goal: number;
  readonly wholeGroups: boolean;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  set(changes: Readonly<Record<string, string | number | null>>, options?: { quietly?: boolean }): void;
  focusOn(unit: string): void;
  /** `continued`: a step of a drag, undone together with those just before it. */
  choose(next: Selection, options?: { continued?: boolean }): void;
  undo(): void;
  redo(): void;
}

const DEFAULT_GOAL = 50;

/** Room for the explanation beside the rest; narrower pages open it as a drawer when asked. */
function useIsRoomy(): boolean {
  const [isRoomy, setRoomy] = useState(false);
  useEffect(() => {
    const query = window.matchMedia("(min-width: 1440px)");
    const read = (): void => setRoomy(query.matches);
    read();
    query.addEventListener("change", read);
    return () => query.removeEventListener("change", read);
  }, []);
  return isRoomy;
}

export function useExplore(): ExploreState {
  const { get, set } = useAddress();
  const [drop, setDrop] = useFollowed("drop");
  const [at, setAt] = useFollowed("at");
  const selection = useMemo(() => parseSelection(drop), [drop]);
  const past = useRef<string[]>([]);
  const future = useRef<string[]>([]);
  const current = useRef(drop);
  const movedAt = useRef(0);
  current.current = drop;
  const choose = useCallback(
    (next: Selection, { continued = false } = {}): void => {
      const text = formatSelection(next);
      if (text === current.current) return;
      const nowMs = performance.now();
      const isSameGesture = continued && nowMs - movedAt.current < SAME_GESTURE_MS;
      movedAt.current = continued ? nowMs : 0;
      if (!isSameGesture) past.current.push(current.current);
      future.current = [];
      current.current = text;
      setDrop(text);
    },
    [setDrop],
  );
  const step = useCallback(
    (from: string[], to: string[]): void => {
      const found = from.pop();
      if (found === undefined) return;
      to.push(current.current);
      current.current = found;
      setDrop(found);
    },
    [setDrop],
  );
  const metricName = get("metric");
  const metric = isMetric(metricName) ? metricName : "leave-one-out";
  const overlayName = get("overlay");
  const targets = targetsOf(metric);
  const target = targets.find((t) => t === get("target")) ?? targets[0] ?? "loss";
  const explain = get("explain");
  const isRoomy = useIsRoomy();
  const goal = Number(get("goal") ?? DEFAULT_GOAL);
  return {
    model: get("model") ?? "starter",
    text: get("text"),
    metric,
    target,
    overlay: isMetric(overlayName) && overlayName !== metric ? overlayName : null,
    kind: gridKinds.find((k) => k === get("kind")) ?? "heads",
    selection,
    focus: at === "" ? null : at,
    explaining: explain === null ? isRoomy && get("overlay") === null : explain !== "no",
    asTable: get("view") === "table",
    goal: Number.isFinite(goal) ? goal : DEFAULT_GOAL,
    wholeGroups: get("groups") !== "single",
    canUndo: past.current.length > 0,
    canRedo: future.current.length > 0,
    set,
    focusOn: setAt,
    choose,
    undo: () => step(past.current, future.current),
    redo: () => step(future.current, past.current),
  };
}
