"use client";
/** @file What a figure of a notebook draws, live or frozen: a map of heads, curves, a trade-off, numbers side by side. */
import type { inferRouterOutputs } from "@trpc/server";
import { cellStyle, divergingColour } from "../../experiments/studies/colour-scales.ts";
import { headGrid } from "../../experiments/studies/head-grid.ts";
import { findUnit } from "../../lib/units.ts";
import type { AppRouter } from "../../server/api/router.ts";
import { Chart, type Series } from "../parts/chart.tsx";
import { Figure, TableView } from "../parts/figure.tsx";
import { bytes, fixed, signed } from "../parts/format.ts";

export type FigureData = inferRouterOutputs<AppRouter>["notebooks"]["figure"];

export function FigureDrawing({ data, caption }: { data: FigureData; caption: string }) {
  if (data.figure === "importance") return <Importance data={data} caption={caption} />;
  if (data.figure === "tradeoff") return <Tradeoff data={data} caption={caption} />;
  if (data.figure === "numbers")
    return (
      <TableView
        caption={caption || "Numbers"}
        table={{ columns: ["run", ...data.columns], rows: data.rows.map((r) => [r.name, ...r.numbers]) }}
      />
    );
  return (
    <>
      {data.series.flatMap((s) =>
        s.curves.map((c) => (
          <Chart
            key={`${s.runId} ${c.name}`}
            level={3}
            title={`${s.name}: ${c.name}`}
            sentence={`${c.count} points; the darker line is a debiased moving average.`}
            height={220}
            x={{ title: "Step" }}
            y={{ title: c.name }}
            series={[
              { name: "raw", x: c.steps, y: c.values, kind: "line", style: 0, faint: true },
              { name: c.name, x: c.steps, y: c.smoothed, kind: "line", style: 0 },
            ]}
          />
        )),
      )}
    </>
  );
}

type Of<K extends FigureData["figure"]> = Extract<FigureData, { figure: K }>;

export function Importance({ data, caption }: { data: Of<"importance">; caption: string }) {
  const grid = headGrid({ units: data.units }, "leave-one-out");
  const known = data.units.filter((u) => u.metric === "leave-one-out" && findUnit(u.unit)?.kind === "heads");
  const max = Math.max(1e-9, ...known.map((u) => Math.abs(u.value)));
  const largest = known.toSorted((a, b) => b.value - a.value).slice(0, 12);
  const noise = known.filter((u) => Math.abs(u.value) < 2 * u.standardError).length;
  const domain = Math.max(...largest.map((u) => u.value + 2 * u.standardError), 1e-9);
  const x = (v: number): number => 64 + (Math.max(0, v) / domain) * 180;
  const rowHeight = 16;
  return (
    <Figure
      level={3}
      title={caption || "What each head is worth"}
      sentence={`Change in loss when one head is zeroed, 10⁻³ nats per token; bars are 95 % intervals over ${data.sequences} sequences. ${noise} of ${known.length} are within noise.`}
      table={() => ({
        columns: ["unit", "metric", "10⁻³ nats per token", "standard error"],
        rows: data.units.map((u) => [u.unit, u.metric, u.value * 1000, u.standardError * 1000]),
      })}
    >
      <div className="notebook-importance">
        <table className="notebook-heads">
          <tbody>
            {grid.toReversed().map((row, i) => {
              const layer = grid.length - 1 - i;
              return (
                <tr key={layer}>
                  <th scope="row">L{layer}</th>
                  {row.map((cell, head) => {
                    const unit = `L${layer}.H${head}`;
                    const [value, error] = [cell?.value ?? null, cell?.standardError ?? 0];
                    return (
                      <td
                        key={unit}
                        title={`${unit} ${value === null ? "not measured" : `${signed(value * 1000, 1)} ± ${fixed(error * 1000, 1)}`}`}
                        style={value === null ? undefined : cellStyle((theme) => divergingColour(value, max, theme))}
                      >
                        <span className="visually-hidden">{value === null ? "none" : signed(value * 1000, 1)}</span>
                        {value !== null && Math.abs(value) < 2 * error ? <i aria-hidden="true" /> : null}
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
        <svg data-drawing width={264} height={largest.length * rowHeight + 30} role="img">
          <title>The largest effects with intervals</title>
          <text x={64} y={11}>
            largest, 95 % interval
          </text>
          {[0, domain / 2].map((t) => (
            <g key={t}>
              <path d={`M${x(t)} 18V${largest.length * rowHeight + 16}`} stroke="var(--line)" />
              <text x={x(t)} y={largest.length * rowHeight + 28} textAnchor="middle">
                {signed(t * 1000, 0)}
              </text>
            </g>
          ))}
          {largest.map((u, i) => {
            const y = 26 + i * rowHeight;
            return (
              <g key={u.unit}>
                <text x={56} y={y + 4} textAnchor="end">
                  {u.unit}
                </text>
                <path
                  d={`M${x(u.value - 1.96 * u.standardError)} ${y}H${x(u.value + 1.96 * u.standardError)}`}
                  stroke="var(--ink)"
                  strokeWidth={1.5}
                />
                <circle cx={x(u.value)} cy={y} r={3.2} fill="var(--ink)" />
              </g>
            );
          })}
        </svg>
      </div>
    </Figure>
  );
}

function Tradeoff({ data, caption }: { data: Of<"tradeoff">; caption: string }) {
  const points = data.points.toSorted((a, b) => a.sizeBytes - b.sizeBytes);
  const drawn = points.filter((p) => p.kl.mean > 0);
  const front = drawn.filter((p, i) => drawn.slice(0, i).every((q) => q.kl.mean > p.kl.mean));
  const of = (name: string, some: typeof drawn, style: Series["style"], hollow: boolean): Series => ({
    name,
    x: some.map((p) => p.sizeBytes / 1e6),
    y: some.map((p) => p.kl.mean),
    kind: "points",
    style,
    hollow,
    labels: some.map((p) => p.label),
    showLabels: true,
    error: {
      low: some.map((p) => Math.max(1e-9, p.kl.mean - 1.96 * p.kl.standardError)),
      high: some.map((p) => p.kl.mean + 1.96 * p.kl.standardError),
    },
  });
  const winner = points.find((p) => p.model === data.winner);
  return (
    <Chart
      level={3}
      title={caption || "Accuracy against size"}
      sentence={`KL to the base on ${data.protocol ?? "its text"}; bars are 95 % intervals.${winner ? ` The winner, ${winner.label}, has ${bytes(winner.sizeBytes)}.` : ""}`}
      height={320}
      x={{ title: "Weights as stored, MB", logarithmic: true }}
      y={{ title: "KL to base, nats per token", logarithmic: true }}
      series={[
        {
          name: "front",
          x: front.map((p) => p.sizeBytes / 1e6),
          y: front.map((p) => p.kl.mean),
          kind: "staircase",
          style: "ink",
        },
        of("undominated", front, "ink", false),
        of(
          "dominated",
          drawn.filter((p) => !front.includes(p)),
          "reference",
          true,
        ),
      ]}
    />
  );
}
