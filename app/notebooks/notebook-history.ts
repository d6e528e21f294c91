/** @file What undo goes back to in a notebook: contents before each change, typing in one cell counted as one. */
import type { NotebookContent } from "../../experiments/notebook/cells.ts";

export interface History {
  readonly past: readonly NotebookContent[];
  readonly future: readonly NotebookContent[];
}

const MOST = 100;

/** After a change from `before` to `next`. A change of the one cell that the change before it was in joins that one. */
export function remembered({ past }: History, before: NotebookContent, next: NotebookContent): History {
  const start = past.at(-1);
  const isGoingOn = start !== undefined && same(cellsChanged(start, before), cellsChanged(before, next));
  return { past: (isGoingOn ? past : [...past, before]).slice(-MOST), future: [] };
}

const same = (a: string | null, b: string | null): boolean => a !== null && a === b;

/** The id of the one cell that differs; null where cells were added, removed or moved, or more than one changed. */
function cellsChanged(a: NotebookContent, b: NotebookContent): string | null {
  if (a.cells.length !== b.cells.length || a.title !== b.title) return null;
  const differing = a.cells.filter((cell, i) => cell !== b.cells[i]);
  const [only] = differing;
  return differing.length === 1 && only && b.cells[a.cells.indexOf(only)]?.id === only.id ? only.id : null;
}
