"use client";
/** @file The API for components, and the one stream of events a tab keeps open. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createTRPCClient, httpLink, httpSubscriptionLink, splitLink } from "@trpc/client";
import { createTRPCContext } from "@trpc/tanstack-react-query";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import type { AppRouter } from "../../server/api/router.ts";

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

const LiveContext = createContext(false);
/** Whether the stream of events is up. */
export const useIsLive = (): boolean => useContext(LiveContext);

const topics = ["runs", "models", "texts", "packages", "studies", "sweeps", "notebooks", "hosts"];

export function ApiProvider({ children }: { children: ReactNode }) {
  const [client] = useState(makeClient);
  const [queries] = useState(
    () => new QueryClient({ defaultOptions: { queries: { retry: 1, staleTime: 2_000, refetchOnWindowFocus: false } } }),
  );
  const [isLive, setLive] = useState(false);
  useEffect(() => {
    // What an event touches is asked for again, a few times a second at most.
    const touched = new Set<string>();
    const timer = setInterval(() => {
      for (const topic of touched) void queries.invalidateQueries({ queryKey: [[topic]] });
      touched.clear();
    }, 400);
    const stream = client.events.stream.subscribe(
      { topics },
      {
        onStarted: () => setLive(true),
        onConnectionStateChange: ({ state }) => setLive(state === "pending"),
        onData: ({ data }) => {
          touched.add(data.topic);
          if (data.topic === "runs") {
            touched.add("studies").add("sweeps").add("system");
            void queries.invalidateQueries({ queryKey: [["whatIf", "importance"]] });
          }
          if (data.topic === "hosts") touched.add("system");
        },
        onError: () => setLive(false),
      },
    );
    return () => {
      clearInterval(timer);
      stream.unsubscribe();
    };
  }, [client, queries]);
  return (
    <QueryClientProvider client={queries}>
      <TRPCProvider trpcClient={client} queryClient={queries}>
        <LiveContext.Provider value={isLive}>{children}</LiveContext.Provider>
      </TRPCProvider>
    </QueryClientProvider>
  );
}
