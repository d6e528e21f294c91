/**
 * @file Every key of the workbench in one typed table, and who answers it now.
 *
 * A page answers with `useHotkeys({ "explore.undo": undo })`. What is answered is also what the command palette offers,
 * under the same name, so that a button, its key and the palette cannot come apart. Keys inside a figure (arrows, Space on
 * a grid) belong to that figure and are listed here for the page of keys only.
 */
"use client";
import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Hotkey {
  /** `Mod-K`, `G H` for one after the other, `Shift-Mod-Z`; alternatives are separate entries. Empty: no key, palette only. */
  readonly keys: string;
  readonly does: string;
  readonly where: string;
  /** A figure handles it itself. */
  readonly inFigure?: boolean;
}

export const hotkeys = {
  palette: { keys: "Mod-K", does: "Search, and run anything", where: "Everywhere" },
  keys: { keys: "?", does: "All keys", where: "Everywhere" },
  search: { keys: "/", does: "Search on this page", where: "Everywhere" },
  navigation: { keys: "Mod-\\", does: "Narrow or widen the navigation", where: "Everywhere" },
  theme: { keys: "", does: "Light or dark", where: "Everywhere" },
  "go.home": { keys: "G H", does: "Home", where: "Go to" },
  "go.models": { keys: "G M", does: "Models", where: "Go to" },
  "go.explore": { keys: "G E", does: "Explore", where: "Go to" },
  "go.quantize": { keys: "G Q", does: "Quantize", where: "Go to" },
  "go.tradeoff": { keys: "G T", does: "Trade-off", where: "Go to" },
  "go.runs": { keys: "G R", does: "Runs", where: "Go to" },
  "go.notebooks": { keys: "G N", does: "Notebooks", where: "Go to" },
  "go.packages": { keys: "G P", does: "Packages", where: "Go to" },
  "go.devices": { keys: "G D", does: "Devices", where: "Go to" },
  "home.start": { keys: "Enter", does: "Run the starter study", where: "Home" },
  "home.folder": { keys: "O", does: "Open a checkpoint", where: "Home" },
  "home.hub": { keys: "I", does: "Import by hub id", where: "Home" },
  "explore.undo": { keys: "Mod-Z", does: "Undo", where: "Explore" },
  "explore.redo": { keys: "Shift-Mod-Z", does: "Redo", where: "Explore" },
  "explore.prune": { keys: "Mod-Enter", does: "Prune and distill the selection", where: "Explore" },
  "explore.save": { keys: "Mod-S", does: "Save the selection", where: "Explore" },
  "explore.metric": { keys: "M", does: "Next metric", where: "Explore" },
  "explore.overlay": { keys: "Shift-M", does: "Next overlay", where: "Explore" },
  "explore.table": { keys: "V", does: "View as table", where: "Explore" },
  "explore.less": { keys: ",", does: "Threshold down by one head", where: "Explore" },
  "explore.more": { keys: ".", does: "Threshold up by one head", where: "Explore" },
  "explore.head": { keys: "Shift-E", does: "Open the page of the head", where: "Explore" },
  "explore.restore": { keys: "", does: "Restore all", where: "Explore" },
  "grid.drop": { keys: "Space", does: "Drop or restore", where: "On the grid", inFigure: true },
  "grid.range": { keys: "Shift-Arrows", does: "Mark a range, Enter drops it", where: "On the grid", inFigure: true },
  "grid.row": { keys: "R", does: "The layer", where: "On the grid", inFigure: true },
  "grid.column": { keys: "C", does: "The column", where: "On the grid", inFigure: true },
  "grid.group": { keys: "G", does: "The KV group", where: "On the grid", inFigure: true },
  "grid.explain": { keys: "E", does: "Explain the head", where: "On the grid", inFigure: true },
  "head.next": { keys: "J", does: "Next head of the layer", where: "Head" },
  "head.previous": { keys: "K", does: "Previous head of the layer", where: "Head" },
  "head.later": { keys: "]", does: "The same head a layer later", where: "Head" },
  "head.earlier": { keys: "[", does: "The same head a layer earlier", where: "Head" },
  "head.explore": { keys: "E", does: "Show the head in Explore", where: "Head" },
  "quantize.measure": { keys: "Mod-Enter", does: "Measure this allocation", where: "Quantize" },
  "tradeoff.next": { keys: "J", does: "Next point of the front", where: "Trade-off" },
  "tradeoff.previous": { keys: "K", does: "Previous point of the front", where: "Trade-off" },
  "tradeoff.dominated": { keys: "D", does: "Show or hide dominated points", where: "Trade-off" },
  "tradeoff.pin": { keys: "P", does: "Pin the point", where: "Trade-off" },
  "tradeoff.less": { keys: "ArrowLeft", does: "Smaller budget", where: "Trade-off" },
  "tradeoff.more": { keys: "ArrowRight", does: "Larger budget", where: "Trade-off" },
  "tradeoff.open": { keys: "Enter", does: "Open the run that measured the point", where: "Trade-off" },
  "tradeoff.export": { keys: "E", does: "Export the winner", where: "Trade-off" },
  "runs.new": { keys: "N", does: "New run", where: "Runs" },
  "runs.next": { keys: "J", does: "Next run", where: "Runs" },
  "runs.previous": { keys: "K", does: "Previous run", where: "Runs" },
  "runs.pick": { keys: "X", does: "Pick the run", where: "Runs" },
  "runs.compare": { keys: "C", does: "Compare the picked runs", where: "Runs" },
  "runs.tag": { keys: "T", does: "Tag the picked runs", where: "Runs" },
  "runs.open": { keys: "Enter", does: "Open the run", where: "Runs" },
  "runs.rename": { keys: "E", does: "Rename the run", where: "Runs" },
  "runs.note": { keys: "Shift-E", does: "Write a note on the run", where: "Runs" },
  "runs.archive": { keys: "#", does: "Archive the picked runs", where: "Runs" },
  "run.stop": { keys: "S", does: "Stop", where: "Run" },
  "run.clone": { keys: "C", does: "Clone with changes", where: "Run" },
  "run.follow": { keys: "F", does: "Follow the log", where: "Run" },
  "run.log": { keys: "L", does: "Logarithmic axis", where: "Run" },
  "run.rougher": { keys: "[", does: "Less smoothing", where: "Run" },
  "run.smoother": { keys: "]", does: "More smoothing", where: "Run" },
  "notebook.run": { keys: "Mod-Enter", does: "Run the cell", where: "Notebook" },
  "notebook.runNext": { keys: "Shift-Enter", does: "Run the cell and move to the next", where: "Notebook" },
  "notebook.above": { keys: "A", does: "Insert above", where: "Notebook" },
  "notebook.below": { keys: "B", does: "Insert below", where: "Notebook" },
  "notebook.freeze": { keys: "F", does: "Freeze the figure", where: "Notebook" },
  "notebook.undo": { keys: "Mod-Z", does: "Undo", where: "Notebook" },
  "notebook.redo": { keys: "Shift-Mod-Z", does: "Redo", where: "Notebook" },
  "notebook.insert": { keys: "/", does: "Insert a cell", where: "Notebook" },
  "package.download": { keys: "D", does: "Download the zip", where: "Package" },
} as const satisfies Record<string, Hotkey>;

