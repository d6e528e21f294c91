"use client";
/** @file Cells of a notebook that show runs: an experiment, a figure, a comparison. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { type FigureKind, figureKinds } from "../../experiments/figures/figure.ts";
import type { NotebookCell } from "../../experiments/notebook/cells.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton, Keys, Tag } from "../parts/controls.tsx";
import { TableView } from "../parts/figure.tsx";
import { plain } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { ErrorNote, RunStateMark, timeLeft, Waiting } from "../parts/states.tsx";
import { ConfigFields } from "./config-fields.tsx";
import { FigureDrawing } from "./figure-drawing.tsx";
import { runBehind, submittable } from "./notebook-state.ts";

type Of<K extends NotebookCell["type"]> = Extract<NotebookCell, { type: K }>;

export interface CellProps<K extends NotebookCell["type"]> {
  readonly cell: Of<K>;
  readonly cells: readonly NotebookCell[];
  readonly onChange: (cell: NotebookCell) => void;
}

/** Submits what the cell says; resolves to the run's id. */
export function useRunCell() {
  const trpc = useTRPC();
  const submit = useMutation(trpc.runs.submit.mutationOptions());
  return async (cell: Of<"experiment">, cells: readonly NotebookCell[]): Promise<string> => {
    const config = submittable(cell.config, cells);
    const run = await submit.mutateAsync({
      kind: cell.kind,
      name: `${cell.kind}, from a notebook`,
      config,
      tags: ["notebook"],
    });
    return run.id;
  };
}

export function ExperimentCell({ cell, cells, onChange, run }: CellProps<"experiment"> & { run: () => Promise<void> }) {
  const trpc = useTRPC();
  const known = useQuery(
    trpc.runs.get.queryOptions({ id: cell.runId ?? "" }, { enabled: cell.runId !== null, retry: false }),
  );
  const kinds = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const stop = useMutation(trpc.runs.stop.mutationOptions());
  const [failed, setFailed] = useState<unknown>(null);
  const [isOpen, setOpen] = useState(cell.runId === null && Object.keys(cell.config).length < 2);
  const at = known.data;
  const isActive = at?.state === "running" || at?.state === "queued" || at?.state === "stopping";
  const above = cells.slice(0, cells.indexOf(cell)).flatMap((c) => (c.type === "experiment" ? [c.id] : []));
  const go = (): void => {
    setFailed(null);
    run().catch(setFailed);
  };
  return (
    <div className="notebook-cell">
      <header>
        <strong>{cell.kind}</strong>
        <span className="soft notebook-what">{wordsOf(cell.config)}</span>
        <span className="end row" style={{ flexWrap: "nowrap" }}>
          {at ? (
            <Link className="plain" href={`/runs/${at.id}`}>
              <RunStateMark state={at.state} />
            </Link>
          ) : null}
          {isActive ? (
            <IconButton icon="square" label="Stop" onClick={() => stop.mutate({ id: at.id })} />
          ) : (
            <button type="button" className="quiet" onClick={go}>
              <Icon name="play" size={14} /> {cell.runId === null ? "Run" : "Run again"} <Keys of="notebook.run" />
            </button>
          )}
          <IconButton icon="columns" label="Fields" pressed={isOpen} onClick={() => setOpen(!isOpen)} />
        </span>
      </header>
      {isActive && at.progress ? (
        <div
          className="bar"
          style={{ height: 2, borderRadius: 0 }}
          role="progressbar"
          aria-label="Progress of the cell"
          aria-valuenow={Math.round(at.progress.share * 100)}
          aria-valuemin={0}
          aria-valuemax={100}
        >
          <div style={{ width: `${at.progress.share * 100}%` }} />
        </div>
      ) : null}
      {isOpen ? (
        <div className="notebook-pad">
          <label className="row" style={{ marginBottom: 8 }}>
            <span className="soft">Experiment</span>
            <select value={cell.kind} onChange={(e) => onChange({ ...cell, kind: e.target.value })}>
              {(kinds.data ?? [{ kind: cell.kind }]).map(({ kind: k }) => (
                <option key={k} value={k}>
                  {k}
                </option>
              ))}
            </select>
            <span className="soft">
              its model is <code>cell:{cell.id}</code> below
            </span>
          </label>
          <ConfigFields
            kind={cell.kind}
            config={cell.config}
            cells={above}
            onChange={(config) => onChange({ ...cell, config })}
          />
        </div>
      ) : null}
      {failed ? <ErrorNote error={failed} /> : null}
      {known.error ? <ErrorNote error={known.error} /> : null}
      {at ? <Outcome run={at} figure={kinds.data?.find((k) => k.kind === at.kind)?.figure ?? null} /> : null}
    </div>
  );
}

