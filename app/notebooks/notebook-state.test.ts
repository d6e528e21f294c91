import { expect, test } from "vitest";
import type { NotebookCell } from "../../experiments/notebook/cells.ts";
import {
  emptyCell,
  freshId,
  inserted,
  moved,
  outline,
  removed,
  runBehind,
  runsIn,
  submittable,
} from "./notebook-state.ts";

const text = (id: string, words: string): NotebookCell => ({ id, type: "markdown", text: words });
const run = (id: string, runId: string | null, config: Record<string, unknown> = {}): NotebookCell => ({
  id,
  type: "experiment",
  kind: "prune",
  config,
  runId,
});
const book = (...cells: NotebookCell[]) => ({ title: "t", cells });

test("cells are inserted, moved and removed, never beyond the ends", () => {
  const b = book(text("a", ""), text("b", ""));
  expect(inserted(b, text("c", ""), 1).cells.map((c) => c.id)).toEqual(["a", "c", "b"]);
  expect(inserted(b, text("c", ""), 99).cells.at(-1)?.id).toBe("c");
  expect(moved(b, "a", 1).cells.map((c) => c.id)).toEqual(["b", "a"]);
  expect(moved(b, "a", -1)).toBe(b);
  expect(removed(b, "a").cells.map((c) => c.id)).toEqual(["b"]);
});

test("an id is unlike those that are there", () => {
  const draws = [0.5, 0.5, 0.25];
  const first = freshId([], () => 0.5);
  expect(freshId([text(first, "")], () => draws.shift() ?? 0)).not.toBe(first);
  expect(emptyCell("figure", "f", ["cell:a"])).toMatchObject({ runs: ["cell:a"], frozen: null });
});

test("a config that names a cell is submitted with that cell's run", () => {
  const cells = [run("p", "run_1"), run("q", null)];
  expect(submittable({ model: "cell:p", models: ["cell:p/winner", "starter"], steps: 3 }, cells)).toEqual({
    model: "run:run_1",
    models: ["run:run_1/winner", "starter"],
    steps: 3,
  });
  expect(() => submittable({ model: "cell:q" }, cells)).toThrow(/cell:q has not been run/);
  expect(runBehind("cell:nobody", cells)).toBeNull();
});

test("the outline is the headings of the text, not of its code", () => {
  const cells = [text("a", "# One *two*\ntext\n```\n# not this\n```\n## Three ##"), run("p", null)];
  expect(outline(cells)).toEqual([
    { cell: "a", level: 1, text: "One two" },
    { cell: "a", level: 2, text: "Three" },
  ]);
});

test("runs are those of cells, figures and chips, each once", () => {
  const figure: NotebookCell = {
    id: "f",
    type: "figure",
    figure: "numbers",
    runs: ["cell:p", "run_2"],
    caption: "",
    frozen: null,
  };
  expect(runsIn([run("p", "run_1"), figure, text("t", "see [it](run:run_3) and [x](https://a)")])).toEqual([
    "run_1",
    "run_2",
    "run_3",
  ]);
});
