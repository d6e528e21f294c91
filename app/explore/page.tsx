"use client";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { bytes, count, fixed, percent, signed } from "../parts/format.ts";
import { HeadGrid } from "../parts/head-grid.tsx";
import { type HeadCellData, lowest, parseSelection } from "../parts/head-grid-model.ts";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote } from "../parts/states.tsx";

export default function ExplorePage() {
  return (
    <Suspense>
      <Explore />
    </Suspense>
  );
}

type Metric = "leave-one-out" | "taylor";

function Explore() {
  const trpc = useTRPC();
  const router = useRouter();
  const params = useSearchParams();
  const model = params.get("model") ?? "starter";
  const metric: Metric = params.get("metric") === "taylor" ? "taylor" : "leave-one-out";
  const asTable = params.get("view") === "table";
  const dropped = params.get("drop");
  const selection = useMemo(() => parseSelection(dropped), [dropped]);

  const models = useQuery(trpc.models.list.queryOptions());
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id: model }, { staleTime: Number.POSITIVE_INFINITY }));
  const importance = useQuery(trpc.whatIf.importance.queryOptions({ model }));
  const texts = useQuery(trpc.texts.list.queryOptions());
  const text = importance.data?.[0]?.text ?? texts.data?.find((t) => t.split === "calibrate")?.id ?? null;

  const set = useCallback(
    (changes: Record<string, string | null>, isNew = true): void => {
      const next = new URLSearchParams(params);
      for (const [name, value] of Object.entries(changes)) {
        if (value === null || value === "") next.delete(name);
        else next.set(name, value);
      }
      const address = `/explore?${next.toString().replaceAll("%2C", ",")}`;
      if (isNew) router.push(address, { scroll: false });
      else router.replace(address, { scroll: false });
    },
    [params, router],
  );

  const past = useRef<string[]>([]);
  const future = useRef<string[]>([]);
  const [, redraw] = useState(0);
  const show = useCallback((s: ReadonlySet<string>) => set({ drop: [...s].sort().join(",") }, false), [set]);
  const choose = (next: Set<string>): void => {
    past.current.push(dropped ?? "");
    future.current = [];
    show(next);
  };
  const back = useCallback(
    (from: string[], to: string[]): void => {
      const last = from.pop();
      if (last === undefined) return;
      to.push(dropped ?? "");
      show(parseSelection(last));
      redraw((n) => n + 1);
    },
    [dropped, show],
  );
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (!(event.metaKey || event.ctrlKey) || event.key.toLowerCase() !== "z") return;
      if (event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      if (event.shiftKey) back(future.current, past.current);
      else back(past.current, future.current);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [back]);

  const latest = importance.data?.find((i) => i.units.some((u) => u.metric === metric && /\.H\d+$/.test(u.unit)));
  const cells = useMemo(() => {
    const found = new Map<string, HeadCellData>();
    for (const u of latest?.units ?? [])
      if (u.metric === metric) found.set(u.unit, { unit: u.unit, value: u.value, standardError: u.standardError });
    return found;
  }, [latest, metric]);
  const layers = anatomy.data?.layers ?? [];
  const shape = { heads: layers.map((l) => l.queryHeads), groupOf: layers.map((l) => l.headToGroup) };
  const heads = shape.heads.reduce((a, b) => a + b, 0);
  const noise = [...cells.values()].filter((c) => Math.abs(c.value ?? 0) < 2 * (c.standardError ?? 0)).length;

  const measureAll = useMutation(trpc.runs.submit.mutationOptions());
  const prune = useMutation(trpc.runs.submit.mutationOptions());
  const pruned = prune.data;
  const separator = texts.data?.find((t) => t.id === text)?.separator ?? undefined;
  const onText = text === null ? {} : { text, ...(separator ? { separator } : {}) };

  return (
    <>
      <TopBar title="Explore">
        <label className="row">
          <span className="soft">Model</span>
          <select value={model} onChange={(e) => set({ model: e.target.value, drop: null })}>
            {(models.data ?? []).map((m) => (
              <option key={m.id}>{m.id}</option>
            ))}
          </select>
        </label>
        <label className="row">
          <span className="soft">Metric</span>
          <select value={metric} onChange={(e) => set({ metric: e.target.value })}>
            <option value="leave-one-out">Leave-one-out</option>
            <option value="taylor">Taylor</option>
          </select>
        </label>
        <span className="end row">
          <button type="button" disabled={past.current.length === 0} onClick={() => back(past.current, future.current)}>
            Undo
          </button>
          <button
            type="button"
            disabled={future.current.length === 0}
            onClick={() => back(future.current, past.current)}
          >
            Redo
          </button>
          <button type="button" aria-pressed={asTable} onClick={() => set({ view: asTable ? null : "table" })}>
            View as table
          </button>
        </span>
      </TopBar>
      {anatomy.error ? <ErrorNote error={anatomy.error} /> : null}
      <div className="split">
        <section className="region">
          <h2>What each head is worth</h2>
          <p className="soft">
            {latest
              ? `${metric === "taylor" ? "Mean size of the gradient through the head's gate" : "Change in loss when one head is removed"}, 10⁻³ nats per token ± standard error. ${noise} of ${cells.size} are within noise. ${latest.protocol}.${latest.agreement ? ` Taylor ranks as leave-one-out does with ρ ${fixed(latest.agreement.spearman, 2)}.` : ""}`
              : "Nothing has been measured on this model yet; you can drop heads all the same and see what it costs."}
          </p>
          {!latest && importance.data ? (
            <p>
              <button
                type="button"
                className="primary"
                disabled={text === null || measureAll.isPending}
                onClick={() =>
                  measureAll.mutate({
                    kind: "sensitivity",
                    name: `what each head of ${model} is worth`.slice(0, 120),
                    config: { model, ...onText, units: ["heads"], metric: ["leave-one-out", "taylor"] },
                  })
                }
              >
                Measure every head
              </button>{" "}
              {measureAll.data ? <a href={`/runs/${measureAll.data.id}`}>the run</a> : null}
            </p>
          ) : null}
          {measureAll.error ? <ErrorNote error={measureAll.error} /> : null}
          {asTable ? (
            <table>
              <thead>
                <tr>
                  <th>Head</th>
                  <th className="number">10⁻³ nats per token</th>
                  <th className="number">± SE</th>
                  <th>State</th>
                </tr>
              </thead>
              <tbody>
                {[...cells.values()].map((c) => (
                  <tr key={c.unit}>
                    <td>{c.unit}</td>
                    <td className="number">{signed((c.value ?? 0) * 1000, 2)}</td>
                    <td className="number">{fixed((c.standardError ?? 0) * 1000, 2)}</td>
                    <td>{selection.has(c.unit) ? "dropped" : "kept"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          ) : (
            <HeadGrid
              label={`Heads of ${model}, layers by heads`}
              shape={shape}
              cells={cells}
              selection={selection}
              onChange={choose}
            />
          )}
          <div className="row" style={{ marginTop: 16 }}>
            <label className="row">
              Drop the lowest
              <input
                type="number"
                min={0}
                max={99}
                style={{ width: 64 }}
                disabled={cells.size === 0}
                value={heads > 0 ? Math.round((100 * selection.size) / heads) : 0}
                onChange={(e) =>
                  choose(lowest([...cells.values()], Math.round((Number(e.target.value) / 100) * heads)))
                }
              />
              % of heads
            </label>
            <button type="button" onClick={() => choose(new Set())} disabled={selection.size === 0}>
              Restore all
            </button>
          </div>
          <p className="soft small" style={{ marginTop: 12 }}>
            Arrows move, Space drops or restores, R a row, C a column, G a KV group, Shift and arrows a range that Enter
            drops.
          </p>
        </section>
        <aside className="region">
          {text === null ? (
            <Empty title="There is no text to measure on">Add one, and every selection is measured on it.</Empty>
          ) : (
            <WhatIf model={model} text={text} selection={selection} cells={cells} />
          )}
          <p className="row" style={{ marginTop: 16 }}>
            <button
              type="button"
              className="primary"
              disabled={selection.size === 0 || prune.isPending}
              onClick={() =>
                prune.mutate({
                  kind: "prune",
                  name: `${model}-minus-${selection.size}`,
                  config: { model, drop: [...selection].sort() },
                })
              }
            >
              Prune these {selection.size} heads
            </button>
          </p>
          {prune.error ? <ErrorNote error={prune.error} /> : null}
          {pruned ? (
            <p>
              <a href={`/runs/${pruned.id}`}>{pruned.name}</a> is on its way;{" "}
              <a href={`/new?kind=distill&model=${model}&student=run:${pruned.id}`}>distil it</a> when it is there.
            </p>
          ) : null}
        </aside>
      </div>
    </>
  );
}

function WhatIf(props: {
  model: string;
  text: string;
  selection: ReadonlySet<string>;
  cells: ReadonlyMap<string, HeadCellData>;
}) {
  const { model, text, selection, cells } = props;
  const trpc = useTRPC();
  const [client] = useState(() => `tab-${Math.random().toString(36).slice(2, 10)}`);
  const chosen = useMemo(() => [...selection].sort(), [selection]);
  const opened = useMutation(trpc.whatIf.open.mutationOptions());
  const { mutate } = opened;
  useEffect(() => mutate({ model, text, client }), [mutate, model, text, client]);
  const measured = useQuery(
    trpc.whatIf.measure.queryOptions(
      { model, text, selection: chosen, client },
      {
        enabled: opened.isSuccess,
        placeholderData: keepPreviousData,
        staleTime: Number.POSITIVE_INFINITY,
        retry: false,
      },
    ),
  );
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id: model }, { staleTime: Number.POSITIVE_INFINITY }));
  const [prompt, setPrompt] = useState("Once upon a time");
  const generated = useQuery(
    trpc.whatIf.generate.queryOptions(
      { model, text, selection: chosen, prompt, maxTokens: 40, client },
      { enabled: opened.isSuccess && prompt.trim() !== "", placeholderData: keepPreviousData, retry: false },
    ),
  );
  const additive = chosen.reduce((n, u) => n + (cells.get(u)?.value ?? 0), 0);
  const isKnown = chosen.every((u) => cells.has(u));
  const cost = costOf(anatomy.data, selection);
  const m = measured.data;
  const isStale = measured.isFetching || measured.isPlaceholderData;
  return (
    <>
      <h2>What if</h2>
      <p className="soft">
        {selection.size === 0 ? "Drop heads on the grid to see what they cost." : `${selection.size} heads dropped.`}
      </p>
      {opened.error ? <ErrorNote error={opened.error} /> : null}
      {measured.error && !isStale ? <ErrorNote error={measured.error} /> : null}
      <div style={{ opacity: isStale ? 0.6 : 1 }} aria-live="polite">
        <span className="figure-number" data-testid="measured">
          {m ? signed(m.difference * 1000, 1) : "…"}
        </span>{" "}
        {m ? `± ${fixed(m.standardError * 1000, 1)} ` : ""}
        <span className="soft">10⁻³ nats per token, measured</span>
        <div className="soft small" data-testid="latency">
          {m && !isStale ? `${m.sequences} sequences in ${Math.round(m.milliseconds)} ms` : "measuring"}
        </div>
      </div>
      <table style={{ marginTop: 12 }}>
        <thead>
          <tr>
            <th>
              <span className="visually-hidden">What</span>
            </th>
            <th className="number">base</th>
            <th className="number">now</th>
            <th className="number">change</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <td>Predicted, sum of single effects</td>
            <td className="number">0</td>
            <td className="number">{isKnown ? signed(additive * 1000, 1) : "unknown"}</td>
            <td className="number soft">10⁻³ nats</td>
          </tr>
          {opened.data ? (
            <tr>
              <td>Perplexity</td>
              <td className="number">{fixed(Math.exp(opened.data.baseNll), 3)}</td>
              <td className="number">{m ? fixed(Math.exp(opened.data.baseNll + m.difference), 3) : "…"}</td>
              <td className="number">{m ? signed(100 * (Math.exp(m.difference) - 1), 1) : "…"} %</td>
            </tr>
          ) : null}
          {cost ? (
            <>
              <tr>
                <td>Parameters</td>
                <td className="number">{count(cost.parameters)}</td>
                <td className="number">{count(cost.parameters - cost.removed)}</td>
                <td className="number">{percent(-cost.removed / cost.parameters)}</td>
              </tr>
              <tr>
                <td>Weights in fp16</td>
                <td className="number">{bytes(2 * cost.parameters)}</td>
                <td className="number">{bytes(2 * (cost.parameters - cost.removed))}</td>
                <td className="number">−{bytes(2 * cost.removed)}</td>
              </tr>
              <tr>
                <td>KV cache at {cost.positions}, fp16</td>
                <td className="number">{bytes(cost.cache)}</td>
                <td className="number">{bytes(cost.cache - cost.cacheRemoved)}</td>
                <td className="number">−{bytes(cost.cacheRemoved)}</td>
              </tr>
            </>
          ) : null}
        </tbody>
      </table>
      <h2 style={{ marginTop: 16 }}>Text, greedy</h2>
      <label>
        <span className="visually-hidden">Prompt</span>
        <input style={{ width: "100%" }} value={prompt} onChange={(e) => setPrompt(e.target.value)} />
      </label>
      {generated.data ? (
        <>
          <p style={{ marginTop: 8 }}>
            <span className="soft">Base </span>
            {generated.data.base.text}
          </p>
          <p>
            <span className="soft">Now </span>
            {generated.data.pruned.tokens.map((t, i) =>
              i === generated.data?.firstDifference ? (
                // biome-ignore lint/suspicious/noArrayIndexKey: a token is its position
                <mark key={i} style={{ background: "var(--signal-soft)", color: "inherit" }}>
                  {t}
                </mark>
              ) : (
                t
              ),
            )}
          </p>
          <p className="soft small">
            {generated.data.firstDifference === null
              ? "The same text."
              : `First difference at token ${generated.data.firstDifference + 1}.`}
          </p>
        </>
      ) : null}
      {generated.error && !isStale ? <ErrorNote error={generated.error} /> : null}
    </>
  );
}