const wordsOf = (config: Record<string, unknown>): string =>
  Object.entries(config)
    .filter(([name]) => name !== "separator")
    .map(([name, v]) =>
      name === "model" ? `of ${String(v)}` : `${name} ${Array.isArray(v) ? v.join("+") : String(v)}`,
    )
    .join(", ");

interface RunLike {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly numbers: Record<string, number>;
  readonly progress: { share: number; label: string; left: { lowSeconds: number; highSeconds: number } | null } | null;
  readonly error: { message: string; hint: string | null } | null;
  readonly reason: string | null;
  readonly queuePosition: number | null;
}

function Outcome({ run, figure }: { run: RunLike; figure: FigureKind | null }) {
  if (run.state === "queued")
    return (
      <div className="notebook-pad soft">
        waits for a worker{run.queuePosition ? `, ${run.queuePosition}. in line` : ""}
      </div>
    );
  if (run.state === "failed" || run.state === "lost" || run.state === "cancelled")
    return (
      <div className="notebook-pad">
        {run.error ? <ErrorNote error={new Error(run.error.message)} /> : <span className="soft">{run.reason}</span>}
      </div>
    );
  if (run.state !== "succeeded")
    return (
      <div className="notebook-pad row">
        {run.progress ? (
          <>
            <span className="strong">{Math.floor(run.progress.share * 100)} %</span>
            <span className="soft">{run.progress.label}</span>
            <span className="soft end">{timeLeft(run.progress.left)}</span>
          </>
        ) : (
          <Waiting>starting</Waiting>
        )}
      </div>
    );
  return (
    <div className="notebook-pad">
      {figure ? <LiveFigure figure={figure} runs={[run.id]} caption="" /> : null}
      <dl className="facts" style={{ maxWidth: 420 }}>
        {Object.entries(run.numbers).map(([name, v]) => (
          <span key={name} style={{ display: "contents" }}>
            <dt>{name}</dt>
            <dd>{plain(v)}</dd>
          </span>
        ))}
      </dl>
    </div>
  );
}

function LiveFigure(props: { figure: FigureKind; runs: string[]; caption: string }) {
  const trpc = useTRPC();
  const data = useQuery(
    trpc.notebooks.figure.queryOptions({ figure: props.figure, runs: props.runs }, { retry: false, staleTime: 10_000 }),
  );
  if (data.error) return <ErrorNote error={data.error} />;
  return data.data ? <FigureDrawing data={data.data} caption={props.caption} /> : <Waiting>reading the runs</Waiting>;
}

export function FigureCell({ cell, cells, onChange, number }: CellProps<"figure"> & { number: number }) {
  const trpc = useTRPC();
  const freeze = useMutation(trpc.notebooks.freeze.mutationOptions());
  const frozen = useQuery(
    trpc.notebooks.frozen.queryOptions(
      { hash: cell.frozen ?? "" },
      { enabled: cell.frozen !== null, staleTime: Number.POSITIVE_INFINITY },
    ),
  );
  const runs = cell.runs.flatMap((r) => runBehind(r, cells) ?? []);
  return (
    <div className="notebook-cell">
      <header>
        <strong>Figure {number}</strong>
        <input
          className="notebook-caption"
          aria-label={`Caption of figure ${number}`}
          placeholder="what it shows"
          defaultValue={cell.caption}
          onBlur={(e) => e.target.value !== cell.caption && onChange({ ...cell, caption: e.target.value })}
        />
        <span className="end row" style={{ flexWrap: "nowrap" }}>
          {cell.frozen === null ? (
            <button
              type="button"
              className="quiet"
              disabled={runs.length === 0 || freeze.isPending}
              onClick={() =>
                freeze.mutate(
                  { figure: cell.figure, runs },
                  { onSuccess: ({ hash }) => onChange({ ...cell, frozen: hash }) },
                )
              }
            >
              <Icon name="snowflake" size={14} /> Freeze <Keys of="notebook.freeze" />
            </button>
          ) : (
            <>
              <Tag kind="frozen" />
              <code className="soft">data {cell.frozen.slice(0, 8)}</code>
              <button type="button" className="quiet" onClick={() => onChange({ ...cell, frozen: null })}>
                Thaw
              </button>
            </>
          )}
        </span>
      </header>
      <div className="notebook-pad">
        {cell.frozen === null ? (
          <RunsPicker
            cells={cells}
            before={cells.indexOf(cell)}
            runs={cell.runs}
            onChange={(next) => onChange({ ...cell, runs: next })}
          >
            <select
              aria-label="What the figure draws"
              value={cell.figure}
              onChange={(e) => {
                const figure = figureKinds.find((k) => k === e.target.value);
                if (figure) onChange({ ...cell, figure });
              }}
            >
              {figureKinds.map((k) => (
                <option key={k}>{k}</option>
              ))}
            </select>
          </RunsPicker>
        ) : null}
        {freeze.error ? <ErrorNote error={freeze.error} /> : null}
        {frozen.error ? <ErrorNote error={frozen.error} /> : null}
        {cell.frozen !== null ? (
          frozen.data ? (
            <FigureDrawing data={frozen.data} caption={cell.caption} />
          ) : null
        ) : runs.length > 0 ? (
          <LiveFigure figure={cell.figure} runs={runs} caption={cell.caption} />
        ) : (
          <p className="soft" style={{ margin: 0 }}>
            Nothing to draw yet: choose a run, or run the cell that the figure draws.
          </p>
        )}
      </div>
    </div>
  );
}

