"use client";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "next/navigation";
import { useRef, useState } from "react";
import "../notebooks.css";
import type { NotebookCell } from "../../../experiments/notebook/cells.ts";
import { useTRPC, useTRPCClient } from "../../parts/api.tsx";
import { IconButton, Keys, Menu } from "../../parts/controls.tsx";
import { useHotkeys } from "../../parts/hotkeys.ts";
import { Icon } from "../../parts/icons.tsx";
import { saveBlob } from "../../parts/save-figure.ts";
import { TopBar } from "../../parts/shell.tsx";
import { ErrorNote, Waiting } from "../../parts/states.tsx";
import { useToast } from "../../parts/toast.tsx";
import { ComparisonCell, ExperimentCell, FigureCell, useRunCell } from "../cells.tsx";
import { type CellType, changed, emptyCell, freshId, inserted, moved, removed } from "../notebook-state.ts";
import { SideColumn } from "../side-column.tsx";
import { TextCell } from "../text-cell.tsx";
import { useNotebook } from "../use-notebook.ts";

const kinds: readonly (readonly [CellType, string])[] = [
  ["markdown", "Text"],
  ["experiment", "Experiment"],
  ["figure", "Figure"],
  ["comparison", "Comparison"],
];

export default function NotebookPage() {
  const { id } = useParams<{ id: string }>();
  return <Notebook key={id} id={id} />;
}

