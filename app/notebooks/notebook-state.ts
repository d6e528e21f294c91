/** @file What editing does to a notebook; pure, so that it can be tested without a page. */
import type { NotebookCell, NotebookContent } from "../../experiments/notebook/cells.ts";

export type CellType = NotebookCell["type"];

/** `cell_xxxxxxxx`, unlike those that are there. */
export function freshId(cells: readonly NotebookCell[], random: () => number = Math.random): string {
  for (;;) {
    const id = `c${random().toString(36).slice(2, 10).padEnd(8, "0")}`;
    if (!cells.some((c) => c.id === id)) return id;
  }
}

export function emptyCell(type: CellType, id: string, runs: readonly string[] = []): NotebookCell {
  if (type === "markdown") return { id, type, text: "" };
  if (type === "experiment") return { id, type, kind: "sensitivity", config: { model: "starter" }, runId: null };
  if (type === "figure")
    return { id, type, figure: "importance", runs: runs.length > 0 ? [...runs] : [""], caption: "", frozen: null };
  return { id, type, runs: runs.length > 0 ? [...runs] : [""] };
}

export function inserted(content: NotebookContent, cell: NotebookCell, at: number): NotebookContent {
  return { ...content, cells: content.cells.toSpliced(Math.max(0, Math.min(at, content.cells.length)), 0, cell) };
}

/** Anything that named the cell keeps its words; it says so when it is drawn. */
export const removed = (content: NotebookContent, id: string): NotebookContent => ({
  ...content,
  cells: content.cells.filter((c) => c.id !== id),
});

export function moved(content: NotebookContent, id: string, by: 1 | -1): NotebookContent {
  const at = content.cells.findIndex((c) => c.id === id);
  const to = at + by;
  const cell = content.cells[at];
  if (!cell || to < 0 || to >= content.cells.length) return content;
  return { ...content, cells: content.cells.toSpliced(at, 1).toSpliced(to, 0, cell) };
}

export const changed = (content: NotebookContent, cell: NotebookCell): NotebookContent => ({
  ...content,
  cells: content.cells.map((c) => (c.id === cell.id ? cell : c)),
});

/** The run behind a reference: itself, or that of the experiment cell it names; null when there is none yet. */
export function runBehind(reference: string, cells: readonly NotebookCell[]): string | null {
  if (!reference.startsWith("cell:")) return reference === "" ? null : reference;
  const cell = cells.find((c) => c.id === reference.slice(5));
  return cell?.type === "experiment" ? cell.runId : null;
}

/** A config as it is submitted: `cell:ID` becomes `run:ID` of that cell's run. Throws where that cell has not run. */
export function submittable(config: Record<string, unknown>, cells: readonly NotebookCell[]): Record<string, unknown> {
  const resolve = (v: unknown): unknown => {
    if (Array.isArray(v)) return v.map(resolve);
    if (typeof v !== "string" || !v.startsWith("cell:")) return v;
    const [reference = "", part] = v.split("/");
    const run = runBehind(reference, cells);
    if (run === null) throw new Error(`${reference} has not been run yet; run it first`);
    return `run:${run}${part ? `/${part}` : ""}`;
  };
  return Object.fromEntries(Object.entries(config).map(([k, v]) => [k, resolve(v)]));
}

export interface OutlineEntry {
  readonly cell: string;
  readonly level: number;
  readonly text: string;
}

/** Headings of the text cells, code blocks left out. */
export function outline(cells: readonly NotebookCell[]): OutlineEntry[] {
  return cells.flatMap((c) => {
    if (c.type !== "markdown") return [];
    const prose = c.text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, "");
    return [...prose.matchAll(/^(#{1,4}) +(.+?) *#*$/gm)].map((m) => ({
      cell: c.id,
      level: m[1]?.length ?? 1,
      text: (m[2] ?? "").replaceAll(/[*_`$]/g, ""),
    }));
  });
}

/** Every run a notebook shows, in order. */
export function runsIn(cells: readonly NotebookCell[]): string[] {
  const found = cells.flatMap((c) => {
    if (c.type === "markdown") return [...c.text.matchAll(/\]\(run:(run_\w+)\)/g)].map((m) => m[1] ?? "");
    if (c.type === "experiment") return c.runId === null ? [] : [c.runId];
    return c.runs.flatMap((r) => runBehind(r, cells) ?? []);
  });
  return [...new Set(found.filter((r) => r !== ""))];
}