export function ComparisonCell({ cell, cells, onChange }: CellProps<"comparison">) {
  const trpc = useTRPC();
  const ids = cell.runs.flatMap((r) => runBehind(r, cells) ?? []);
  const found = useQuery(trpc.runs.compare.queryOptions({ ids }, { enabled: ids.length > 0 }));
  const runs = ids.flatMap((id) => found.data?.find((r) => r.id === id) ?? []);
  const show = (v: unknown): string | number =>
    typeof v === "number" ? v : v === undefined ? "–" : typeof v === "string" ? v : JSON.stringify(v);
  const rows = (["config", "numbers"] as const).flatMap((part) =>
    [...new Set(runs.flatMap((r) => Object.keys(r[part])))]
      .map((key) => [key, ...runs.map((r) => show((r[part] as Record<string, unknown>)[key]))])
      .filter((row) => new Set(row.slice(1)).size > 1),
  );
  return (
    <div className="notebook-cell">
      <header>
        <strong>Comparison</strong>
        <span className="soft">only what differs</span>
      </header>
      <div className="notebook-pad">
        <RunsPicker
          cells={cells}
          before={cells.indexOf(cell)}
          runs={cell.runs}
          onChange={(next) => onChange({ ...cell, runs: next })}
        />
        {found.error ? <ErrorNote error={found.error} /> : null}
        {runs.length > 1 ? (
          <TableView caption="Comparison" table={{ columns: ["", ...runs.map((r) => r.name)], rows }} />
        ) : (
          <p className="soft" style={{ margin: 0 }}>
            Choose two or more runs.
          </p>
        )}
      </div>
    </div>
  );
}

/** The runs a cell shows: those of cells above, or any by id. */
function RunsPicker(props: {
  cells: readonly NotebookCell[];
  before: number;
  runs: readonly string[];
  onChange: (runs: string[]) => void;
  children?: ReactNode;
}) {
  const trpc = useTRPC();
  const all = useQuery(trpc.runs.list.queryOptions({ limit: 200 }));
  const above = props.cells.slice(0, props.before).flatMap((c) => (c.type === "experiment" ? [c] : []));
  const given = props.runs.filter((r) => r !== "");
  const name = (r: string): string => {
    const cell = r.startsWith("cell:") ? above.find((c) => c.id === r.slice(5)) : undefined;
    return cell ? `${cell.kind} above` : (all.data?.find((x) => x.id === r)?.name ?? r);
  };
  return (
    <div className="row notebook-runs">
      {props.children}
      {given.map((r) => (
        <span key={r} className="chip">
          {name(r)}
          <IconButton
            icon="cross"
            label={`Remove ${name(r)}`}
            onClick={() => {
              const rest = given.filter((g) => g !== r);
              props.onChange(rest.length > 0 ? rest : [""]);
            }}
          />
        </span>
      ))}
      <select
        aria-label="Add a run"
        value=""
        onChange={(e) => props.onChange([...given, e.target.value].filter((v, i, l) => l.indexOf(v) === i))}
      >
        <option value="">add a run…</option>
        {above.map((c) => (
          <option key={c.id} value={`cell:${c.id}`}>
            the {c.kind} above
          </option>
        ))}
        {(all.data ?? []).map((r) => (
          <option key={r.id} value={r.id}>
            {r.name} ({r.kind}, {r.state})
          </option>
        ))}
      </select>
    </div>
  );
}
