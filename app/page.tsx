"use client";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { withoutFlags } from "../experiments/flags.ts";
import { Link } from "./parts/link.tsx";
import "./home/home.css";
import { BringYourOwn } from "./home/bring-your-own.tsx";
import { StepPicture } from "./home/steps.tsx";
import { useTRPC } from "./parts/api.tsx";
import { Keys } from "./parts/controls.tsx";
import { bytes, count, duration, fixed, percent, plain } from "./parts/format.ts";
import { useHotkeys } from "./parts/hotkeys.ts";
import { Icon } from "./parts/icons.tsx";
import { TopBar } from "./parts/shell.tsx";
import { ErrorNote, ProgressBar, RunStateMark } from "./parts/states.tsx";

export default function Home() {
  const trpc = useTRPC();
  const studies = useQuery(trpc.studies.list.queryOptions());
  const starter = studies.data?.find((s) => s.kind === "starter");
  if (studies.error)
    return (
      <>
        <TopBar title="Home" />
        <div className="home">
          <ErrorNote error={studies.error} />
        </div>
      </>
    );
  return (
    <>
      <TopBar title="Home" />
      {studies.data ? starter ? <Later studyId={starter.id} /> : <FirstStart /> : null}
    </>
  );
}

function useStartStudy(): { start: () => void; isPending: boolean; error: unknown } {
  const trpc = useTRPC();
  const queries = useQueryClient();
  // The stream of events tells it too, but a page that has just been opened may not hear it yet.
  const refresh = () =>
    Promise.all(
      [trpc.studies.pathKey(), trpc.runs.pathKey()].map((queryKey) => queries.invalidateQueries({ queryKey })),
    );
  const begin = useMutation(trpc.studies.startStarter.mutationOptions({ onSuccess: refresh }));
  return { start: () => begin.mutate({}), isPending: begin.isPending, error: begin.error };
}

function FirstStart() {
  const trpc = useTRPC();
  const info = useQuery(trpc.system.info.queryOptions());
  const kinds = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const { start, isPending, error } = useStartStudy();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  useHotkeys({ "home.start": isPending ? undefined : start });
  return (
    <div className="home">
      <h2>See what a model can live without</h2>
      <p className="lead">
        Espalier comes with a small trained model. Run its study once and every page has real results to show. Nothing
        is downloaded.
      </p>
      <div className="begin">
        <button ref={button} type="button" className="primary" disabled={isPending} onClick={start}>
          <Icon name="play" /> Run the starter study <Keys of="home.start" />
        </button>
        <span className="soft">
          a few minutes on this machine{info.data ? `, ${info.data.machine.cores} cores` : ""}; you can stop at any step
        </span>
      </div>
      {error ? <ErrorNote error={error} /> : null}
      <ol className="home-steps">
        {(kinds.data ?? []).map(({ kind, step }) =>
          step ? (
            <li key={kind}>
              <div className="picture">
                <StepPicture kind={kind} />
              </div>
              <span className="strong">{step.name}</span>
              <br />
              <span className="soft">{step.what}</span>
            </li>
          ) : null,
        )}
      </ol>
      <div className="home-columns">
        <BringYourOwn />
        <Starter />
        <Machine />
      </div>
    </div>
  );
}

function Starter() {
  const trpc = useTRPC();
  const models = useQuery(trpc.models.list.queryOptions());
  const starter = models.data?.find((m) => m.id === "starter");
  if (!starter) return <section />;
  const { facts } = starter;
  return (
    <section>
      <h2>The starter</h2>
      <dl className="facts">
        <dt>Shape</dt>
        <dd>
          {facts.layers} layers, {facts.queryHeads[0]} heads, {facts.kvGroups[0]} KV groups
        </dd>
        <dt>Parameters</dt>
        <dd>{count(facts.parameters)}</dd>
        <dt>Weights, fp16</dt>
        <dd>{bytes(2 * facts.parameters)}</dd>
        <dt>Trained on</dt>
        <dd>stories about a small invented world</dd>
      </dl>
    </section>
  );
}

function Machine() {
  const trpc = useTRPC();
  const info = useQuery(trpc.system.info.queryOptions());
  if (!info.data) return <section />;
  const { hosts, machine, database } = info.data;
  const slots = hosts.reduce((n, h) => n + h.slots, 0);
  return (
    <section>
      <h2>This machine</h2>
      <dl className="facts">
        <dt>Workers</dt>
        <dd>{slots === 0 ? "none; runs wait" : `${slots} ready, ${machine.cores} cores`}</dd>
        <dt>Engine</dt>
        <dd>{machine.engine}</dd>
        <dt>Memory</dt>
        <dd>{bytes(machine.memoryBytes)}</dd>
        <dt>Free disk</dt>
        <dd>{bytes(machine.freeDiskBytes)}</dd>
        <dt>Database</dt>
        <dd>{database === "embedded" ? "embedded, used by this server only" : "a shared Postgres"}</dd>
        <dt>Network</dt>
        <dd>not needed</dd>
      </dl>
    </section>
  );
}

