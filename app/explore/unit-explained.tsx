"use client";
/**
 * @file What a unit does: where a head looks on your sentence, what it attends to, what breaks without it, where it is
 * strongest.
 */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { PatternName, PatternScore } from "../../lib/compress/importance/attention-patterns.ts";
import { findUnit } from "../../lib/units.ts";
import { tabName, useTRPC } from "../parts/api.tsx";
import { fixed, signed } from "../parts/format.ts";
import { ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { AttentionMap } from "./attention-map.tsx";
import { spokenUnit } from "./grid-units.ts";
import { useRested } from "./use-what-if.ts";

export interface ExplainedProps {
  readonly model: string;
  readonly text: string;
  readonly unit: string;
  /** The measurement of the selection goes first. */
  readonly isReady: boolean;
}

/** Arrow keys pass over units faster than they can be explained. */
const REST_MS = 350;
const SHOWN = 3;

export function UnitExplained(props: ExplainedProps) {
  const trpc = useTRPC();
  const unit = useRested(props.unit, REST_MS);
  const isHead = findUnit(unit)?.kind === "heads";
  const explained = useQuery(
    trpc.whatIf.explain.queryOptions(
      { model: props.model, text: props.text, unit, client: tabName },
      {
        enabled: props.isReady,
        staleTime: Number.POSITIVE_INFINITY,
        gcTime: 600_000,
        retry: false,
        placeholderData: keepPreviousData,
      },
    ),
  );
  const found = explained.data;
  const isStale = explained.isPlaceholderData || unit !== props.unit;
  return (
    <>
      {isHead ? <OnYourSentence {...props} unit={unit} /> : null}
      {explained.error ? <ErrorNote error={explained.error} /> : null}
      {found ? (
        <div style={{ opacity: isStale ? 0.6 : 1 }}>
          {found.patterns ? <Patterns patterns={found.patterns} /> : null}
          <h3>What breaks without it</h3>
          <Breaks breaks={found.breaks} />
          {found.examples ? <Examples examples={found.examples} /> : null}
        </div>
      ) : explained.error ? null : (
        <Waiting>Reading where {spokenUnit(unit).toLowerCase()} looks</Waiting>
      )}
    </>
  );
}

const FIRST_SENTENCE = "Tom put the key under the pot. Tom found the key under the";

/** Where a head looks on a sentence of the reader's. */
export function OnYourSentence(props: ExplainedProps & { readonly width?: number }) {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  const [sentence, setSentence] = useState(get("sentence") ?? FIRST_SENTENCE);
  const rested = useRested(sentence.trim(), 300);
  const seen = useQuery(
    trpc.whatIf.attention.queryOptions(
      { model: props.model, text: props.text, prompt: rested, unit: props.unit, client: tabName },
      {
        enabled: props.isReady && rested !== "",
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
        placeholderData: keepPreviousData,
      },
    ),
  );
  return (
    <>
      <input
        className="sentence"
        aria-label="Your sentence"
        value={sentence}
        onChange={(e) => setSentence(e.target.value)}
        onBlur={() => set({ sentence: sentence === FIRST_SENTENCE ? null : sentence }, { quietly: true })}
      />
      {seen.error ? <ErrorNote error={seen.error} /> : null}
      {seen.data && seen.data.tokens.length > 0 ? (
        <div style={{ opacity: seen.isPlaceholderData ? 0.6 : 1 }}>
          <AttentionMap
            label={`Attention of ${props.unit} on your sentence`}
            tokens={seen.data.tokens}
            weights={seen.data.weights}
            {...(props.width === undefined ? {} : { width: props.width })}
          />
        </div>
      ) : sentence.trim() === "" ? (
        <p className="soft">Write a sentence to see where this head attends.</p>
      ) : null}
    </>
  );
}

const patternWords: Record<PatternName, string> = {
  induction: "Induction",
  first: "First token",
  previous: "Previous token",
  delimiter: "Delimiter",
  duplicate: "Same token",
  self: "Itself",
};

export function Patterns({ patterns }: { patterns: readonly PatternScore[] }) {
  const names = Object.keys(patternWords) as PatternName[];
  const rows = names.flatMap((name) => patterns.find((p) => p.pattern === name) ?? []);
  return (
    <>
      <h3>What it attends to</h3>
      <div className="explore-roles">
        {rows.map((p) => (
          <PatternRow key={p.pattern} pattern={p} />
        ))}
      </div>
      <p className="soft small" style={{ margin: "4px 0 0" }}>
        Share of its attention, over {rows[0]?.positions ?? 0} positions or more. The tick marks attention spread
        evenly.
      </p>
    </>
  );
}

function PatternRow({ pattern: p }: { pattern: PatternScore }) {
  return (
    <>
      <span className="soft-2">{patternWords[p.pattern]}</span>
      <span className="track">
        <span style={{ width: `${Math.min(100, 100 * p.score)}%` }} />
        <i style={{ left: `${Math.min(100, 100 * p.evenly)}%` }} />
      </span>
      <span className="number" title={`${p.positions} positions; ${fixed(p.evenly, 2)} when spread evenly`}>
        {fixed(p.score, 2)}
      </span>
    </>
  );
}

/** The end of a text, so that the token after it is in view. */
const tail = (tokens: readonly string[]): string =>
  tokens.join("").replace(/\s+/g, " ").slice(-52).replace(/^\S* /, "");

export function Breaks(props: {
  readonly shown?: number;
  breaks: readonly { before: readonly string[]; token: string; baseNll: number; nll: number }[];
}) {
  if (props.breaks.length === 0) return <p className="soft">Without it, no token of the text costs more.</p>;
  return (
    <div className="explore-examples">
      {props.breaks.slice(0, props.shown ?? SHOWN).map((b) => (
        <p key={`${b.before.join("")}${b.token}`}>
          …{tail(b.before)}
          <mark>{b.token}</mark>{" "}
          <span className="amount" title="Loss of this token, nats: with the unit, and without">
            {fixed(b.baseNll, 2)} → {fixed(b.nll, 2)} <span className="hurt">{signed(b.nll - b.baseNll, 2)} nats</span>
          </span>
        </p>
      ))}
    </div>
  );
}

export function Examples(props: {
  readonly shown?: number;
  examples: readonly { tokens: readonly string[]; query: number; key: number; weight: number }[];
}) {
  return (
    <>
      <h3>Strongest examples</h3>
      <div className="explore-examples">
        {props.examples.slice(0, props.shown ?? SHOWN).map((e) => (
          <p key={e.tokens.join("")}>
            …
            {e.tokens.map((t, i) =>
              i === e.key || i === e.query ? (
                // biome-ignore lint/suspicious/noArrayIndexKey: a token is its place
                <mark key={i} className={i === e.query ? "query" : undefined}>
                  {t}
                </mark>
              ) : (
                t
              ),
            )}{" "}
            <span className="amount">
              {fixed(e.weight, 2)} on “{(e.tokens[e.key] ?? "").trim()}”
            </span>
          </p>
        ))}
      </div>
    </>
  );
}
