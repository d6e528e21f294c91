"use client";
/** @file What a head is worth by every metric that was measured: value, interval among all heads, rank, and the run it is from. */
import type { SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { isNoise } from "../../lib/stats/noise.ts";
import { studentQuantile } from "../../lib/stats/student-t.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { short } from "../explore/grid-cells.tsx";
import { measured, metricName, rankOf, scaleOf, targetsOf } from "../explore/unit-worth.ts";
import { fixed } from "../parts/format.ts";
import { Link } from "../parts/link.tsx";
import { IntervalGlyph } from "../parts/measured.tsx";

export interface WorthTableProps {
  readonly model: string;
  readonly unit: string;
  readonly importance: readonly Importance[];
  readonly metrics: readonly SensitivityMetric[];
  /** The text that was chosen. */
  readonly text: string | null;
}

export function WorthTable({ model, unit, importance, metrics, text }: WorthTableProps) {
  const rows = metrics.flatMap((metric) =>
    targetsOf(metric).flatMap((target) => {
      const { worth, source } = measured(importance, metric, "heads", target);
      const own = worth.get(unit);
      if (!own || !source) return [];
      const scale = scaleOf(worth, metric, target);
      const values = [...worth.values()].map((w) => w.value);
      const half = source.sequences > 1 ? studentQuantile(source.sequences - 1) * own.standardError : 0;
      const domain: [number, number] = [Math.min(...values, own.value - half), Math.max(...values, own.value + half)];
      return [{ metric, target, own, source, scale, half, domain, rank: rankOf(worth, unit), of: worth.size }];
    }),
  );
  return (
    <section>
      <h2>What it is worth</h2>
      {rows.length === 0 ? (
        <p className="soft">
          Not measured{text === null ? "" : ` on ${text}`} yet.{" "}
          <Link href={`/new?kind=sensitivity&model=${encodeURIComponent(model)}`}>Measure its heads</Link>
        </p>
      ) : (
        <section className="head-scroll" aria-label="What it is worth by every metric" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>Metric</th>
                <th className="number">value</th>
                <th className="number">95 %</th>
                <th>among all heads</th>
                <th className="number">rank</th>
                <th>from</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ metric, target, own, source, scale, half, domain, rank, of }) => (
                <tr key={`${metric} ${target}`}>
                  <td>
                    <Link
                      href={`/explore?model=${encodeURIComponent(model)}&metric=${metric}&target=${target}&at=${unit}`}
                    >
                      {metricName(metric)}
                      {targetsOf(metric).length > 1 ? (target === "loss" ? ", change of loss" : ", size") : ""}
                    </Link>
                    <br />
                    <span className="soft small">{scale.unit}</span>
                  </td>
                  <td className="number">
                    <strong>{short(own.value, scale)}</strong>
                    {own.isEstimate ? <span className="soft small"> by Taylor</span> : null}
                  </td>
                  <td className="number soft-2">
                    ± {fixed(half * scale.times, 1)}
                    {scale.isSigned && isNoise(own) ? <span className="soft small"> noise</span> : null}
                  </td>
                  <td>
                    <IntervalGlyph
                      value={own.value}
                      low={own.value - half}
                      high={own.value + half}
                      domain={domain}
                      width={88}
                    />
                  </td>
                  <td className="number">
                    {rank} <span className="soft">of {of}</span>
                  </td>
                  <td>
                    <Link href={`/runs/${source.runId}`} title={source.protocol}>
                      {source.sequences} sequences
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