export type HotkeyId = keyof typeof hotkeys;

const answered = new Map<HotkeyId, () => void>();
const listeners = new Set<() => void>();
let snapshot: readonly HotkeyId[] = [];
const changed = (): void => {
  snapshot = [...answered.keys()];
  for (const l of listeners) l();
};

/** Answers keys while the component is on the page; the newest answer wins. Undefined: not now. */
export function useHotkeys(handlers: Partial<Record<HotkeyId, (() => void) | undefined>>): void {
  const latest = useRef(handlers);
  latest.current = handlers;
  const ids = (Object.keys(handlers) as HotkeyId[]).filter((id) => handlers[id] !== undefined).sort();
  const key = ids.join();
  useEffect(() => {
    const mine = new Map<HotkeyId, () => void>();
    for (const id of key === "" ? [] : (key.split(",") as HotkeyId[])) {
      const answer = (): void => latest.current[id]?.();
      mine.set(id, answer);
      answered.set(id, answer);
    }
    changed();
    return () => {
      for (const [id, answer] of mine) if (answered.get(id) === answer) answered.delete(id);
      changed();
    };
  }, [key]);
}

/** What is answered now, for the palette. */
export const useAnswered = (): readonly HotkeyId[] =>
  useSyncExternalStore(
    (l) => {
      listeners.add(l);
      return () => listeners.delete(l);
    },
    () => snapshot,
    () => snapshot,
  );

