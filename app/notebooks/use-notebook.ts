"use client";
/**
 * @file The notebook on the page and the one that is kept: edits here at once, saved a moment later, versions checked.
 *
 * Two windows notice each other: the second one to save gets a warning and keeps its text until it reloads.
 */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import type { NotebookContent } from "../../experiments/notebook/cells.ts";
import { useTRPC } from "../parts/api.tsx";
import { type History, remembered } from "./notebook-history.ts";

const SAVE_AFTER_MS = 700;

export interface OpenNotebook {
  readonly content: NotebookContent | null;
  readonly state: "saved" | "saving" | "unsaved" | "refused";
  readonly error: unknown;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  change(edit: (content: NotebookContent) => NotebookContent): void;
  /** Takes back the last change of the visit; a stretch of typing in one cell is one change. */
  undo(): void;
  redo(): void;
  /** Takes what is kept, and drops what was not saved. */
  reload(): void;
}

export function useNotebook(id: string): OpenNotebook {
  const trpc = useTRPC();
  const queries = useQueryClient();
  const kept = useQuery(trpc.notebooks.get.queryOptions({ id }, { staleTime: Number.POSITIVE_INFINITY }));
  const save = useMutation(trpc.notebooks.save.mutationOptions());
  const [content, setContent] = useState<NotebookContent | null>(null);
  const [state, setState] = useState<OpenNotebook["state"]>("saved");
  const version = useRef(0);
  const latest = useRef<NotebookContent | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const busy = useRef(false);

  useEffect(() => {
    if (!kept.data || latest.current !== null) return;
    version.current = kept.data.version;
    latest.current = { title: kept.data.title, cells: kept.data.cells };
    setContent(latest.current);
  }, [kept.data]);

  const { mutateAsync } = save;
  const flush = useCallback(async (): Promise<void> => {
    if (busy.current || latest.current === null) return;
    busy.current = true;
    const sent = latest.current;
    setState("saving");
    try {
      const row = await mutateAsync({ id, version: version.current, content: sent });
      version.current = row.version;
      setState(latest.current === sent ? "saved" : "unsaved");
    } catch {
      setState("refused");
      busy.current = false;
      return;
    }
    busy.current = false;
    if (latest.current !== sent) void flush();
  }, [id, mutateAsync]);

  const put = useCallback(
    (next: NotebookContent): void => {
      latest.current = next;
      setContent(next);
      setState("unsaved");
      if (timer.current) clearTimeout(timer.current);
      timer.current = setTimeout(() => void flush(), SAVE_AFTER_MS);
    },
    [flush],
  );
  const [history, setHistory] = useState<History>({ past: [], future: [] });
  const change = useCallback(
    (edit: (content: NotebookContent) => NotebookContent): void => {
      const before = latest.current;
      if (before === null) return;
      const next = edit(before);
      if (next === before) return;
      setHistory((h) => remembered(h, before, next));
      put(next);
    },
    [put],
  );
  const step = (from: "past" | "future"): void => {
    const found = history[from].at(-1);
    const before = latest.current;
    if (found === undefined || before === null) return;
    const rest = history[from].slice(0, -1);
    setHistory(
      from === "past"
        ? { past: rest, future: [...history.future, before] }
        : { past: [...history.past, before], future: rest },
    );
    put(found);
  };
  // What was written in the last moment goes too.
  useEffect(() => {
    const leave = (event: BeforeUnloadEvent): void => {
      if (state === "unsaved" || state === "refused") event.preventDefault();
    };
    window.addEventListener("beforeunload", leave);
    return () => window.removeEventListener("beforeunload", leave);
  }, [state]);
  useEffect(
    () => () => {
      if (timer.current) {
        clearTimeout(timer.current);
        void flush();
      }
    },
    [flush],
  );
  const reload = useCallback((): void => {
    latest.current = null;
    save.reset();
    setState("saved");
    void queries.invalidateQueries({ queryKey: [["notebooks", "get"]] });
    void kept.refetch();
  }, [kept, queries, save]);

  return {
    content,
    state,
    error: kept.error ?? save.error,
    canUndo: history.past.length > 0,
    canRedo: history.future.length > 0,
    change,
    undo: () => step("past"),
    redo: () => step("future"),
    reload,
  };
}
