"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { useTRPC } from "./parts/api.tsx";
import { bytes, count } from "./parts/format.ts";
import { TopBar } from "./parts/shell.tsx";
import { ErrorNote, ProgressBar, RunStateMark } from "./parts/states.tsx";

const steps = [
  ["See", "what each of the starter's 64 attention heads is worth, with standard errors"],
  ["Prune", "the third that matters least"],
  ["Distil", "to win back what was lost"],
  ["Quantize", "at six widths, and compare accuracy against size"],
  ["Export", "the winner as a Core ML package that has been read back and executed"],
] as const;

export default function Home() {
  const trpc = useTRPC();
  const runs = useQuery(trpc.runs.list.queryOptions({ limit: 12 }));
  const models = useQuery(trpc.models.list.queryOptions());
  const studies = useQuery(trpc.studies.list.queryOptions());
  const start = useMutation(trpc.studies.startStarter.mutationOptions());
  const active = (runs.data ?? []).filter((r) => r.state === "running" || r.state === "stopping");
  const isNew = studies.data?.length === 0;
  const startButton = (
    <button type="button" className="primary" disabled={start.isPending} onClick={() => start.mutate({})}>
      {isNew ? "Start the starter study" : "Run the starter study again"}
    </button>
  );
  return (
    <>
      <TopBar title="Home" />
      {runs.error ? <ErrorNote error={runs.error} /> : null}
      {isNew ? (
        <section className="region">
          <p className="figure-number" style={{ maxWidth: "30ch" }}>
            See what a transformer can live without, and ship the rest to an iPhone.
          </p>
          <ol>
            {steps.map(([verb, what]) => (
              <li key={verb}>
                <strong>{verb}</strong> {what}
              </li>
            ))}
          </ol>
          {startButton}
          <p className="soft" style={{ marginTop: 8 }}>
            A few minutes on two cores; nothing is downloaded. You can watch it, stop it and go on later.
          </p>
        </section>
      ) : null}
      {start.error ? <ErrorNote error={start.error} /> : null}
      <section className="region">
        <h2>Running</h2>
        {active.length === 0 ? <p className="soft">Nothing is running.</p> : null}
        {active.map((r) => (
          <div key={r.id} style={{ marginBottom: 8 }}>
            <Link href={`/runs/${r.id}`}>{r.name}</Link> <span className="soft">{r.kind}</span>
            {r.progress ? <ProgressBar progress={r.progress} name={r.name} /> : null}
          </div>
        ))}
      </section>
      <section className="region">
        <h2>Lately</h2>
        <table>
          <tbody>
            {(runs.data ?? []).slice(0, 10).map((r) => (
              <tr key={r.id}>
                <td>
                  <RunStateMark state={r.state} />
                </td>
                <td>
                  <Link href={`/runs/${r.id}`}>{r.name}</Link>
                </td>
                <td className="soft">{r.reason ?? r.kind}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {isNew ? null : <p style={{ marginTop: 12 }}>{startButton}</p>}
      </section>
      <section className="region">
        <h2>Models</h2>
        <table>
          <tbody>
            {(models.data ?? []).map((m) => (
              <tr key={m.id}>
                <td>
                  <Link href={`/explore?model=${m.id}`}>{m.id}</Link>
                </td>
                <td className="number">{count(m.facts.parameters)} parameters</td>
                <td className="number">{bytes(m.facts.weightBytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}