/** Exactly what slicing takes away: rows of query and output for a head, keys and values with the last head of a group. */
function costOf(
  anatomy:
    | {
        tensors: { elements: number }[];
        layers: {
          queryHeads: number;
          kvGroups: number;
          headDim: number;
          headToGroup: number[];
          window: number | null;
        }[];
        hidden: number;
        maxPositions: number;
      }
    | undefined,
  selection: ReadonlySet<string>,
) {
  if (!anatomy) return null;
  const positions = Math.min(512, anatomy.maxPositions);
  let [removed, cache, cacheRemoved] = [0, 0, 0];
  for (const [l, layer] of anatomy.layers.entries()) {
    const kept = layer.headToGroup.filter((_, h) => !selection.has(`L${l}.H${h}`));
    const goneHeads = layer.queryHeads - kept.length;
    const goneGroups = layer.kvGroups - new Set(kept).size;
    removed += 2 * (goneHeads + goneGroups) * layer.headDim * anatomy.hidden;
    const each = 2 * 2 * layer.headDim * Math.min(positions, layer.window ?? positions);
    cache += layer.kvGroups * each;
    cacheRemoved += goneGroups * each;
  }
  return { parameters: anatomy.tensors.reduce((n, t) => n + t.elements, 0), removed, cache, cacheRemoved, positions };
}
