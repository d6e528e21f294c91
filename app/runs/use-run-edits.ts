"use client";
/** @file Names, notes, tags and the archive: changed on the page at once, undone from a toast. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { useTRPC } from "../parts/api.tsx";
import { useToast } from "../parts/toast.tsx";
import type { RunRow } from "./run-row.ts";

export interface RunEdits {
  rename(id: string, name: string): void;
  note(id: string, note: string): void;
  /** The tags these runs shall have in common are replaced; their own ones stay. */
  tag(ids: readonly string[], add: readonly string[], remove: readonly string[]): void;
  archive(ids: readonly string[], archived: boolean): void;
}

export function useRunEdits(): RunEdits {
  const trpc = useTRPC();
  const queries = useQueryClient();
  const toast = useToast();
  const { mutate } = useMutation(
    trpc.runs.update.mutationOptions({
      // The page showed the change before the server confirmed it, so fetch again.
      onError: () => void queries.invalidateQueries({ queryKey: [["runs", "list"]] }),
      onSuccess: () => void queries.invalidateQueries({ queryKey: [["runs", "get"]] }),
    }),
  );
  return useMemo(() => {
    const inLists = (change: (rows: readonly RunRow[]) => readonly RunRow[]): void => {
      for (const [key, rows] of queries.getQueriesData<readonly RunRow[]>({ queryKey: [["runs", "list"]] }))
        if (rows) queries.setQueryData(key, change(rows));
    };
    const change = (ids: readonly string[], set: (r: RunRow) => RunRow): void => {
      const wanted = new Set(ids);
      inLists((rows) => rows.map((r) => (wanted.has(r.id) ? set(r) : r)));
    };
    return {
      rename(id, name) {
        if (name.trim() === "") return;
        change([id], (r) => ({ ...r, name: name.trim() }));
        mutate({ ids: [id], name: name.trim() });
      },
      note(id, note) {
        change([id], (r) => ({ ...r, note }));
        mutate({ ids: [id], note });
      },
      tag(ids, add, remove) {
        if (ids.length === 0 || (add.length === 0 && remove.length === 0)) return;
        change(ids, (r) => ({
          ...r,
          tags: [...new Set([...r.tags, ...add])].filter((t) => !remove.includes(t)),
        }));
        mutate({ ids: [...ids], addTags: [...add], removeTags: [...remove] });
      },
      archive(ids, archived) {
        if (ids.length === 0) return;
        const wanted = new Set(ids);
        inLists((rows) => rows.filter((r) => !wanted.has(r.id)));
        mutate({ ids: [...ids], archived });
        toast({
          text: `${archived ? "Archived" : "Restored"} ${ids.length} ${ids.length === 1 ? "run" : "runs"}`,
          undo: () =>
            mutate(
              { ids: [...ids], archived: !archived },
              { onSuccess: () => void queries.invalidateQueries({ queryKey: [["runs", "list"]] }) },
            ),
        });
      },
    };
  }, [mutate, queries, toast]);
}
