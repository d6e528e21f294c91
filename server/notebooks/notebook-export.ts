/**
 * @file A notebook as one self-contained file: HTML, Markdown or .ipynb. Nothing is computed anew: figures are drawn from frozen
 * data, or from what their runs have recorded.
 */
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import Markdown, { type Options } from "react-markdown";
import rehypeKatex from "rehype-katex";
import rehypeSanitize, { defaultSchema } from "rehype-sanitize";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import { type FigureData, figureTable } from "../../experiments/figures/figure.ts";
import { headFigure } from "../../experiments/figures/head-figure.ts";
import { curveChart } from "../../experiments/figures/static-curves.ts";
import { heatMap } from "../../experiments/figures/static-heads.ts";
import { escapeHtml, htmlTable, pageStyle } from "../../experiments/figures/static-page.ts";
import { pointsTable, tradeoffChart } from "../../experiments/figures/static-tradeoff.ts";
import type { NotebookCell } from "../../experiments/notebook/cells.ts";
import { toEspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { getRun, type Run } from "../runs/lifecycle.ts";
import { figureData } from "./figure-data.ts";
import { frozenFigure, getNotebook } from "./notebooks.ts";

export const notebookFormats = ["html", "markdown", "ipynb"] as const;
export type NotebookFormat = (typeof notebookFormats)[number];

interface Drawn {
  readonly cell: NotebookCell;
  /** Static HTML of everything but Markdown. */
  readonly html: string;
  readonly markdown: string;
}

export async function exportNotebook(
  core: Core,
  id: string,
  format: NotebookFormat,
): Promise<{ fileName: string; mediaType: string; content: string }> {
  const notebook = await getNotebook(core, id);
  const drawn: Drawn[] = [];
  for (const cell of notebook.cells) drawn.push(await draw(core, cell, notebook.cells));
  const base = notebook.title.replaceAll(/[^\w-]+/g, "-").toLowerCase() || "notebook";
  if (format === "html") {
    const body = drawn.map((d) => `<section>${d.html}</section>`).join("\n");
    const content = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(notebook.title)}</title><style>${pageStyle}</style></head><body><h1>${escapeHtml(notebook.title)}</h1>${body}</body></html>\n`;
    return { fileName: `${base}.html`, mediaType: "text/html", content };
  }
  if (format === "markdown") {
    const content = `# ${notebook.title}\n\n${drawn.map((d) => d.markdown).join("\n\n")}\n`;
    return { fileName: `${base}.md`, mediaType: "text/markdown", content };
  }
  const cells = drawn.map((d) =>
    d.cell.type === "markdown"
      ? { cell_type: "markdown", id: d.cell.id, metadata: {}, source: d.cell.text }
      : {
          cell_type: "code",
          id: d.cell.id,
          metadata: {},
          execution_count: null,
          source: `# ${JSON.stringify(d.cell)}`,
          outputs: [
            {
              output_type: "display_data",
              metadata: {},
              data: { "text/html": d.html, "text/markdown": d.markdown },
            },
          ],
        },
  );
  const ipynb = {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { title: notebook.title, language_info: { name: "json" } },
    cells,
  };
  return {
    fileName: `${base}.ipynb`,
    mediaType: "application/x-ipynb+json",
    content: `${JSON.stringify(ipynb, null, 1)}\n`,
  };
}

/** Markdown with tables and maths as HTML that holds no script. */
export function renderMarkdown(text: string): string {
  const allowMaths: typeof defaultSchema = {
    ...defaultSchema,
    attributes: { ...defaultSchema.attributes, code: [["className", /^language-./, "math-inline", "math-display"]] },
  };
  const props = {
    remarkPlugins: [remarkGfm, remarkMath],
    rehypePlugins: [[rehypeSanitize, allowMaths] as const, [rehypeKatex, { output: "mathml" }] as const].map((p) => [
      ...p,
    ]),
  };
  return renderToStaticMarkup(createElement(Markdown, props as Options, text));
}

