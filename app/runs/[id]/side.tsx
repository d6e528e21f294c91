"use client";
/** @file The right column of a run: its numbers now, what changed, provenance, artifacts, lineage, the command that repeats it. */
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useTRPC } from "../../parts/api.tsx";
import { bytes, count, duration, moment, percent } from "../../parts/format.ts";
import { Icon } from "../../parts/icons.tsx";
import { Link } from "../../parts/link.tsx";
import { RunStateMark } from "../../parts/states.tsx";
import { withError } from "../columns.ts";
import { isError } from "../run-row.ts";
import { type Curve, changedFields, type Run, submitCommand } from "./run-facts.ts";

const Facts = ({ title, children }: { title: string; children: ReactNode }) => (
  <section>
    <h3>{title}</h3>
    <dl className="facts">{children}</dl>
  </section>
);

const Fact = ({ name, children, mono = false }: { name: string; children: ReactNode; mono?: boolean }) => (
  <>
    <dt>{name}</dt>
    <dd className={mono ? "mono" : undefined}>{children}</dd>
  </>
);

export function SidePanel({ run, curves }: { run: Run; curves: readonly Curve[] }) {
  const changes = run.parentConfig ? changedFields(run.config, run.parentConfig) : [];
  return (
    <aside className="run-side" aria-label="About the run">
      <Now run={run} curves={curves} />
      {run.parentConfig ? (
        <Facts title="Changed from its parent">
          {changes.length === 0 ? <Fact name="Nothing">the same config</Fact> : null}
          {changes.map((c) => (
            <Fact key={c.field} name={c.field}>
              <span className="soft">{c.from}</span> → {c.to}
            </Fact>
          ))}
        </Facts>
      ) : null}
      <details className="run-config">
        <summary>Config</summary>
        <dl className="facts">
          {Object.entries(run.config).map(([k, v]) => (
            <Fact key={k} name={k} mono>
              {typeof v === "string" ? JSON.stringify(v).slice(1, -1) : JSON.stringify(v)}
            </Fact>
          ))}
        </dl>
      </details>
      <ProvenanceFacts run={run} />
      <Facts title="Artifacts">
        {run.artifacts.length === 0 ? (
          <Fact name="None">{run.state === "succeeded" ? "this run only measures" : "not yet"}</Fact>
        ) : (
          run.artifacts.map((a) => (
            <Fact
              key={a.name}
              name={a.kind === "checkpoint" ? (a.name.includes("best") ? "best so far" : "checkpoint") : a.name}
              mono
            >
              <a href={a.href} download title={`${a.name}, sha256 ${a.sha256}`}>
                {bytes(a.sizeBytes)}
              </a>
            </Fact>
          ))
        )}
      </Facts>
      {run.outputModelId ? (
        <p style={{ margin: 0 }}>
          <Link href={`/explore?model=${encodeURIComponent(run.outputModelId)}`}>Explore {run.outputModelId}</Link>
        </p>
      ) : null}
      <Lineage run={run} />
      <Repeat run={run} />
    </aside>
  );
}

function Now({ run, curves }: { run: Run; curves: readonly Curve[] }) {
  const heldOut = curves.find((c) => c.name === "held-out KL");
  const isOver = run.state === "succeeded";
  const rows: [string, ReactNode][] = [];
  const values = (heldOut?.values ?? []).map(
    (v, i) => [v, heldOut?.errors?.[i] ?? null, heldOut?.steps[i] ?? 0] as const,
  );
  const finite = values.filter((v): v is readonly [number, number | null, number] => v[0] !== null);
  const [first, last] = [finite[0], finite.at(-1)];
  if (first && last) {
    const best = finite.reduce((a, b) => (b[0] < a[0] ? b : a));
    const shown = isOver ? best : last;
    const error = shown[1] ?? (isOver ? (run.numbers["KL ±"] ?? null) : null);
    const [value, se] = withError(shown[0], error);
    rows.push(["KL, held out", `${value}${se ? ` ± ${se}` : ", error unknown"}`]);
    if (first[0] > 0 && finite.length > 1) rows.push(["Won back", `${percent(1 - best[0] / first[0], 0)} of the KL`]);
    rows.push(["Best step", count(best[2])]);
  }
  const skipped = new Set(heldOut ? ["KL", "best step"] : []);
  for (const [name, value] of Object.entries(run.numbers)) {
    if (isError(name) || skipped.has(name)) continue;
    const [text, se] = withError(value, run.numbers[`${name} ±`] ?? null);
    rows.push([
      name.charAt(0).toUpperCase() + name.slice(1),
      name === "bytes"
        ? bytes(value)
        : name === "ready"
          ? value === 1
            ? "yes"
            : "no"
          : `${text}${se ? ` ± ${se}` : ""}`,
    ]);
  }
  if (run.computeSeconds > 0) rows.push(["Compute time", duration(run.computeSeconds)]);
  if (rows.length === 0) rows.push(["Nothing yet", run.state]);
  return (
    <Facts title={isOver ? "Result" : "Now"}>
      {rows.map(([name, value]) => (
        <Fact key={name} name={name}>
          {value}
        </Fact>
      ))}
    </Facts>
  );
}

