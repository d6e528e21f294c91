"use client";
/** @file Beside a notebook: its outline, what is behind its numbers, its history. */
import { useMutation, useQueries, useQuery } from "@tanstack/react-query";
import type { NotebookCell } from "../../experiments/notebook/cells.ts";
import { useTRPC } from "../parts/api.tsx";
import { moment } from "../parts/format.ts";
import { ErrorNote } from "../parts/states.tsx";
import { outline, runsIn } from "./notebook-state.ts";

export function SideColumn({
  id,
  cells,
  onRestored,
}: {
  id: string;
  cells: readonly NotebookCell[];
  onRestored: () => void;
}) {
  const headings = outline(cells);
  return (
    <aside className="notebook-side">
      <section>
        <h3>Outline</h3>
        {headings.length === 0 ? <p className="soft">Headings of the text appear here.</p> : null}
        {headings.map((h) => (
          <a key={`${h.cell} ${h.text}`} href={`#${h.cell}`} className="plain" style={{ paddingLeft: 12 * h.level }}>
            {h.text}
          </a>
        ))}
      </section>
      <Behind cells={cells} />
      <History id={id} onRestored={onRestored} />
    </aside>
  );
}

function Behind({ cells }: { cells: readonly NotebookCell[] }) {
  const trpc = useTRPC();
  const ids = runsIn(cells);
  const runs = useQueries({
    queries: ids.slice(0, 30).map((id) => trpc.runs.get.queryOptions({ id }, { retry: false })),
  });
  const found = runs.flatMap((r) => (r.data ? [r.data] : []));
  const all = (pick: (r: (typeof found)[number]) => unknown): string => {
    const values = [
      ...new Set(
        found
          .map(pick)
          .filter((v) => v !== undefined && v !== null)
          .map(String),
      ),
    ];
    return values.length === 0 ? "unknown" : values.join(", ");
  };
  return (
    <section>
      <h3>Behind the numbers</h3>
      {ids.length === 0 ? (
        <p className="soft">When the notebook shows runs, this lists what they were computed from.</p>
      ) : (
        <dl className="facts">
          <dt>Runs</dt>
          <dd>{ids.length}</dd>
          <dt>Model</dt>
          <dd>
            <code>{all((r) => r.config.model ?? r.config.base)}</code>
          </dd>
          <dt>Text</dt>
          <dd>
            <code>{all((r) => r.config.text)}</code>
          </dd>
          <dt>Seed</dt>
          <dd>{all((r) => r.config.seed)}</dd>
          <dt>Engine</dt>
          <dd>{all((r) => r.provenance?.engine)}</dd>
          <dt>Code</dt>
          <dd>
            <code>{all((r) => r.provenance?.commit)}</code>
          </dd>
        </dl>
      )}
    </section>
  );
}

function History({ id, onRestored }: { id: string; onRestored: () => void }) {
  const trpc = useTRPC();
  const history = useQuery(trpc.notebooks.history.queryOptions({ id }));
  const restore = useMutation(trpc.notebooks.restore.mutationOptions({ onSuccess: onRestored }));
  return (
    <section>
      <h3>History</h3>
      {restore.error ? <ErrorNote error={restore.error} /> : null}
      <ul>
        {(history.data ?? []).slice(0, 20).map((v, i) => (
          <li key={v.version} className="row">
            <span className="soft">
              {moment(v.createdAt)}, version {v.version}
            </span>
            {i === 0 ? null : (
              <button
                type="button"
                className="quiet end"
                disabled={restore.isPending}
                onClick={() => restore.mutate({ id, version: v.version })}
              >
                Restore
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
