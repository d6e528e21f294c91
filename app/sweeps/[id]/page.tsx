"use client";
/** @file A sweep: how many trials have ended, the best so far, what varies, stop and go on. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { inferRouterOutputs } from "@trpc/server";
import { useParams } from "next/navigation";
import { useMemo } from "react";
import { fieldTitle } from "../../../experiments/flags.ts";
import type { AppRouter } from "../../../server/api/router.ts";
import { useTRPC } from "../../parts/api.tsx";
import { Chart } from "../../parts/chart.tsx";
import { count } from "../../parts/format.ts";
import { Icon } from "../../parts/icons.tsx";
import { Link } from "../../parts/link.tsx";
import { ShareButton, TopBar } from "../../parts/shell.tsx";
import { ErrorNote, RunStateMark, Waiting } from "../../parts/states.tsx";
import { withError } from "../../runs/columns.ts";
import { configText, measuredValue } from "../../runs/run-row.ts";
import { reasonOf } from "../../runs/table-row.tsx";

type Axis = inferRouterOutputs<AppRouter>["sweeps"]["get"]["definition"]["axes"][string];
const isLogarithmic = (axis: Axis | undefined): boolean =>
  axis !== undefined && "scale" in axis && axis.scale === "logarithmic";

/** Four figures of a number that was drawn. */
const shortValue = (value: unknown): string =>
  typeof value === "number" ? String(Number(value.toPrecision(4))) : configText(value);

export default function SweepPage() {
  const { id } = useParams<{ id: string }>();
  const trpc = useTRPC();
  const queries = useQueryClient();
  const sweep = useQuery(trpc.sweeps.get.queryOptions({ id }));
  const trials = useQuery(trpc.runs.list.queryOptions({ sweepId: id }));
  const again = { onSuccess: () => void queries.invalidateQueries({ queryKey: [["sweeps"]] }) };
  const stop = useMutation(trpc.sweeps.stop.mutationOptions(again));
  const resume = useMutation(trpc.sweeps.resume.mutationOptions(again));
  const s = sweep.data?.sweep;
  const definition = sweep.data?.definition;
  const objective = definition?.objective ?? { number: "KL", goal: "least" as const };
  const axes = Object.keys(definition?.axes ?? {});
  const rows = useMemo(() => {
    const sign = objective.goal === "least" ? 1 : -1;
    const score = (r: NonNullable<typeof trials.data>[number]): number =>
      sign * (measuredValue(r, objective.number)?.value ?? Number.POSITIVE_INFINITY * sign);
    return [...(trials.data ?? [])].sort((a, b) => score(a) - score(b) || (a.trial ?? 0) - (b.trial ?? 0));
  }, [trials.data, objective.goal, objective.number]);
  const done = rows.filter((r) => r.state === "succeeded").length;
  const notFinished = (["failed", "cancelled", "lost"] as const).flatMap((state) => {
    const n = rows.filter((r) => r.state === state).length;
    return n > 0 ? [`${count(n)} ${state}`] : [];
  });
  const best = rows.find((r) => measuredValue(r, objective.number) !== null);
  const axis = axes.find((a) => rows.some((r) => typeof r.config[a] === "number"));
  const points = rows.flatMap((r) => {
    const y = measuredValue(r, objective.number);
    const x = axis === undefined ? undefined : r.config[axis];
    return y && typeof x === "number" ? [{ x, y, name: r.name }] : [];
  });
  const error = sweep.error ?? stop.error ?? resume.error;
  return (
    <>
      <TopBar
        title={s?.title ?? id}
        trail={[{ name: "Runs", href: "/runs" }]}
        chips={s ? <span className="chip">{s.state}</span> : null}
      >
        {s?.state === "running" ? (
          <button
            type="button"
            disabled={stop.isPending}
            onClick={() => stop.mutate({ id })}
            title="Open trials are cancelled; what they measured is kept"
          >
            <Icon name="square" /> Stop
          </button>
        ) : s?.state === "stopped" ? (
          <button type="button" disabled={resume.isPending} onClick={() => resume.mutate({ id })}>
            <Icon name="play" /> Resume
          </button>
        ) : null}
        <ShareButton />
      </TopBar>
      {error ? (
        <div className="region">
          <ErrorNote error={error} />
        </div>
      ) : null}
      {!s || !definition ? (
        sweep.error ? null : (
          <div className="region">
            <Waiting>Reading the sweep</Waiting>
          </div>
        )
      ) : (
        <>
          <section className="region">
            <h2>
              {count(done)} of {count(rows.length)} trials finished
              {notFinished.length > 0 ? <span className="soft">, {notFinished.join(", ")}</span> : null}
            </h2>
            <p className="soft" style={{ margin: 0 }}>
              {s.kind}, {definition.method === "halving" ? "successive halving" : definition.method} over{" "}
              {axes.map(fieldTitle).join(", ") || "nothing"}; best is the {objective.goal} {objective.number}.{" "}
              {best ? (
                <>
                  So far <Link href={`/runs/${best.id}`}>{best.name}</Link>.
                </>
              ) : (
                `No trial has a number called ${objective.number} yet.`
              )}{" "}
              <Link href={`/runs?q=${encodeURIComponent(`sweep:${id}`)}`}>All in the table of runs</Link>
            </p>
          </section>
          {points.length > 1 && axis !== undefined ? (
            <section className="region">
              <Chart
                title={`${objective.number} by ${fieldTitle(axis).toLowerCase()}`}
                sentence={`${points.length} trials that ended; bars are one standard error where it is known.`}
                series={[
                  {
                    name: objective.number,
                    x: points.map((p) => p.x),
                    y: points.map((p) => p.y.value),
                    labels: points.map((p) => p.name),
                    kind: "points",
                    style: "ink",
                    error: {
                      low: points.map((p) => p.y.value - (p.y.error ?? 0)),
                      high: points.map((p) => p.y.value + (p.y.error ?? 0)),
                    },
                  },
                ]}
                x={{ title: fieldTitle(axis), logarithmic: isLogarithmic(definition.axes[axis]) }}
                y={{ title: objective.number }}
                height={260}
              />
            </section>
          ) : null}
          <section className="region scrolls">
            <h2>Trials, the best first</h2>
            <table>
              <thead>
                <tr>
                  <th>Trial</th>
                  <th>State</th>
                  {axes.map((a) => (
                    <th key={a} className="number">
                      {fieldTitle(a)}
                    </th>
                  ))}
                  {definition.budget ? <th className="number">{fieldTitle(definition.budget.field)}</th> : null}
                  <th className="number">{objective.number}</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((r) => {
                  const v = measuredValue(r, objective.number);
                  const [text, se] = v ? withError(v.value, v.error) : ["–", null];
                  return (
                    <tr key={r.id}>
                      <td>
                        <Link className={r.id === best?.id ? "plain strong" : "plain"} href={`/runs/${r.id}`}>
                          {r.name}
                        </Link>{" "}
                        <span className="soft">{reasonOf(r)}</span>
                      </td>
                      <td>
                        <RunStateMark state={r.state} />
                      </td>
                      {axes.map((a) => (
                        <td key={a} className="number">
                          {shortValue(r.config[a])}
                        </td>
                      ))}
                      {definition.budget ? (
                        <td className="number">{configText(r.config[definition.budget.field])}</td>
                      ) : null}
                      <td className="number">
                        {text} {se ? <span className="soft">± {se}</span> : null}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </section>
        </>
      )}
    </>
  );
}