/** Once something has been run: what is running, what ended, what comes next. */
function Later({ studyId }: { studyId: string }) {
  const trpc = useTRPC();
  const runs = useQuery(trpc.runs.list.queryOptions({ limit: 60 }));
  const study = useQuery(trpc.studies.get.queryOptions({ id: studyId }));
  const models = useQuery(trpc.models.list.queryOptions());
  const resume = useMutation(trpc.runs.resume.mutationOptions());
  const { start, isPending, error } = useStartStudy();
  const all = runs.data ?? [];
  const active = all.filter((r) => r.state === "running" || r.state === "stopping");
  const waiting = all.filter((r) => r.state === "queued");
  const ended = all.filter((r) => !active.includes(r) && r.state !== "queued");
  const members = study.data?.runs ?? [];
  const halted = members.filter((r) => r.state === "cancelled" || r.state === "failed");
  const isDone = members.length > 0 && members.every((r) => r.state === "succeeded");
  const next = isDone
    ? [
        { href: "/explore", name: "Drop heads yourself", what: "and see at once what it costs" },
        {
          href: "/tradeoff",
          name: "Pick another point of the trade-off",
          what: "by the size or the accuracy you need",
        },
        { href: "/packages", name: "Look at the package", what: "what is in it, and what was checked" },
        { href: "/models", name: "Bring your own model", what: "a checkpoint folder, a .gguf file or a hub id" },
      ]
    : [];
  return (
    <div className="home home-wide">
      <div className="home-columns two">
        <div style={{ display: "grid", gap: 28, alignContent: "start" }}>
          <section>
            <h2>Running</h2>
            {active.length === 0 ? <p className="soft">Nothing is running.</p> : null}
            {active.map((r) => (
              <div key={r.id} style={{ marginBottom: 10 }}>
                <div className="row">
                  <RunStateMark state={r.state} word={false} />
                  <Link className="strong" href={`/runs/${r.id}`}>
                    {r.name}
                  </Link>
                  <span className="soft">{r.kind}</span>
                </div>
                {r.progress ? <ProgressBar progress={r.progress} name={r.name} /> : null}
              </div>
            ))}
            {waiting.length > 0 ? (
              <p className="soft">
                {waiting.length} more {waiting.length === 1 ? "waits" : "wait"} for{" "}
                {waiting.some((r) => r.reason) ? "what comes before" : "a worker"}.
              </p>
            ) : null}
          </section>
          {halted.length > 0 ? (
            <p className="row">
              <button
                type="button"
                className="primary"
                disabled={resume.isPending}
                onClick={() => {
                  for (const r of halted) resume.mutate({ id: r.id });
                }}
              >
                Continue the study
              </button>
              <span className="soft">
                {halted.length} of {members.length} steps were stopped or failed
              </span>
            </p>
          ) : null}
          {resume.error ? <ErrorNote error={resume.error} /> : null}
          <section>
            <h2>Recent runs</h2>
            <table>
              <tbody>
                {ended.slice(0, 12).map((r) => {
                  const [name, value] = Object.entries(r.numbers)[0] ?? [];
                  return (
                    <tr key={r.id}>
                      <td style={{ width: 104 }}>
                        <RunStateMark state={r.state} />
                      </td>
                      <td>
                        <Link href={`/runs/${r.id}`}>{r.name}</Link>{" "}
                        <span className="soft">
                          {r.state === "succeeded" ? r.kind : withoutFlags(r.error?.message ?? r.reason ?? "")}
                        </span>
                      </td>
                      <td className="number soft">{name === undefined ? "" : `${plain(value ?? 0)} ${name}`}</td>
                      <td className="number soft">{duration(r.computeSeconds)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </section>
          <section>
            <h2>Models</h2>
            <table>
              <thead>
                <tr>
                  <th>Model</th>
                  <th>Made from</th>
                  <th className="number">Parameters</th>
                  <th className="number">Stored</th>
                  <th className="number">Bits per weight</th>
                </tr>
              </thead>
              <tbody>
                {(models.data ?? []).slice(0, 8).map((m) => (
                  <tr key={m.id}>
                    <td>
                      <Link href={`/models?model=${m.id}`}>{m.id}</Link>
                    </td>
                    <td className="soft">{m.parentId ?? "imported"}</td>
                    <td className="number">{count(m.facts.parameters)}</td>
                    <td className="number">{bytes(m.facts.weightBytes)}</td>
                    <td className="number">{fixed(m.facts.bitsPerWeight, 2)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        </div>
        <div style={{ display: "grid", gap: 28, alignContent: "start" }}>
          <section>
            <h2>What to do next</h2>
            {next.map((n) => (
              <Link key={n.href} href={n.href} className="home-bring plain">
                <span>
                  <span className="strong">{n.name}</span>
                  <br />
                  <span className="small soft">{n.what}</span>
                </span>
              </Link>
            ))}
            {isDone ? null : (
              <p className="soft">
                {percent(members.filter((r) => r.state === "succeeded").length / Math.max(1, members.length), 0)} of the
                starter study is done; its pages fill as it goes.
              </p>
            )}
            <p style={{ marginTop: 12 }}>
              <button type="button" disabled={isPending || active.length > 0} onClick={start}>
                Run the starter study again
              </button>
            </p>
            {error ? <ErrorNote error={error} /> : null}
          </section>
          <BringYourOwn />
          <Machine />
        </div>
      </div>
    </div>
  );
}
