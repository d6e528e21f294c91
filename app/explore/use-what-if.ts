"use client";
/** @file Asks the warm engine what a selection costs: a newer question replaces the older, partial answers are shown as they come. */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { z } from "zod";
import { findUnit } from "../../lib/units.ts";
import type { WhatIfAnswers, WhatIfMeasured, WhatIfOpened } from "../../server/what-if/service.ts";
import { tabName, useTopic, useTRPC } from "../parts/api.tsx";

/** While a hand is moving, only where it rests is measured. */
const REST_MS = 60;

const partialSchema = z.object({
  sequences: z.number(),
  of: z.number(),
  difference: z.number(),
  standardError: z.number(),
});

export type WhatIfState = "opening" | "measuring" | "measured" | "failed";

export interface WhatIf {
  readonly state: WhatIfState;
  readonly opened: WhatIfOpened | null;
  /** The measurement of this very selection. */
  readonly now: WhatIfMeasured | null;
  /** The last measurement there was, of another selection. */
  readonly before: WhatIfMeasured | null;
  /** What the running measurement has so far. */
  readonly partial: z.infer<typeof partialSchema> | null;
  /** From gradients at first; corrected by selections that were measured, with an interval, later. */
  readonly predicted: WhatIfAnswers["predict"] | null;
  readonly isPredicting: boolean;
  /** Questions answered right, before and after; of the last selection that was asked about. */
  readonly accuracy: WhatIfAnswers["accuracy"] | null;
  readonly accuracyIsStale: boolean;
  readonly error: unknown;
  retry(): void;
}

/** The value once it has rested. */
export function useRested<T>(value: T, ms: number): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return rested;
}

/** Questions take longer than the loss, so they wait until nothing has changed for a while. */
const QUESTIONS_REST_MS = 900;
const QUESTIONS = 100;
const REFINE_AFTER_MS = 1_500;

export interface WhatIfOn {
  readonly model: string;
  readonly text: string | null;
  /** Multiple-choice questions, where there are some. */
  readonly tasks: string | null;
}

export function useWhatIf({ model, text, tasks }: WhatIfOn, names: readonly string[]): WhatIf {
  const trpc = useTRPC();
  const asked = useRested(names, REST_MS);
  const opening = useMutation(trpc.whatIf.open.mutationOptions());
  const { mutate } = opening;
  useEffect(() => {
    if (text !== null) mutate({ model, text, client: tabName });
  }, [mutate, model, text]);
  const measuring = useQuery(
    trpc.whatIf.measure.queryOptions(
      { model, text: text ?? "", selection: [...asked], client: tabName },
      {
        enabled: text !== null && opening.isSuccess,
        staleTime: Number.POSITIVE_INFINITY,
        gcTime: 600_000,
        retry: false,
      },
    ),
  );
  const isDone = measuring.data !== undefined;
  const predicting = useQuery(
    trpc.whatIf.predict.queryOptions(
      { model, text: text ?? "", selection: [...asked], client: tabName },
      {
        enabled: text !== null && opening.isSuccess && asked.length > 0,
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
      },
    ),
  );
  // Better predictions take measuring: a few seconds at a time, in a lane of its own, while nobody waits for anything else.
  const queries = useQueryClient();
  const refining = useMutation(
    trpc.whatIf.refine.mutationOptions({
      onSuccess: () => queries.invalidateQueries({ queryKey: trpc.whatIf.predict.pathKey() }),
    }),
  );
  const isSettled = useRested(isDone, REFINE_AFTER_MS) && isDone;
  const { mutate: refine, data: refined, isPending: isRefining, isError: isUnrefined } = refining;
  const pool = asked.every((u) => ["heads", "groups"].includes(findUnit(u)?.kind ?? "")) ? "heads" : "all";
  const refinedTo = useRef({ heads: false, all: false });
  const lastPool = useRef<"heads" | "all">("heads");
  useEffect(() => {
    if (text === null || !isSettled || isRefining || isUnrefined || asked.length === 0) return;
    if (refined && refined.done >= refined.of) refinedTo.current[lastPool.current] = true;
    if (refinedTo.current[pool]) return;
    lastPool.current = pool;
    refine({ model, text, selection: [...asked], client: tabName });
  }, [refine, refined, isRefining, isUnrefined, isSettled, model, text, asked, pool]);
  const questioned = useRested(asked, QUESTIONS_REST_MS);
  const answering = useQuery(
    trpc.whatIf.accuracy.queryOptions(
      { model, text: text ?? "", tasks: tasks ?? "", selection: [...questioned], limit: QUESTIONS, client: tabName },
      {
        enabled: text !== null && tasks !== null && isDone,
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
        placeholderData: keepPreviousData,
      },
    ),
  );
  const [partial, setPartial] = useState<WhatIf["partial"]>(null);
  useTopic(`what-if:${tabName}`, (payload) => {
    const found = partialSchema.safeParse(payload);
    if (found.success && found.data.sequences < found.data.of) setPartial(found.data);
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new question has no partial answer yet
  useEffect(() => setPartial(null), [names]);
  const isAsked = asked === names;
  const now = isAsked && opening.isSuccess ? (measuring.data ?? null) : null;
  const last = useRef<WhatIfMeasured | null>(null);
  useEffect(() => {
    if (now) last.current = now;
  }, [now]);
  const error = opening.error ?? (isAsked ? measuring.error : null);
  return {
    state: error ? "failed" : opening.data === undefined ? "opening" : now ? "measured" : "measuring",
    opened: opening.data ?? null,
    now,
    before: now ? null : last.current,
    partial: now ? null : partial,
    predicted: isAsked ? (predicting.data ?? null) : null,
    isPredicting: predicting.isFetching,
    accuracy: answering.data ?? null,
    accuracyIsStale: answering.isPlaceholderData || questioned !== names,
    error,
    retry: () => {
      if (opening.error && text !== null) mutate({ model, text, client: tabName });
      else void measuring.refetch();
    },
  };
}
