"use client";
/** @file The API for components, and the one stream of events a tab keeps open. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createTRPCClient, httpLink, httpSubscriptionLink, splitLink } from "@trpc/client";
import { createTRPCContext } from "@trpc/tanstack-react-query";
import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from "react";
import type { AppRouter } from "../../server/api/router.ts";
import { isRunEvent, merged, patched, type RunEvent, wholeList } from "./live-runs.ts";

export const { TRPCProvider, useTRPC, useTRPCClient } = createTRPCContext<AppRouter>();

const url = "/api/trpc";
const makeClient = () =>
  createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: (op) => op.type === "subscription",
        true: httpSubscriptionLink({ url }),
        false: httpLink({ url }),
      }),
    ],
  });
type Client = ReturnType<typeof makeClient>;
type ListedRun = Awaited<ReturnType<Client["runs"]["list"]["query"]>>[number];

const LiveContext = createContext(false);
/** Whether the stream of events is up. */
export const useIsLive = (): boolean => useContext(LiveContext);

/** A stream that was answered with an error is opened again after a while. */
const REOPEN_MS = 2_000;
/** Names this tab to the server: what it asks for last replaces what it asked before, and partial answers come back to it. */
export const tabName = `tab-${Array.from({ length: 10 }, () => Math.floor(Math.random() * 36).toString(36)).join("")}`;

type Listener = (payload: unknown) => void;
const TopicContext = createContext<(topic: string, listener: Listener) => () => void>(() => () => undefined);

/** Hears what happens under a topic such as `run:ID`, over the stream the tab has open anyway; null: nothing. */
export function useTopic(topic: string | null, listener: Listener): void {
  const listen = useContext(TopicContext);
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => (topic === null ? undefined : listen(topic, (p) => latest.current(p))), [topic, listen]);
}

const topics = ["runs", "models", "texts", "packages", "studies", "sweeps", "notebooks", "hosts"];
/** What events touch is brought up to date this often at most. */
const SETTLE_MS = 400;

