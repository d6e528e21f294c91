"use client";
/** @file The log of a run, page by page; later lines are asked for after the last one that is here. */
import { useCallback, useEffect, useRef, useState } from "react";
import { useTRPCClient } from "../../parts/api.tsx";

export interface Line {
  readonly seq: number;
  readonly level: "info" | "warning" | "error";
  readonly line: string;
  readonly atMs: number;
}

const PAGE = 2_000;
/** Lines a page holds; older ones are on disk. */
const MOST = 50_000;

export function useLog(id: string): { lines: readonly Line[]; isComplete: boolean; more: () => void } {
  const client = useTRPCClient();
  const [lines, setLines] = useState<readonly Line[]>([]);
  const [isComplete, setComplete] = useState(false);
  const last = useRef(0);
  const reading = useRef<Promise<void> | null>(null);
  const isAsked = useRef(false);
  const more = useCallback(() => {
    isAsked.current = true;
    reading.current ??= (async () => {
      while (isAsked.current) {
        isAsked.current = false;
        for (;;) {
          const page = await client.runs.log.query({ id, after: last.current, limit: PAGE });
          last.current = page.at(-1)?.seq ?? last.current;
          if (page.length > 0)
            setLines((before) =>
              [
                ...before,
                ...page.map((l) => ({ seq: l.seq, level: l.level, line: l.line, atMs: new Date(l.at).getTime() })),
              ].slice(-MOST),
            );
          if (page.length < PAGE) break;
        }
      }
      setComplete(true);
    })()
      // The stream tells when there is more; what failed is asked for then.
      .catch(() => undefined)
      .finally(() => {
        reading.current = null;
      });
  }, [client, id]);
  useEffect(() => more(), [more]);
  return { lines, isComplete, more };
}
