"use client";
import type { ReactNode } from "react";
/** @file What a run of its kind found: a head map, what was cut, where the bytes are, a table with intervals, the winner. */
import { withoutFlags } from "../../../experiments/flags.ts";
import { weightBytesOf } from "../../../experiments/kinds/export/weight-bytes.ts";
import type { Summaries } from "../../../experiments/registry.ts";
import { perplexityRatio } from "../../../lib/checkpoint/origin.ts";
import { bytes, count, fixed, percent } from "../../parts/format.ts";
import { Link } from "../../parts/link.tsx";
import { significant, withError } from "../columns.ts";
import { cutByLayer, type Run } from "./run-facts.ts";
import { WorthOfUnits } from "./worth-of-units.tsx";

export function KindSummary({ run, hasCurves }: { run: Run; hasCurves: boolean }) {
  const { summary } = run;
  if (summary === null || typeof summary !== "object" || run.state !== "succeeded")
    return hasCurves ? null : (
      <div className="region soft">
        {run.state === "succeeded" ? "This run left no summary." : "Its results appear here when it ends."}
      </div>
    );
  // Written by the experiment of this kind, whose type it has.
  const drawing = drawings[run.kind as keyof Summaries] as ((run: Run, summary: unknown) => ReactNode) | undefined;
  return drawing?.(run, summary) ?? null;
}

/** A kind that is not here shows its numbers, in the column beside. */
const drawings: { [K in keyof Summaries]?: (run: Run, summary: Summaries[K]) => ReactNode } = {
  sensitivity: (run, summary) => <WorthOfUnits run={run} summary={summary} />,
  prune: (_, summary) => <Cut summary={summary} />,
  quantize: (_, summary) => <Bytes summary={summary} />,
  evaluate: (_, summary) => <Evaluation summary={summary} />,
  tradeoff: (run, summary) => <Tradeoff run={run} summary={summary} />,
  export: (run, summary) => <Card packageId={run.outputPackageId} summary={summary} />,
};

function Cut({ summary }: { summary: Summaries["prune"] }) {
  const rows = [
    ["Query heads", summary.heads],
    ["KV groups", summary.groups],
    ["Neurons", summary.neurons],
    ["Layers", summary.layers],
    ["Parameters", summary.parameters],
  ] as const;
  return (
    <section className="region">
      <h2>What was cut</h2>
      <p className="soft">Exact counts; nothing else in the checkpoint changed.</p>
      <table style={{ maxWidth: 520 }}>
        <thead>
          <tr>
            <th>
              <span className="visually-hidden">What</span>
            </th>
            <th className="number">before</th>
            <th className="number">after</th>
            <th className="number">gone</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, { before, after }]) => (
            <tr key={name}>
              <td>{name}</td>
              <td className="number">{count(before)}</td>
              <td className="number">{count(after)}</td>
              <td className="number">{percent((before - after) / before)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p style={{ margin: "10px 0 0" }}>
        {cutByLayer(summary.dropped).map(({ layer, units }) => (
          <span key={layer} style={{ marginRight: 14, whiteSpace: "nowrap" }}>
            <strong>{layer}</strong> <s>{units}</s>
          </span>
        ))}
      </p>
      <Lost origin={summary.origin} />
    </section>
  );
}

function Bytes({ summary }: { summary: Summaries["quantize"] }) {
  const byWidth = new Map<string, number>();
  for (const w of Object.values(summary.recipe)) byWidth.set(w, (byWidth.get(w) ?? 0) + 1);
  return (
    <section className="region">
      <h2>Where the bits are, and what they cost</h2>
      <p className="soft">
        {bytes(summary.sizeBytes)} of codes, scales, tables and fp16 norms: {fixed(summary.bitsPerWeight, 3)} bits per
        weight, everything counted. Matrices: {[...byWidth].map(([w, n]) => `${count(n)} as ${w}`).join(", ")}.
        {summary.notes.length > 0 ? ` ${withoutFlags(summary.notes.join(". "))}.` : ""}
      </p>
      <Lost origin={summary.origin} />
    </section>
  );
}

/** What a made model lost against its original. */
function Lost({ origin }: { origin: Summaries["quantize"]["origin"] }) {
  const { loss, name, note } = origin;
  if (!loss)
    return (
      <p className="soft">
        Not measured against {name}: {note}.
      </p>
    );
  const rows: [string, number, number | null, string][] = [
    [
      `KL to ${loss.against === "original" ? name : "the parent"}`,
      loss.kl.mean,
      loss.kl.standardError,
      "nats per token",
    ],
    [
      "Perplexity",
      loss.perplexity,
      null,
      `${fixed(perplexityRatio(loss), 3)} times the ${fixed(loss.basePerplexity, 2)} it was`,
    ],
    ["Same top token", loss.agreement.mean, loss.agreement.standardError, "share of positions"],
  ];
  return (
    <>
      <p className="soft">
        {loss.protocol}.{note === null ? "" : ` ${note}.`}
      </p>
      <Measures rows={rows} />
    </>
  );
}