function Notebook({ id }: { id: string }) {
  const trpc = useTRPC();
  const client = useTRPCClient();
  const queries = useQueryClient();
  const toast = useToast();
  const book = useNotebook(id);
  const runCell = useRunCell();
  const [current, setCurrent] = useState<string | null>(null);
  const [editing, setEditing] = useState<string | null>(null);
  const [failed, setFailed] = useState<unknown>(null);
  const body = useRef<HTMLDivElement>(null);
  const freeze = useMutation(trpc.notebooks.freeze.mutationOptions());
  const runs = useQuery(trpc.runs.list.queryOptions({ limit: 500 }));
  const { content, change } = book;
  const cells = content?.cells ?? [];
  const at = cells.findIndex((c) => c.id === current);
  const cell = cells[at];

  const focusCell = (cellId: string | undefined): void => {
    if (cellId === undefined) return;
    setCurrent(cellId);
    requestAnimationFrame(() => body.current?.querySelector<HTMLElement>(`[data-cell="${cellId}"]`)?.focus());
  };
  /** A text cell opens with the caret in it; focus on its row would take the caret away. */
  const openNew = (type: CellType, cellId: string): void => {
    if (type === "markdown") {
      setCurrent(cellId);
      setEditing(cellId);
    } else focusCell(cellId);
  };
  const insert = (type: CellType, where: number): void => {
    const cellId = freshId(cells);
    const above = cells.slice(0, where).findLast((c) => c.type === "experiment");
    change((c) => inserted(c, emptyCell(type, cellId, above ? [`cell:${above.id}`] : []), where));
    openNew(type, cellId);
  };
  const insertRun = (): void => {
    const last = runs.data?.[0];
    const cellId = freshId(cells);
    const words = last ? `[${last.name}](run:${last.id}) ` : "There is no run yet.";
    change((c) => inserted(c, { id: cellId, type: "markdown", text: words }, at < 0 ? cells.length : at + 1));
    openNew("markdown", cellId);
  };
  const remove = (gone: NotebookCell): void => {
    const where = cells.indexOf(gone);
    change((c) => removed(c, gone.id));
    focusCell((cells[where + 1] ?? cells[where - 1])?.id);
    toast({ text: "The cell was removed", undo: () => change((c) => inserted(c, gone, where)) });
  };
  const run = async (which: NotebookCell): Promise<void> => {
    if (which.type !== "experiment") return;
    const runId = await runCell(which, cells);
    change((c) => changed(c, { ...which, runId }));
  };
  const runCurrent = (): void => {
    setFailed(null);
    setEditing(null);
    if (cell) run(cell).catch(setFailed);
  };
  /** Experiment cells that were never run, or whose fields have changed since. */
  const stale = cells.filter((c): c is Extract<NotebookCell, { type: "experiment" }> => {
    if (c.type !== "experiment") return false;
    const last = runs.data?.find((r) => r.id === c.runId);
    if (!last) return c.runId === null;
    return (
      last.kind !== c.kind ||
      Object.entries(c.config).some(
        ([k, v]) =>
          !String(v).startsWith("cell:") && k in last.config && JSON.stringify(last.config[k]) !== JSON.stringify(v),
      )
    );
  });
  const runStale = async (): Promise<void> => {
    setFailed(null);
    // One after the other, since later cells name the runs of earlier ones.
    let now = cells;
    for (const c of stale) {
      const runId = await runCell(c, now);
      const next = { ...c, runId };
      now = now.map((o) => (o.id === c.id ? next : o));
      change((b) => changed(b, next));
    }
  };
  const freezeCurrent =
    cell?.type === "figure" && cell.frozen === null
      ? (): void => {
          const named = cell.runs.flatMap((r) => {
            const of = r.startsWith("cell:") ? cells.find((c) => c.id === r.slice(5)) : undefined;
            return of ? (of.type === "experiment" && of.runId ? [of.runId] : []) : r === "" ? [] : [r];
          });
          if (named.length > 0)
            freeze.mutate(
              { figure: cell.figure, runs: named },
              { onSuccess: ({ hash }) => change((c) => changed(c, { ...cell, frozen: hash })), onError: setFailed },
            );
        }
      : undefined;
  useHotkeys({
    "notebook.run": cell?.type === "experiment" ? runCurrent : undefined,
    "notebook.runNext": cell
      ? () => {
          runCurrent();
          focusCell(cells[at + 1]?.id);
        }
      : undefined,
    "notebook.above": cell ? () => insert("markdown", at) : undefined,
    "notebook.below": cell ? () => insert("markdown", at + 1) : undefined,
    "notebook.freeze": freezeCurrent,
    "notebook.undo": book.canUndo ? book.undo : undefined,
    "notebook.redo": book.canRedo ? book.redo : undefined,
    "notebook.insert": () => body.current?.querySelector<HTMLElement>(".notebook-insert button")?.focus(),
  });

  const save = (format: "html" | "markdown" | "ipynb") => (): void => {
    client.notebooks.export
      .query({ id, format })
      .then(({ fileName, mediaType, content: text }) => saveBlob(fileName, new Blob([text], { type: mediaType })))
      .catch(setFailed);
  };
  const onKey = (event: React.KeyboardEvent, c: NotebookCell): void => {
    if (event.target !== event.currentTarget) return;
    const where = cells.indexOf(c);
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown"))
      change((b) => moved(b, c.id, event.key === "ArrowUp" ? -1 : 1));
    else if (event.altKey || event.metaKey || event.ctrlKey || event.shiftKey) return;
    else if (event.key === "ArrowDown") focusCell(cells[where + 1]?.id);
    else if (event.key === "ArrowUp") focusCell(cells[where - 1]?.id);
    else if (event.key === "Enter" && c.type === "markdown") setEditing(c.id);
    else if (event.key === "Delete" || event.key === "Backspace") remove(c);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  let figures = 0;
  return (
    <>
      <TopBar
        title={content?.title ?? "Notebook"}
        trail={[{ name: "Notebooks", href: "/notebooks" }]}
        chips={
          <span className="soft small" role="status">
            {book.state === "refused" ? "not saved" : book.state === "saved" ? "saved" : "saving"}
          </span>
        }
      >
        <button
          type="button"
          className="quiet"
          disabled={stale.length === 0}
          onClick={() => void runStale().catch(setFailed)}
        >
          <Icon name="play" /> Run stale {stale.length > 0 ? stale.length : ""}
        </button>
        <Menu
          icon="upload"
          label="Export the notebook"
          items={[
            { name: "HTML, in one file", onClick: save("html") },
            { name: "Markdown", onClick: save("markdown") },
            { name: "Jupyter (.ipynb)", onClick: save("ipynb") },
          ]}
        />
      </TopBar>
      <div className="notebook">
        <div className="notebook-body" ref={body}>
          {book.error ? (
            <ErrorNote
              error={book.error}
              action={
                <button type="button" onClick={book.reload}>
                  Reload
                </button>
              }
            />
          ) : null}
          {failed ? <ErrorNote error={failed} /> : null}
          {content ? (
            <input
              className="notebook-title"
              aria-label="Title of the notebook"
              value={content.title}
              onChange={(e) => change((c) => ({ ...c, title: e.target.value || "Untitled" }))}
            />
          ) : (
            <Waiting>opening the notebook</Waiting>
          )}
          {cells.map((c, i) => {
            if (c.type === "figure") figures++;
            const onChange = (next: NotebookCell): void => change((b) => changed(b, next));
            return (
              <section
                key={c.id}
                id={c.id}
                data-cell={c.id}
                tabIndex={0}
                aria-label={`${c.type === "markdown" ? "text" : c.type}, cell ${i + 1} of ${cells.length}`}
                className={c.id === current ? "notebook-row current" : "notebook-row"}
                onFocus={() => setCurrent(c.id)}
                onKeyDown={(e) => onKey(e, c)}
              >
                <span className="notebook-gutter">
                  {c.type === "figure" && c.frozen !== null ? <Icon name="snowflake" /> : null}
                </span>
                {c.type === "markdown" ? (
                  <TextCell
                    cell={c}
                    isEditing={editing === c.id}
                    onEdit={(on) => setEditing(on ? c.id : null)}
                    onChange={onChange}
                  />
                ) : c.type === "experiment" ? (
                  <ExperimentCell cell={c} cells={cells} onChange={onChange} run={() => run(c)} />
                ) : c.type === "figure" ? (
                  <FigureCell cell={c} cells={cells} onChange={onChange} number={figures} />
                ) : (
                  <ComparisonCell cell={c} cells={cells} onChange={onChange} />
                )}
                <span className="notebook-tools">
                  <IconButton icon="cross" label={`Remove cell ${i + 1}`} onClick={() => remove(c)} />
                </span>
              </section>
            );
          })}
          {content ? (
            <div className="notebook-insert" role="toolbar" aria-label="Insert a cell">
              <Icon name="plus" />
              {kinds.map(([type, name]) => (
                <button
                  key={type}
                  type="button"
                  className="quiet"
                  onClick={() => insert(type, at < 0 ? cells.length : at + 1)}
                >
                  {name}
                </button>
              ))}
              <button type="button" className="quiet" onClick={insertRun}>
                Run
              </button>
              <Keys of="notebook.insert" />
              <span className="soft small">
                {at < 0 || at === cells.length - 1 ? "at the end" : `after cell ${at + 1}`}
              </span>
            </div>
          ) : null}
        </div>
        {content ? (
          <SideColumn
            id={id}
            cells={cells}
            onRestored={() => {
              void queries.invalidateQueries({ queryKey: [["notebooks"]] });
              book.reload();
            }}
          />
        ) : null}
      </div>
    </>
  );
}
