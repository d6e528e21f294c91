"use client";
/** @file Your prompt, greedily continued by the base and by the model with this selection; where they part is marked. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { WhatIfGenerated } from "../../server/what-if/service.ts";
import { tabName, useTRPC } from "../parts/api.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { useRested } from "./use-what-if.ts";

const TOKENS = 48;
const FIRST_PROMPT = "Once upon a time";

export function Dock(props: {
  readonly model: string;
  readonly text: string;
  readonly units: readonly string[];
  /** The measurement goes first. */
  readonly isReady: boolean;
}) {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  const [prompt, setPrompt] = useState(get("prompt") ?? FIRST_PROMPT);
  const rested = useRested(prompt, 300);
  const said = useQuery(
    trpc.whatIf.generate.queryOptions(
      {
        model: props.model,
        text: props.text,
        selection: [...props.units],
        prompt: rested,
        maxTokens: TOKENS,
        client: tabName,
      },
      {
        enabled: props.isReady && rested.trim() !== "",
        placeholderData: keepPreviousData,
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
      },
    ),
  );
  const isStale = said.isPlaceholderData || !props.isReady;
  return (
    <section className="dock explore-dock" aria-label="Generated text">
      <div className="row">
        <strong>Generated text</strong>
        <input
          aria-label="Prompt"
          value={prompt}
          onChange={(e) => setPrompt(e.target.value)}
          onBlur={() => set({ prompt: prompt === FIRST_PROMPT ? null : prompt }, { quietly: true })}
        />
        <span className="soft small" role="status">
          {said.data && !isStale ? verdict(said.data) : prompt.trim() === "" ? "write the start of a text" : "writing"}
        </span>
      </div>
      {said.error && props.isReady ? <ErrorNote error={said.error} /> : null}
      {said.data ? (
        <div className="explore-texts" style={{ opacity: isStale ? 0.6 : 1 }}>
          <div>
            <span className="soft small">Base</span>
            <Tokens tokens={said.data.base.tokens} first={said.data.firstDifference} />
          </div>
          <div>
            <span className="soft small">With this selection</span>
            <Tokens tokens={said.data.pruned.tokens} first={said.data.firstDifference} className="now" />
          </div>
        </div>
      ) : null}
    </section>
  );
}

/** `greedy · 2 of 48 tokens differ, first at 31`. */
export function verdict({ base, pruned, firstDifference }: WhatIfGenerated): string {
  const n = Math.max(base.tokens.length, pruned.tokens.length);
  if (firstDifference === null) return `greedy · all ${n} tokens the same`;
  const differ = Array.from({ length: n }, (_, i) => i).filter((i) => base.tokens[i] !== pruned.tokens[i]).length;
  return `greedy · ${differ} of ${n} tokens differ, first at ${firstDifference + 1}`;
}

function Tokens(props: { tokens: readonly string[]; first: number | null; className?: string }) {
  const { tokens, first } = props;
  if (tokens.length === 0) return <p className="soft">nothing: the model ends the text here</p>;
  return (
    <p>
      {tokens.map((t, i) => {
        const key = `${i} ${t}`;
        if (i === first)
          return (
            <mark key={key} className={props.className}>
              {t}
            </mark>
          );
        return t;
      })}
    </p>
  );
}
