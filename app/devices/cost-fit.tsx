"use client";
/** @file The cost model refitted to what phones of a chip measured: residuals before and after, parameters beside the published ones. */
import { useMutation } from "@tanstack/react-query";
import type { inferRouterOutputs } from "@trpc/server";
import type { CostParameters } from "../../lib/cost/model.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import type { AppRouter } from "../../server/api/router.ts";
import { useTRPC } from "../parts/api.tsx";
import { Chart } from "../parts/chart.tsx";
import { fixed, moment, plain } from "../parts/format.ts";
import { Empty, ErrorNote } from "../parts/states.tsx";
import { parameterWords } from "./parameter-words.ts";

type ChipState = inferRouterOutputs<AppRouter>["devices"]["chips"][number];

export function CostFit({ chips, error }: { chips: readonly ChipState[] | null; error: unknown }) {
  return (
    <section className="region" aria-labelledby="devices-fit" style={{ borderBottom: 0 }}>
      <h2 id="devices-fit">The cost model</h2>
      <p className="soft">
        Modelled figures rest on published measurements of a few phones. A refit adjusts the parameters to the reports
        of phones with one chip, and leaves alone the parameters that the reports say nothing about. From then on every
        modelled figure of that chip uses the fitted parameters. Cards of earlier exports stay as they are.
      </p>
      {error ? <ErrorNote error={error} /> : null}
      {chips?.length === 0 ? (
        <Empty title="No reports to fit to">
          No phone with a chip that the cost model knows has sent a report. Simulated phones do not count: their times
          come from this machine.
        </Empty>
      ) : null}
      {chips?.map((c) => (
        <Chip key={c.chip} state={c} />
      ))}
    </section>
  );
}

function Chip({ state }: { state: ChipState }) {
  const trpc = useTRPC();
  const refit = useMutation(trpc.devices.refit.mutationOptions());
  const forget = useMutation(trpc.devices.forget.mutationOptions());
  const { chip, name, calls, reports, unused, fit, isBehind } = state;
  return (
    <div className="device-chip">
      <div className="row">
        <h3>{name}</h3>
        <span className="soft">
          {fit
            ? `fitted to ${fit.points.length} calls ${moment(fit.fittedAt)}${isBehind ? ", reports have changed since" : ""}`
            : "published parameters"}
          {calls > 0 ? `; ${calls} measured calls in ${reports} ${reports === 1 ? "report" : "reports"}` : ""}
        </span>
        <span className="end row">
          {fit ? (
            <button type="button" className="quiet" disabled={forget.isPending} onClick={() => forget.mutate({ chip })}>
              Use the published parameters
            </button>
          ) : null}
          <button
            type="button"
            disabled={calls === 0 || refit.isPending}
            title={calls === 0 ? "no usable report of this chip" : undefined}
            onClick={() => refit.mutate({ chip })}
          >
            {refit.isPending ? "Fitting" : fit ? "Refit" : `Refit to ${calls} calls`}
          </button>
        </span>
      </div>
      {unused.length > 0 ? (
        <p className="soft small">Not counted: {unused.map((u) => `${u.reportId} (${u.why})`).join(", ")}.</p>
      ) : null}
      {(refit.error ?? forget.error) ? <ErrorNote error={refit.error ?? forget.error} /> : null}
      {fit ? <Fit fit={fit} name={name} /> : null}
    </div>
  );
}

function Fit({ fit, name }: { fit: NonNullable<ChipState["fit"]>; name: string }) {
  const labels = fit.points.map((p) => `${p.package.name} ${p.function}`);
  const measured = fit.points.map((p) => p.measuredMs);
  const all = [...measured, ...fit.points.flatMap((p) => [p.publishedMs, p.fittedMs])];
  const [low, high] = [Math.min(...all) * 0.8, Math.max(...all) * 1.25];
  const isWide = high > 10 * low;
  const moved = (Object.keys(publishedParameters) as (keyof CostParameters)[]).map((key) => ({
    key,
    published: publishedParameters[key],
    fitted: fit.parameters[key],
    times: fit.parameters[key] / publishedParameters[key],
  }));
  const isMoved = (times: number): boolean => Math.abs(times - 1) >= 0.005;
  const kept = moved.filter((m) => !isMoved(m.times));
  return (
    <div className="device-fit">
      <Chart
        title={`Modelled against measured, ${name}`}
        sentence={`Milliseconds per call. Half of the calls lie within ×${fixed(fit.publishedFactor, 2)} of the published model, and within ×${fixed(fit.factor, 2)} of the fitted one. Points on the line agree.`}
        level={3}
        height={280}
        series={[
          { name: "agree", kind: "line", style: "reference", x: [low, high], y: [low, high] },
          {
            name: "published",
            kind: "points",
            style: "reference",
            hollow: true,
            x: measured,
            y: fit.points.map((p) => p.publishedMs),
            labels,
          },
          { name: "fitted", kind: "points", style: 0, x: measured, y: fit.points.map((p) => p.fittedMs), labels },
        ]}
        legend
        x={{ title: "measured, ms", logarithmic: isWide, range: [low, high] }}
        y={{ title: "modelled, ms", logarithmic: isWide, range: [low, high] }}
      />
      <div className="scrolls">
        <table>
          <thead>
            <tr>
              <th>Parameter</th>
              <th className="number">Published</th>
              <th className="number">Fitted</th>
              <th className="number">Moved</th>
            </tr>
          </thead>
          <tbody>
            {moved
              .filter((m) => isMoved(m.times))
              .map((m) => (
                <tr key={m.key}>
                  <td>{parameterWords[m.key]}</td>
                  <td className="number soft-2">{plain(m.published)}</td>
                  <td className="number">{plain(m.fitted)}</td>
                  <td className="number">×{fixed(m.times, 2)}</td>
                </tr>
              ))}
          </tbody>
        </table>
        {kept.length > 0 ? (
          <p className="soft small" style={{ marginTop: 8 }}>
            Kept as published, because these calls hardly depend on them:{" "}
            {kept.map((m) => parameterWords[m.key]).join("; ")}.
          </p>
        ) : null}
      </div>
    </div>
  );
}