export function ApiProvider({ children }: { children: ReactNode }) {
  const [client] = useState(makeClient);
  const [queries] = useState(
    () => new QueryClient({ defaultOptions: { queries: { retry: 1, staleTime: 2_000, refetchOnWindowFocus: false } } }),
  );
  const [isLive, setLive] = useState(false);
  const [listen] = useState(() => {
    const listeners = new Map<string, Set<Listener>>();
    let reopen: () => void = () => undefined;
    return {
      listeners,
      onChange(act: () => void) {
        reopen = act;
      },
      to(topic: string, listener: Listener): () => void {
        const own = listeners.get(topic) ?? new Set<Listener>();
        listeners.set(topic, own.add(listener));
        if (own.size === 1) reopen();
        return () => {
          own.delete(listener);
          // Left in the stream until it is opened again for another reason.
          if (own.size === 0) listeners.delete(topic);
        };
      },
    };
  });
  useEffect(() => {
    const touched = new Set<string>();
    const events = new Map<string, RunEvent>();
    const states = new Map<string, string>();
    const timer = setInterval(() => {
      for (const topic of touched) void queries.invalidateQueries({ queryKey: [[topic]] });
      touched.clear();
      if (events.size > 0) void refreshRuns(client, queries, new Map(events));
      if ([...events.values()].some((e) => states.get(e.id) !== e.state)) {
        for (const e of events.values()) states.set(e.id, e.state);
        void queries.invalidateQueries({ queryKey: [["system"]] });
        void queries.invalidateQueries({ queryKey: [["tradeoff"]] });
        for (const other of ["curves", "compare", "log", "paired", "tensors"])
          void queries.invalidateQueries({ queryKey: [["runs", other]] });
      }
      events.clear();
    }, SETTLE_MS);
    let last: string | null = null;
    let stream: { unsubscribe(): void } | null = null;
    let due: ReturnType<typeof setTimeout> | undefined;
    const open = (): void => {
      stream?.unsubscribe();
      stream = client.events.stream.subscribe(
        { topics: [...topics, ...listen.listeners.keys()], ...(last === null ? {} : { lastEventId: last }) },
        {
          onStarted: () => setLive(true),
          onConnectionStateChange: ({ state }) => setLive(state === "pending"),
          onData: ({ id, data }) => {
            last = id;
            for (const l of listen.listeners.get(data.topic) ?? []) l(data.payload);
            if (data.topic === "runs") {
              touched.add("studies").add("sweeps");
              if (isRunEvent(data.payload)) events.set(data.payload.id, data.payload);
              void queries.invalidateQueries({ queryKey: [["whatIf", "importance"]] });
            } else if (topics.includes(data.topic)) touched.add(data.topic);
            // Sizes and speeds of points are those of their models.
            if (data.topic === "models") touched.add("tradeoff");
            // A report comes in as news of its package.
            if (data.topic === "packages") touched.add("reports").add("devices").add("system");
            if (data.topic === "hosts") touched.add("system");
          },
          // A browser opens a broken stream again, but not one that was answered with an error, as by a proxy while the server
          // restarts. Both go on after the last event.
          onError: () => {
            setLive(false);
            clearTimeout(due);
            due = setTimeout(open, REOPEN_MS);
          },
        },
      );
    };
    open();
    // Several components may ask for topics in one go.
    listen.onChange(() => {
      clearTimeout(due);
      due = setTimeout(open, 50);
    });
    return () => {
      clearInterval(timer);
      clearTimeout(due);
      stream?.unsubscribe();
    };
  }, [client, queries, listen]);
  return (
    <QueryClientProvider client={queries}>
      <TRPCProvider trpcClient={client} queryClient={queries}>
        <TopicContext.Provider value={listen.to}>
          <LiveContext.Provider value={isLive}>{children}</LiveContext.Provider>
        </TopicContext.Provider>
      </TRPCProvider>
    </QueryClientProvider>
  );
}

/** Puts progress into what is on the page; asks again only for runs that are new or changed their state. */
async function refreshRuns(client: Client, queries: QueryClient, events: ReadonlyMap<string, RunEvent>): Promise<void> {
  const stale = new Set<string>();
  const lists = queries.getQueryCache().findAll({ queryKey: [["runs", "list"]] });
  for (const list of lists) {
    const rows = queries.getQueryData<ListedRun[]>(list.queryKey);
    if (!rows) continue;
    const { rows: next, changed } = patched(rows, events);
    if (next !== rows) queries.setQueryData(list.queryKey, next);
    if (wholeList(inputOf(list.queryKey)) !== null) for (const id of changed) stale.add(id);
    else if (changed.length > 0) void queries.invalidateQueries({ queryKey: list.queryKey, exact: true });
  }
  for (const [id, event] of events) {
    for (const run of queries.getQueryCache().findAll({ queryKey: [["runs", "get"]] })) {
      const data = queries.getQueryData<{ id: string; state: string }>(run.queryKey);
      if (data?.id !== id) continue;
      if (data.state !== event.state) void queries.invalidateQueries({ queryKey: [["runs", "get"]] });
      else queries.setQueryData(run.queryKey, { ...data, progress: event.progress });
    }
  }
  if (stale.size === 0) return;
  const ids = [...stale].slice(0, 500);
  const fresh = await client.runs.list.query({ ids }).catch(() => null);
  for (const list of fresh ? lists : []) {
    const whole = wholeList(inputOf(list.queryKey));
    const rows = queries.getQueryData<ListedRun[]>(list.queryKey);
    if (whole && rows && fresh) queries.setQueryData(list.queryKey, merged(rows, fresh, whole.archived));
  }
}

/** tRPC keys are `[path, { input }]`. */
function inputOf(key: readonly unknown[]): unknown {
  const options = key[1];
  return typeof options === "object" && options !== null && "input" in options ? options.input : undefined;
}