function ProvenanceFacts({ run }: { run: Run }) {
  const trpc = useTRPC();
  const texts = useQuery(trpc.texts.list.queryOptions(undefined, { staleTime: 60_000 }));
  const p = run.provenance;
  const unknown = <em>unknown</em>;
  const textId = ["text", "tasks"].map((f) => run.config[f]).find((v) => typeof v === "string");
  const text = texts.data?.find((t) => t.id === textId);
  return (
    <Facts title="Provenance">
      <Fact name="Config" mono>
        <span title={run.configHash}>{run.configHash.slice(0, 8)}</span>
      </Fact>
      {typeof textId === "string" ? (
        <Fact name="Text" mono>
          {textId} {text ? <span title={text.sha256}>{text.sha256.slice(0, 4)}</span> : null}
        </Fact>
      ) : null}
      {"seed" in run.config ? (
        <Fact name="Seed" mono>
          {String(run.config.seed)}
        </Fact>
      ) : null}
      <Fact name="Engine" mono>
        {p?.engine ?? unknown}
      </Fact>
      <Fact name="Code" mono>
        {p ? (
          <>
            {p.espalier}
            {p.commit === null ? <>, commit {unknown}</> : `, ${p.commit.slice(0, 7)}`}
          </>
        ) : (
          unknown
        )}
      </Fact>
      <Fact name="Machine" mono>
        {p ? (
          <span title={p.cpu}>
            {p.cores} cores, {p.platform}, {bytes(p.memoryBytes)}
          </span>
        ) : (
          unknown
        )}
      </Fact>
      <Fact name="Threads" mono>
        {p ? p.threads : unknown}
      </Fact>
      <Fact name="Node" mono>
        {p?.node ?? unknown}
      </Fact>
      <Fact name="Energy">{unknown}</Fact>
      <Fact name="Started">{run.startedAt ? moment(run.startedAt) : "not yet"}</Fact>
    </Facts>
  );
}

const relations = {
  "made what it needs": "from",
  parent: "cloned from",
  child: "cloned to",
  "needs what it made": "used by",
} as const;

function Lineage({ run }: { run: Run }) {
  if (run.relatives.length === 0) return null;
  return (
    <section>
      <h3>Lineage</h3>
      <ul className="run-lineage">
        {run.relatives.map((r) => (
          <li key={`${r.relation} ${r.id}`}>
            <span className="soft small">{relations[r.relation]}</span>
            <Link className="cut" href={`/runs/${r.id}`}>
              {r.name}
            </Link>
            <RunStateMark state={r.state} word={r.state !== "succeeded"} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Repeat({ run }: { run: Run }) {
  const [isCopied, setCopied] = useState(false);
  const command = submitCommand(run.kind, run.config, run.name);
  return (
    <section className="run-repeat">
      <h3>Repeat it</h3>
      <div>
        <code tabIndex={0}>{command}</code>
        <button
          type="button"
          className="icon quiet"
          aria-label="Copy the command"
          title={isCopied ? "Copied" : "Copy the command"}
          onClick={() =>
            void navigator.clipboard.writeText(command).then(() => {
              setCopied(true);
              setTimeout(() => setCopied(false), 1_500);
            })
          }
        >
          <Icon name={isCopied ? "check" : "copy"} />
        </button>
      </div>
    </section>
  );
}
