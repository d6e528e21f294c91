/** Undo takes back an inserted cell at once, and a stretch of typing as one change. */
import { expect, test } from "vitest";
import type { NotebookContent } from "../../experiments/notebook/cells.ts";
import { type History, remembered } from "./notebook-history.ts";
import { changed, emptyCell, inserted } from "./notebook-state.ts";

test("typing in a cell is one change, inserting it another", () => {
  const empty: NotebookContent = { title: "t", cells: [] };
  let history: History = { past: [], future: [] };
  let now = empty;
  const to = (next: NotebookContent): void => {
    history = remembered(history, now, next);
    now = next;
  };
  to(inserted(now, emptyCell("markdown", "a", []), 0));
  const withCell = now;
  for (const text of ["B", "Be", "Bel", "Below"]) to(changed(now, { id: "a", type: "markdown", text }));
  expect(history.past).toEqual([empty, withCell]);
  to(inserted(now, emptyCell("markdown", "b", []), 1));
  expect(history.past).toHaveLength(3);
  expect(history.past.at(-1)?.cells).toEqual([{ id: "a", type: "markdown", text: "Below" }]);
});
