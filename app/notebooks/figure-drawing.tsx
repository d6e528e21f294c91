"use client";
/** @file What a figure of a notebook draws, live or frozen: a map of heads, curves, a trade-off, numbers side by side. */
import { cellStyle, divergingColour } from "../../experiments/figures/colour-scales.ts";
import { type FigureData, type FigureOf, figureTable } from "../../experiments/figures/figure.ts";
import { headFigure } from "../../experiments/figures/head-figure.ts";
import { tradeoffFigure } from "../../experiments/figures/tradeoff-figure.ts";
import { isNoise } from "../../lib/stats/noise.ts";
import { Chart, type Series } from "../parts/chart.tsx";
import { Figure, TableView } from "../parts/figure.tsx";
import { bytes, fixed, signed } from "../parts/format.ts";

export function FigureDrawing({ data, caption }: { data: FigureData; caption: string }) {
  if (data.figure === "importance") return <Importance data={data} caption={caption} />;
  if (data.figure === "tradeoff") return <Tradeoff data={data} caption={caption} />;
  if (data.figure === "numbers") return <TableView caption={caption || "Numbers"} table={figureTable(data)} />;
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

export function Importance({ data, caption }: { data: FigureOf<"importance">; caption: string }) {
  const { metric, grid, largest: max, heads, noise } = headFigure(data);
  const largest = heads.slice(0, 12);
  const domain = Math.max(...largest.map((u) => u.value + 2 * u.standardError), 1e-9);
  const x = (v: number): number => 64 + (Math.max(0, v) / domain) * 180;
  const rowHeight = 16;
  if (metric === null) return <TableView caption={caption || "What each unit is worth"} table={figureTable(data)} />;
  return (
    <Figure
      level={3}
      title={caption || "What each head is worth"}
      sentence={`${metric === "leave-one-out" ? "Change in loss when one head is zeroed, 10⁻³ nats per token" : `By ${metric}, × 10⁻³`}; bars are 95 % intervals over ${data.sequences} sequences. ${noise} of ${heads.length} are within noise.`}
      table={() => figureTable(data)}
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
                        {cell && isNoise(cell) ? <i aria-hidden="true" /> : null}
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

function Tradeoff({ data, caption }: { data: FigureOf<"tradeoff">; caption: string }) {
  const { measure, title, points, front, winner } = tradeoffFigure(data);
  const scale = measure === "accuracy" ? 100 : 1;
  const of = (name: string, some: typeof points, style: Series["style"], hollow: boolean): Series => ({
    name,
    x: some.map((p) => p.sizeBytes / 1e6),
    y: some.map((p) => p.value * scale),
    kind: "points",
    style,
    hollow,
    labels: some.map((p) => p.label),
    showLabels: true,
    error: { low: some.map((p) => p.low * scale), high: some.map((p) => p.high * scale) },
  });
  return (
    <Chart
      level={3}
      title={caption || "Accuracy against size"}
      sentence={`${title}, on ${data.protocol ?? "its questions"}; bars are 95 % intervals.${winner ? ` The winner, ${winner.label}, has ${bytes(winner.sizeBytes)}.` : ""}`}
      height={320}
      x={{ title: "Weights, MB", logarithmic: true }}
      y={{ title, logarithmic: measure === "kl" }}
      series={[
        {
          name: "front",
          x: front.map((p) => p.sizeBytes / 1e6),
          y: front.map((p) => p.value * scale),
          kind: "staircase",
          style: "ink",
        },
        of("undominated", front, "ink", false),
        of(
          "dominated",
          points.filter((p) => !p.onFront),
          "reference",
          true,
        ),
      ]}
    />
  );
}
