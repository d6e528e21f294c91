"use client";
import { useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { bytes, count, fixed } from "../parts/format.ts";
import { TopBar } from "../parts/shell.tsx";
import { ErrorNote } from "../parts/states.tsx";

export default function Models() {
  const trpc = useTRPC();
  const models = useQuery(trpc.models.list.queryOptions());
  const [picked, setPicked] = useState<string | null>(null);
  const id = picked ?? models.data?.at(-1)?.id ?? null;
  return (
    <>
      <TopBar title="Models" />
      <div className="split">
        <section className="region scrolls">
          {models.error ? <ErrorNote error={models.error} /> : null}
          <table>
            <thead>
              <tr>
                <th>Model</th>
                <th>Made from</th>
                <th className="number">Parameters</th>
                <th className="number">Heads</th>
                <th className="number">Stored</th>
                <th className="number">Bits per weight</th>
              </tr>
            </thead>
            <tbody>
              {(models.data ?? []).map((m) => (
                <tr key={m.id} style={{ background: m.id === id ? "var(--signal-soft)" : undefined }}>
                  <td>
                    <button type="button" aria-pressed={m.id === id} onClick={() => setPicked(m.id)}>
                      {m.id}
                    </button>
                  </td>
                  <td>{m.runId ? <Link href={`/runs/${m.runId}`}>{m.parentId}</Link> : "imported"}</td>
                  <td className="number">{count(m.facts.parameters)}</td>
                  <td className="number">{m.facts.queryHeads.reduce((a, b) => a + b, 0)}</td>
                  <td className="number">{bytes(m.facts.weightBytes)}</td>
                  <td className="number">{fixed(m.facts.bitsPerWeight, 2)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p className="soft small" style={{ marginTop: 12 }}>
            Bring your own: <code>npm run -s espalier -- api models import --source ./folder --as my-model</code>
          </p>
        </section>
        {id ? <Anatomy id={id} /> : null}
      </div>
    </>
  );
}

function Anatomy({ id }: { id: string }) {
  const trpc = useTRPC();
  const detail = useQuery(trpc.models.get.queryOptions({ id }));
  const anatomy = useQuery(trpc.models.anatomy.queryOptions({ id }, { staleTime: Number.POSITIVE_INFINITY }));
  const layers = anatomy.data?.layers ?? [];
  const widest = Math.max(1, ...layers.map((l) => l.neurons));
  const byRole = new Map<string, { elements: number; sizeBytes: number }>();
  for (const t of anatomy.data?.tensors ?? []) {
    const at = byRole.get(t.role) ?? { elements: 0, sizeBytes: 0 };
    byRole.set(t.role, { elements: at.elements + t.elements, sizeBytes: at.sizeBytes + t.sizeBytes });
  }
  const total = [...byRole.values()].reduce((n, r) => n + r.sizeBytes, 0);
  return (
    <aside className="region">
      <h2>{id}</h2>
      {detail.data ? (
        <p className="soft">{detail.data.ancestors.map((a) => (a.kind ? `${a.id} (${a.kind})` : a.id)).join(" ← ")}</p>
      ) : null}
      {anatomy.error ? <ErrorNote error={anatomy.error} /> : null}
      <h2>Layers</h2>
      <p className="soft small">
        Query heads by KV group, a bar under a layer that sees everything; MLP neurons at the right.
      </p>
      {[...layers].reverse().map((l, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a layer is its position
        <div key={i} className="row small" style={{ marginBottom: 2 }}>
          <span style={{ width: 24 }}>L{layers.length - 1 - i}</span>
          <span
            className="row"
            style={{ gap: 2, width: 110, borderBottom: l.window === null ? "2px solid var(--ink)" : undefined }}
          >
            {l.headToGroup.map((g, h) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a head is its position
              <span key={h} style={{ width: 8, height: 12, background: `var(--d${(g % 6) + 1})` }} />
            ))}
          </span>
          <span style={{ width: `${(100 * l.neurons) / widest}px`, height: 8, background: "var(--ink-2)" }} />
          <span className="soft">{l.neurons}</span>
        </div>
      ))}
      <h2 style={{ marginTop: 16 }}>Where the bytes are</h2>
      <table>
        <tbody>
          {[...byRole]
            .sort((a, b) => b[1].sizeBytes - a[1].sizeBytes)
            .map(([role, r]) => (
              <tr key={role}>
                <td>{role}</td>
                <td style={{ width: 90 }}>
                  <div className="bar">
                    <div style={{ width: `${(100 * r.sizeBytes) / total}%`, background: "var(--ink-2)" }} />
                  </div>
                </td>
                <td className="number">{bytes(r.sizeBytes)}</td>
              </tr>
            ))}
        </tbody>
      </table>
      <p style={{ marginTop: 12 }}>
        <Link className="button" href={`/explore?model=${id}`}>
          Explore its heads
        </Link>
      </p>
    </aside>
  );
}