export const answer = (id: HotkeyId): void => answered.get(id)?.();

/** A pressed key in the table's notation. Shift is named for letters, Enter and with Mod; `?` and `#` are themselves. */
export function keyName(event: Pick<KeyboardEvent, "key" | "metaKey" | "ctrlKey" | "shiftKey" | "altKey">): string {
  const isMod = event.metaKey || event.ctrlKey;
  const isLetter = /^[a-z]$/i.test(event.key);
  const name = isLetter ? event.key.toUpperCase() : event.key === " " ? "Space" : event.key;
  const isShift = event.shiftKey && (isLetter || name.length > 1 || isMod);
  return `${isShift ? "Shift-" : ""}${isMod ? "Mod-" : ""}${event.altKey ? "Alt-" : ""}${name}`;
}

/** How long `G` waits for a second key. */
const SEQUENCE_MS = 800;

/** Finds what a stream of keys means. `press` gives the ids bound to it, the newest table entry last. */
export function keySequence(): { press(name: string, atMs: number): HotkeyId[] } {
  let pending: { name: string; atMs: number } | null = null;
  const bound = (keys: string): HotkeyId[] =>
    (Object.entries(hotkeys) as [HotkeyId, Hotkey][]).flatMap(([id, h]) =>
      h.keys === keys && !h.inFigure ? [id] : [],
    );
  return {
    press(name, atMs) {
      const before = pending && atMs - pending.atMs <= SEQUENCE_MS ? pending.name : null;
      pending = null;
      if (before !== null) {
        const both = bound(`${before} ${name}`);
        if (both.length > 0) return both;
      }
      if (Object.values<Hotkey>(hotkeys).some((h) => h.keys.startsWith(`${name} `))) pending = { name, atMs };
      return bound(name);
    },
  };
}

const isEditable = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (target instanceof HTMLInputElement && !/^(checkbox|radio|range|button)$/.test(target.type)));

const isControl = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && /^(BUTTON|A|SUMMARY)$/.test(target.tagName);

/** Whether single keys (all that has no Mod) are listened to; kept in the browser. */
export const singleKeysAreOn = (): boolean => localStorage.getItem("single-keys") !== "off";
export const setSingleKeys = (on: boolean): void => localStorage.setItem("single-keys", on ? "on" : "off");

/** One listener for the whole page. */
export function useHotkeyListener(): void {
  useEffect(() => {
    const sequence = keySequence();
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
      const name = keyName(event);
      const isMod = event.metaKey || event.ctrlKey;
      if (!isMod && (isEditable(event.target) || !singleKeysAreOn())) return;
      // A field keeps its own undo; a focused button keeps Enter and Space.
      if (isEditable(event.target) && /Z$/.test(name)) return;
      if (isControl(event.target) && (name === "Enter" || name === "Space")) return;
      const id = sequence
        .press(name, performance.now())
        .filter((i) => answered.has(i))
        .at(-1);
      if (id === undefined) return;
      event.preventDefault();
      answer(id);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}

/** `Mod-K` as this machine writes it, one label per key. */
export function keyLabels(keys: string, isMac: boolean): string[] {
  const signs: Record<string, string> = isMac
    ? { Mod: "⌘", Shift: "⇧", Alt: "⌥", Enter: "↵", ArrowLeft: "←", ArrowRight: "→" }
    : { Mod: "Ctrl", Shift: "⇧", Alt: "Alt", Enter: "↵", ArrowLeft: "←", ArrowRight: "→" };
  return keys
    .split(" ")
    .flatMap((k) => (k.length > 1 ? k.split(/-(?=.)/) : [k]))
    .filter((k) => k !== "")
    .map((k) => signs[k] ?? k);
}