/** Measures with their standard errors. */
function Measures({ rows }: { rows: readonly [string, number, number | null, string][] }) {
  return (
    <table style={{ maxWidth: 620 }}>
      <thead>
        <tr>
          <th>Measure</th>
          <th className="number">Value</th>
          <th className="number">± SE</th>
          <th>On</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, value, error, on]) => {
          const [v, e] = withError(value, error);
          return (
            <tr key={name}>
              <td>{name}</td>
              <td className="number">{v}</td>
              <td className="number soft">{e ?? "not estimated"}</td>
              <td className="soft">{on}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function Evaluation({ summary }: { summary: Summaries["evaluate"] }) {
  const { text, tasks } = summary;
  const rows: [string, number, number | null, string][] = [];
  if (text) {
    rows.push(["Loss, nats per token", text.nllPerToken, text.standardError, `${count(text.sequences)} sequences`]);
    rows.push(["Perplexity", text.perplexity, text.perplexity * text.standardError, "error by the delta method"]);
    if (text.basePerplexity)
      rows.push([
        "Perplexity of the base",
        text.basePerplexity,
        null,
        `${fixed(text.perplexity / text.basePerplexity, 3)} times`,
      ]);
    rows.push(["Bits per byte", text.bitsPerByte, null, ""]);
    if (text.kl) rows.push(["KL to the base", text.kl.mean, text.kl.standardError, "nats per token"]);
    if (text.agreement) rows.push(["Same top token", text.agreement.mean, text.agreement.standardError, "share"]);
  }
  if (tasks)
    rows.push([
      "Questions right",
      tasks.accuracy,
      tasks.standardError,
      `${count(tasks.correct)} of ${count(tasks.items)}`,
    ]);
  return (
    <section className="region">
      <h2>What it scored</h2>
      <p className="soft">
        {summary.protocol ?? "questions only"}. Errors are one standard error, clustered by sequence.
      </p>
      <Measures rows={rows} />
    </section>
  );
}

function Tradeoff({ run, summary }: { run: Run; summary: Summaries["tradeoff"] }) {
  return (
    <section className="region">
      <h2>{summary.winner ? `Winner: ${summary.winner}` : "No winner"}</h2>
      <p className="soft">
        {withoutFlags(summary.reason)}. {summary.protocol ?? ""}
      </p>
      <table style={{ maxWidth: 720 }}>
        <thead>
          <tr>
            <th>Model</th>
            <th className="number">MB</th>
            <th className="number">Bits</th>
            <th className="number">KL to base</th>
            <th className="number">Questions, %</th>
          </tr>
        </thead>
        <tbody>
          {[...summary.points]
            .sort((a, b) => a.sizeBytes - b.sizeBytes)
            .map((p) => {
              const [kl, error] = withError(p.kl.mean, p.kl.standardError);
              return (
                <tr key={p.model}>
                  <td className={p.model === summary.winner ? "strong" : p.onFront ? undefined : "soft"}>
                    {p.label}
                    {p.onFront ? "" : ", dominated"}
                  </td>
                  <td className="number">{fixed(p.sizeBytes / 1e6, 2)}</td>
                  <td className="number">{fixed(p.bitsPerWeight, 2)}</td>
                  <td className="number">
                    {kl} <span className="soft">{error ? `± ${error}` : ""}</span>
                  </td>
                  <td className="number">
                    {p.accuracy ? `${fixed(100 * p.accuracy.value, 1)}` : <span className="soft">not asked</span>}{" "}
                    {p.accuracy ? (
                      <span className="soft">
                        {fixed(100 * p.accuracy.interval.low, 1)} to {fixed(100 * p.accuracy.interval.high, 1)}
                      </span>
                    ) : null}
                  </td>
                </tr>
              );
            })}
        </tbody>
      </table>
      <p style={{ margin: "10px 0 0" }}>
        <Link className="button" href={`/tradeoff?run=${run.id}`}>
          Open the trade-off
        </Link>
      </p>
    </section>
  );
}

function Card({ packageId, summary }: { packageId: string | null; summary: Summaries["export"] }) {
  const { card } = summary;
  const { parity } = card;
  return (
    <section className="region">
      <h2>{card.ready ? "The package is ready" : "The package is not ready"}</h2>
      {card.reasons.map((reason) => (
        <p key={reason}>{withoutFlags(reason)}.</p>
      ))}
      {card.good ? <p className="soft">{`Good: ${card.good.reason}.`}</p> : null}
      <p className="soft">
        {card.package}: weights {bytes(weightBytesOf(card))}, {fixed(card.bitsPerWeight, 2)} bits each; package{" "}
        {bytes(card.sizeBytes)}, {fixed(card.timesSmallerThanFp16, 1)} times smaller than{" "}
        {card.good?.origin?.parameters ? card.good.origin.name : "the same weights"} in fp16. KL{" "}
        {significant(parity.meanKl)} nats per token on {count(parity.positions)} positions;{" "}
        {parity.greedyIdentical
          ? `${count(parity.greedyTokens)} greedy tokens are the same${parity.greedyTies?.length ? `, ${parity.greedyTies.length} of them a tie that fp16 cannot decide` : ""}`
          : `greedy tokens differ from number ${count((parity.greedyFirstDifference ?? 0) + 1)} on`}
        .
      </p>
      {card.notes?.length ? <p className="soft">Stored differently: {withoutFlags(card.notes.join("; "))}.</p> : null}
      {card.notChecked.length > 0 ? (
        <p className="soft">Not checked here: {withoutFlags(card.notChecked.join("; "))}.</p>
      ) : null}
      <Link className="button" href={packageId ? `/packages/${packageId}` : "/packages"}>
        Open the package
      </Link>
    </section>
  );
}
