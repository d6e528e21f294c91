"use client";
/** @file Asks the warm engine what a selection costs: a newer question replaces the older, partial answers are shown as they come. */
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { z } from "zod";
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
  /** Corrected by selections that were measured, with its interval. */
  readonly predicted: WhatIfAnswers["predict"] | null;
  /** The engine measures what it corrects predictions by. */
  readonly isCalibrating: boolean;
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
const CALIBRATE_AFTER_MS = 1_500;

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
  // Predictions are corrected by selections that the engine measures once, which takes seconds: in a lane of its own, so that
  // no newer question cancels it, and after what the person asked for.
  const isSettled = useRested(isDone, CALIBRATE_AFTER_MS) && isDone;
  const pool = asked.every((u) => /\.[HG]\d+$/.test(u)) ? [] : ["L0.mlp"];
  const calibrating = useQuery(
    trpc.whatIf.predict.queryOptions(
      { model, text: text ?? "", selection: pool, client: `${tabName} calibration` },
      { enabled: text !== null && opening.isSuccess && isSettled, staleTime: Number.POSITIVE_INFINITY, retry: false },
    ),
  );
  const predicting = useQuery(
    trpc.whatIf.predict.queryOptions(
      { model, text: text ?? "", selection: [...asked], client: tabName },
      {
        enabled: text !== null && opening.isSuccess && asked.length > 0 && calibrating.isSuccess,
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
      },
    ),
  );
  const questioned = useRested(asked, QUESTIONS_REST_MS);
  const answering = useQuery(
    trpc.whatIf.accuracy.queryOptions(
      { model, text: text ?? "", tasks: tasks ?? "", selection: [...questioned], limit: QUESTIONS, client: tabName },
      {
        enabled: text !== null && tasks !== null && isDone && calibrating.isFetched,
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
    isCalibrating: calibrating.isPending,
    accuracy: answering.data ?? null,
    accuracyIsStale: answering.isPlaceholderData || questioned !== names,
    error,
    retry: () => {
      if (opening.error && text !== null) mutate({ model, text, client: tabName });
      else void measuring.refetch();
    },
  };
}
