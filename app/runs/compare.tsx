"use client";
/** @file Picked runs side by side: only what differs, or everything; whether they differ beyond chance. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useMemo, useState } from "react";
import { fieldTitle } from "../../experiments/flags.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton, KeyLabels } from "../parts/controls.tsx";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { significant, withError } from "./columns.ts";
import { comparedFields } from "./differences.ts";
import type { RunGroup } from "./groups.ts";
import { inUnit, type RunNames } from "./run-row.ts";
import { SeriesKey } from "./series-key.tsx";

/** Columns that fit beside each other. */
const MOST = 6;

export function Compare(props: { groups: readonly RunGroup[]; names: RunNames; value: string; clear: () => void }) {
  const { groups, names, value, clear } = props;
  const [onlyDifferences, setOnlyDifferences] = useState(true);
  const shown = groups.slice(0, MOST);
  const all = useMemo(() => comparedFields(shown, names), [shown, names]);
  const fields = all.filter((f) => shown.length < 2 || !onlyDifferences || f.differs);
  const first = shown[0]?.runs[0];
  return (
    <div className="runs-compare">
      <div className="runs-compare-head">
        <h2 id="compare" tabIndex={-1}>
          Compare {groups.length}
        </h2>
        <label className="switch">
          <input
            type="checkbox"
            role="switch"
            aria-checked={onlyDifferences}
            checked={onlyDifferences}
            onChange={(e) => setOnlyDifferences(e.target.checked)}
          />
          Only differences
        </label>
        <span className="soft small" style={{ marginLeft: "auto" }}>
          {fields.length} of {all.length} fields
        </span>
        <IconButton icon="cross" label="Clear the picked runs" onClick={clear} />
      </div>
      <div className="runs-compare-body" role="region" tabIndex={0} aria-label="Comparison">
        <table>
          <thead>
            <tr>
              <th>
                <span className="visually-hidden">Field</span>
              </th>
              {shown.map((g, i) => (
                <th key={g.key} className="number" title={g.name}>
                  <SeriesKey index={i} />
                  <span className="runs-compare-name">{g.name}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {fields.map((f) => (
              <tr key={`${f.part} ${f.name}`}>
                <th scope="row">
                  {f.name === "KL"
                    ? "KL to base"
                    : f.part === "config"
                      ? fieldTitle(f.name)
                      : f.name.charAt(0).toUpperCase() + f.name.slice(1)}
                </th>
                {f.values.map((v, i) => {
                  const isOdd = i > 0 && v !== f.values[0];
                  const interval = f.intervals[i];
                  const half = interval && typeof v === "number" ? v - interval[0] : null;
                  const unit = typeof v === "number" && f.part === "numbers" ? inUnit(f.name, v) : null;
                  const [text, error] =
                    unit !== null ? [unit, null] : typeof v === "number" ? withError(v, half) : [v ?? "–", null];
                  return (
                    <td
                      key={shown[i]?.key}
                      className={isOdd ? "number strong" : "number"}
                      title={typeof v === "number" ? significant(v) : (v ?? "has none")}
                    >
                      <span className="cut">{text}</span>
                      {error !== null ? <span className="soft"> ± {error}</span> : null}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
        {fields.length === 0 ? <p className="soft">No recorded field differs between them.</p> : null}
        {groups.length > MOST ? (
          <p className="soft">
            The first {MOST} of {groups.length} picked runs are compared.
          </p>
        ) : null}
        <Paired groups={shown} />
      </div>
      <div className="runs-compare-foot">
        {first ? (
          <Link className="button" href={`/new?clone=${first.id}`}>
            Clone first
          </Link>
        ) : null}
        <ToNotebook groups={groups} value={value} />
        <span className="soft small row" style={{ marginLeft: "auto", gap: 5 }}>
          <KeyLabels keys="X" /> select <KeyLabels keys="C" /> compare
        </span>
      </div>
    </div>
  );
}

/** Paired tests need sequences that both were measured on. */
function Paired({ groups }: { groups: readonly RunGroup[] }) {
  const trpc = useTRPC();
  const ids = groups.flatMap((g) => g.runs[0]?.id ?? []);
  const tests = useQuery(trpc.runs.paired.queryOptions({ ids }, { enabled: ids.length > 1, staleTime: 60_000 }));
  if (ids.length < 2 || !tests.data) return null;
  const ordinal = ["first", "second", "third", "fourth", "fifth", "sixth"];
  if (tests.data.length === 0)
    return <p className="soft">No paired test: no two of these runs were measured on the same sequences.</p>;
  return (
    <>
      {tests.data.map((t) => {
        const isNoise = t.p >= 0.05;
        const [mean, error] = withError(Math.abs(t.mean), t.standardError);
        return (
          <p key={t.runId} className={isNoise ? "soft" : undefined} style={{ margin: "10px 0 0" }}>
            {t.measure === "KL" ? "KL" : "Loss"} of the {ordinal[ids.indexOf(t.runId)]} against the first:{" "}
            {isNoise
              ? "no difference"
              : `${mean} ± ${error ?? "unknown"} nats per token ${t.mean > 0 ? "higher" : "lower"}`}
            , paired p {t.p < 0.001 ? "< 0.001" : t.p.toFixed(t.p < 0.1 ? 3 : 2)} on {t.sequences} sequences.
          </p>
        );
      })}
    </>
  );
}

/** A new notebook with these runs side by side; their curves too when they have any. */
function ToNotebook({ groups, value }: { groups: readonly RunGroup[]; value: string }) {
  const trpc = useTRPC();
  const router = useRouter();
  const create = useMutation(
    trpc.notebooks.create.mutationOptions({ onSuccess: (n) => router.push(`/notebooks/${n.id}`) }),
  );
  const runs = groups.flatMap((g) => g.runs).slice(0, 50);
  const kinds = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const drawsCurves = (r: RunGroup["runs"][number]): boolean =>
    kinds.data?.find((k) => k.kind === r.kind)?.figure === "curves";
  const withCurves = runs.filter((r) => drawsCurves(r) && r.state !== "queued");
  return (
    <>
      <button
        type="button"
        disabled={create.isPending || runs.length === 0}
        onClick={() =>
          create.mutate({
            title: `Comparison of ${runs.length} runs`,
            cells: [
              {
                id: "question",
                type: "markdown",
                text: `# Comparison of ${runs.length} runs\n\nBy ${value}: ${groups.map((g) => g.name).join("; ")}.`,
              },
              { id: "comparison", type: "comparison", runs: runs.map((r) => r.id) },
              ...(withCurves.length > 0
                ? [
                    {
                      id: "curves",
                      type: "figure" as const,
                      figure: "curves" as const,
                      runs: withCurves.map((r) => r.id),
                      caption: "",
                      frozen: null,
                    },
                  ]
                : []),
            ],
          })
        }
      >
        <Icon name="notebook" /> To notebook
      </button>
      {create.error ? <ErrorNote error={create.error} /> : null}
    </>
  );
}
