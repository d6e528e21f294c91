"use client";
import { useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { bytes, count, fixed } from "../parts/format.ts";
import { TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote } from "../parts/states.tsx";

export default function Packages() {
  const trpc = useTRPC();
  const packages = useQuery(trpc.packages.list.queryOptions());
  const [picked, setPicked] = useState<string | null>(null);
  const p = packages.data?.find((x) => x.id === picked) ?? packages.data?.[0];
  return (
    <>
      <TopBar title="Packages" />
      {packages.error ? <ErrorNote error={packages.error} /> : null}
      {packages.data && !p ? (
        <Empty
          title="No package yet"
          action={
            <Link className="button" href="/tradeoff">
              To the trade-off
            </Link>
          }
        >
          Pick a winner on the trade-off and export it; it is read back and executed before it is called ready.
        </Empty>
      ) : null}
      {p ? (
        <div className="split">
          <section className="region">
            <h2>
              {p.name}{" "}
              <span style={{ color: p.ready ? "var(--ok)" : "var(--bad)" }}>{p.ready ? "✓ ready" : "✕ not ready"}</span>
            </h2>
            <p className="soft">
              From <Link href={`/explore?model=${p.modelId}`}>{p.modelId}</Link> by{" "}
              <Link href={`/runs/${p.runId}`}>this run</Link>. Checked here: read back, executed with fp16 rounding
              after every operation, compared with fp32. Not checked: {p.card.notChecked.join("; ")}.
            </p>
            <p>
              <a className="button" href={`/api/packages/${p.id}.zip`}>
                Download as zip, {bytes(p.sizeBytes)}
              </a>
            </p>
            <table>
              <tbody>
                <tr>
                  <td>Package</td>
                  <td className="number">{bytes(p.card.sizeBytes)}</td>
                </tr>
                <tr>
                  <td>Weights</td>
                  <td className="number">{bytes(p.card.weightBytes)}</td>
                </tr>
                <tr>
                  <td>Bits per weight</td>
                  <td className="number">{fixed(p.card.bitsPerWeight, 2)}</td>
                </tr>
                <tr>
                  <td>Smaller than fp16</td>
                  <td className="number">{fixed(p.card.timesSmallerThanFp16, 1)} ×</td>
                </tr>
                <tr>
                  <td>Greedy tokens identical</td>
                  <td className="number">
                    {p.card.parity.greedyIdentical
                      ? `${p.card.parity.greedyTokens} of ${p.card.parity.greedyTokens}`
                      : `until ${p.card.parity.greedyFirstDifference}`}
                  </td>
                </tr>
                <tr>
                  <td>Largest logit difference</td>
                  <td className="number">
                    {fixed(p.card.parity.maxLogitDifference, 4)} of {fixed(p.card.parity.largestLogit, 1)}
                  </td>
                </tr>
                <tr>
                  <td>KL to fp32, nats</td>
                  <td className="number">{p.card.parity.meanKl.toExponential(1)}</td>
                </tr>
                <tr>
                  <td>Same top token</td>
                  <td className="number">{fixed(100 * p.card.parity.topAgreement, 1)} %</td>
                </tr>
              </tbody>
            </table>
            <h2 style={{ marginTop: 16 }}>Says</h2>
            <p>{p.card.sample}</p>
          </section>
          <aside className="region">
            <h2>Functions</h2>
            {p.contents.functions.map((f) => (
              <details key={f.name} open={p.contents.functions.length === 1}>
                <summary>
                  <strong>{f.name}</strong> {count(Object.values(f.operations).reduce((a, b) => a + b, 0))} operations
                </summary>
                <p className="small mono">{[...f.inputs, ...f.states, ...f.outputs.map((o) => `→ ${o}`)].join(" ")}</p>
              </details>
            ))}
            <h2 style={{ marginTop: 16 }}>Weights by scheme</h2>
            <table>
              <tbody>
                {p.contents.weights.map((w) => (
                  <tr key={w.scheme}>
                    <td>{w.scheme}</td>
                    <td className="number">{w.tensors}</td>
                    <td className="number">{bytes(w.sizeBytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            <h2 style={{ marginTop: 16 }}>All packages</h2>
            {(packages.data ?? []).map((x) => (
              <p key={x.id} style={{ marginBottom: 4 }}>
                <button type="button" aria-pressed={x.id === p.id} onClick={() => setPicked(x.id)}>
                  {x.name}
                </button>{" "}
                <span className="soft">{new Date(x.createdAt).toLocaleString()}</span>
              </p>
            ))}
          </aside>
        </div>
      ) : null}
    </>
  );
}
