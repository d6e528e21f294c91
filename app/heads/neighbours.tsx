"use client";
/** @file A head beside those of its layer and of the layers around it, coloured by what they are worth. */
import { cellStyle, divergingColour } from "../../experiments/figures/colour-scales.ts";
import type { SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { isNoise } from "../../lib/stats/noise.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { short, spokenCell } from "../explore/grid-cells.tsx";
import { type Anatomy, unitGrid } from "../explore/grid-units.ts";
import { measured, metricName, scaleOf, targetsOf, type Worth } from "../explore/unit-worth.ts";
import { KeyLabels } from "../parts/controls.tsx";
import { Link } from "../parts/link.tsx";

export interface NeighboursProps {
  readonly anatomy: Anatomy;
  readonly layer: number;
  readonly head: number;
  readonly importance: readonly Importance[];
  readonly metric: SensitivityMetric | null;
  readonly addressOf: (unit: string) => string;
}

/** Layers shown on each side. */
const AROUND = 2;
const nothing: Worth = new Map();
/** Heads of a layer up to which a cell has room for its number. */
const MOST_NUMBERED = 12;

export function Neighbours({ anatomy, layer, head, importance, metric, addressOf }: NeighboursProps) {
  const target = (metric && targetsOf(metric)[0]) ?? "loss";
  const worth = metric ? measured(importance, metric, "heads", target).worth : nothing;
  const scale = scaleOf(worth, metric ?? "leave-one-out", target);
  const max = Math.max(1e-12, ...[...worth.values()].map((w) => Math.abs(w.value)));
  const rows = unitGrid(anatomy, "heads").rows.slice(Math.max(0, layer - AROUND), layer + AROUND + 1);
  const columns = Math.max(1, ...rows.map((r) => r.length));
  return (
    <nav aria-label="Heads around it">
      <h2>Beside its neighbours</h2>
      <p className="soft small">
        {metric ? `${metricName(metric)}, ${scale.unit}` : "Nothing was measured of them yet"}
      </p>
      <div className="head-neighbours" style={{ gridTemplateColumns: `34px repeat(${columns}, minmax(0, 56px))` }}>
        {rows.map((row) => (
          <div key={row[0]?.layer} style={{ display: "contents" }}>
            <span className="soft small" style={{ gridColumnStart: 1 }}>
              L{row[0]?.layer}
            </span>
            {row.map((u) => {
              const own = worth.get(u.unit);
              const noise = own !== undefined && scale.isSigned && isNoise(own);
              const shade = own
                ? cellStyle((theme) => divergingColour(noise ? 0 : own.value, max, theme))
                : { background: "var(--sunken)", color: "var(--ink)" };
              const spoken = spokenCell(u, own, scale, { dropped: false, measuring: false, stale: false });
              return (
                <Link
                  key={u.unit}
                  href={addressOf(u.unit)}
                  style={shade}
                  aria-label={spoken.replace(/, kept$/, "")}
                  aria-current={u.layer === layer && u.column === head ? "page" : undefined}
                  title={`${u.unit}${own ? ` ${short(own.value, scale)}` : ""}`}
                >
                  {columns > MOST_NUMBERED ? "" : own ? short(own.value, scale) : `H${u.column}`}
                </Link>
              );
            })}
          </div>
        ))}
      </div>
      <div className="explore-keys" aria-hidden="true">
        <span>
          <KeyLabels keys="J" />
          <KeyLabels keys="K" /> along the layer
        </span>
        <span>
          <KeyLabels keys="[" />
          <KeyLabels keys="]" /> across layers
        </span>
        <span>
          <KeyLabels keys="E" /> Explore
        </span>
      </div>
    </nav>
  );
}