const runOf = (reference: string, cells: readonly NotebookCell[]): string => {
  const cell = reference.startsWith("cell:") ? cells.find((c) => c.id === reference.slice(5)) : undefined;
  return cell?.type === "experiment" ? (cell.runId ?? "") : reference;
};

async function draw(core: Core, cell: NotebookCell, cells: readonly NotebookCell[]): Promise<Drawn> {
  if (cell.type === "markdown") return { cell, html: renderMarkdown(cell.text), markdown: cell.text };
  try {
    if (cell.type === "figure") {
      const ids = cell.runs.map((r) => runOf(r, cells));
      const data = cell.frozen ? await frozenFigure(core, cell.frozen) : await figureData(core, cell.figure, ids);
      const source = cell.frozen ? `frozen data ${cell.frozen.slice(0, 12)}` : `runs ${ids.join(", ")}`;
      const caption = `${cell.caption}${cell.caption ? " " : ""}(${source})`;
      return {
        cell,
        html: `${drawFigure(data)}<p class="soft">${escapeHtml(caption)}</p>`,
        markdown: `${markdownTable(...written(data))}\n\n*${caption}*`,
      };
    }
    if (cell.type === "experiment") {
      const run = cell.runId === null ? null : await getRun(core, cell.runId);
      const numbers = run ? Object.entries(run.numbers).map(([k, v]) => `${k} ${v}`) : [];
      const line = run ? `${run.kind} ${run.id}: ${run.state}. ${numbers.join(", ")}` : `${cell.kind}: not run`;
      const config = JSON.stringify(cell.config, null, 2);
      return {
        cell,
        html: `<p>${escapeHtml(line)}</p><pre>${escapeHtml(config)}</pre>`,
        markdown: `${line}\n\n\`\`\`json\n${config}\n\`\`\``,
      };
    }
    const found: Run[] = [];
    for (const r of cell.runs) found.push(await getRun(core, runOf(r, cells)));
    const rows = differencesOf(found);
    const head = ["", ...found.map((r) => r.name)];
    return { cell, html: htmlTable(head, rows), markdown: markdownTable(head, rows) };
  } catch (thrown) {
    const { message } = toEspalierError(thrown);
    return { cell, html: `<p class="soft">${escapeHtml(message)}</p>`, markdown: `*${message}*` };
  }
}

/** Config fields and numbers in which runs differ. */
export function differencesOf(found: readonly Pick<Run, "config" | "numbers">[]): string[][] {
  const show = (v: unknown): string => (v === undefined ? "" : typeof v === "string" ? v : JSON.stringify(v));
  const keys = (pick: (r: Pick<Run, "config" | "numbers">) => Record<string, unknown>): string[][] =>
    [...new Set(found.flatMap((r) => Object.keys(pick(r))))]
      .map((k) => [k, ...found.map((r) => show(pick(r)[k]))])
      .filter((row) => new Set(row.slice(1)).size > 1);
  return [...keys((r) => r.config), ...keys((r) => r.numbers)];
}

function drawFigure(data: FigureData): string {
  switch (data.figure) {
    case "importance": {
      const { grid } = headFigure(data);
      return grid.length > 0 ? heatMap(grid, new Set()) : htmlTable(...written(data));
    }
    case "tradeoff":
      return `${tradeoffChart(data, null)}${pointsTable(data)}`;
    case "curves":
      return data.series.flatMap((s) => s.curves.map((c) => curveChart(`${s.name}: ${c.name}`, c))).join("");
    case "numbers":
      return htmlTable(...written(data));
  }
}

/** The table of a figure in text: head and rows. */
function written(data: FigureData): [string[], string[][]] {
  const { columns, rows } = figureTable(data);
  const show = (v: string | number | null): string =>
    v === null ? "" : typeof v === "string" ? v : String(Number(v.toPrecision(6)));
  return [[...columns], rows.map((r) => r.map(show))];
}

const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows]
    .map((r) => `| ${r.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");
