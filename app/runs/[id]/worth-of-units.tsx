"use client";
/** @file What a sensitivity run found: a map of heads, tensors by width, or a table of any other units, dearest first. */
import { cellStyle, costColour, divergingColour } from "../../../experiments/figures/colour-scales.ts";
import { headFigure } from "../../../experiments/figures/head-figure.ts";
import type { Summaries } from "../../../experiments/registry.ts";
import { count, fixed, small } from "../../parts/format.ts";
import { Link } from "../../parts/link.tsx";
import { showWidth } from "../../quantize/width-map-model.ts";
import { withError } from "../columns.ts";
import { dearestUnits, type Run } from "./run-facts.ts";

type Summary = Summaries["sensitivity"];

const exploreHref = ({ config }: Run): string => {
  const model = String(config.model);
  return `/explore${model.startsWith("run:") ? "" : `?model=${encodeURIComponent(model)}`}`;
};

export function WorthOfUnits({ run, summary }: { run: Run; summary: Summary }) {
  const hasHeads = summary.units.some((u) => /\.H\d+$/.test(u.unit));
  return (
    <>
      {hasHeads ? <HeadMap run={run} summary={summary} /> : null}
      {summary.tensors ? <Tensors run={run} summary={summary} tensors={summary.tensors} /> : null}
      {!hasHeads && summary.units.length > 0 ? <Units run={run} summary={summary} /> : null}
    </>
  );
}

function Tensors(props: { run: Run; summary: Summary; tensors: NonNullable<Summary["tensors"]> }) {
  const { run, summary, tensors } = props;
  const rows = tensors.widths.map((width) => {
    const cells = tensors.cells.filter((c) => c.width === width);
    const dearest = [...cells].sort((a, b) => b.kl.mean - a.kl.mean)[0];
    return { width, cells, dearest, sum: cells.reduce((n, c) => n + c.kl.mean, 0) };
  });
  return (
    <section className="region">
      <h2>What each tensor loses at each width</h2>
      <p className="soft">
        KL to the model in nats per token, one tensor at a time; {count(tensors.columns.length)} tensors,{" "}
        {count(summary.sequences)} sequences; {summary.protocol}.
      </p>
      <table style={{ maxWidth: 620 }}>
        <thead>
          <tr>
            <th scope="col">Width</th>
            <th scope="col" className="number">
              measured
            </th>
            <th scope="col" className="number">
              sum of KL
            </th>
            <th scope="col">dearest tensor</th>
            <th scope="col" className="number">
              its KL
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ width, cells, dearest, sum }) => (
            <tr key={width}>
              <th scope="row">{showWidth(width)}</th>
              <td className="number">{count(cells.length)}</td>
              <td className="number">{small(sum, 3)}</td>
              <td>{dearest?.tensor ?? "–"}</td>
              <td className="number">
                {dearest ? withError(dearest.kl.mean, dearest.kl.standardError).join(" ± ") : "–"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p style={{ margin: "10px 0 0" }}>
        <Link className="button" href={`/quantize?run=${run.id}`}>
          Open the map of tensors
        </Link>
      </p>
    </section>
  );
}

/** Units a page shows; Explore has all of them. */
const UNITS_SHOWN = 12;

function Units({ run, summary }: { run: Run; summary: Summary }) {
  const { metric, units } = dearestUnits(summary.units, UNITS_SHOWN);
  const all = summary.units.filter((u) => u.metric === metric).length;
  return (
    <section className="region">
      <h2>What each unit is worth</h2>
      <p className="soft">
        By {metric}, the dearest {count(units.length)} of {count(all)}; {count(summary.sequences)} sequences;{" "}
        {summary.protocol}.
      </p>
      <table style={{ maxWidth: 420 }}>
        <thead>
          <tr>
            <th scope="col">Unit</th>
            <th scope="col" className="number">
              {metric === "leave-one-out" ? "change of loss, nats per token" : metric}
            </th>
          </tr>
        </thead>
        <tbody>
          {units.map((u) => (
            <tr key={u.unit}>
              <th scope="row">{u.unit}</th>
              <td className="number">{withError(u.value, u.standardError).join(" ± ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p style={{ margin: "10px 0 0" }}>
        <Link className="button" href={exploreHref(run)}>
          Explore the model
        </Link>
      </p>
    </section>
  );
}

function HeadMap({ run, summary }: { run: Run; summary: Summaries["sensitivity"] }) {
  const { metric, grid, largest: max, heads } = headFigure(summary);
  const low = Math.max(Math.min(...heads.map((h) => h.value).filter((v) => v > 0)), max / 1e4);
  return (
    <section className="region">
      <h2>What each head is worth</h2>
      <p className="soft">
        {metric === "leave-one-out" ? "Change of loss, 10⁻³ nats per token" : `By ${metric}, × 10⁻³`},{" "}
        {count(summary.sequences)} sequences; {summary.protocol}.
        {summary.agreement
          ? ` Taylor ranks heads like leave-one-out with ρ ${fixed(summary.agreement.spearman, 2)}; noise alone would allow ${fixed(summary.agreement.noiseCeiling, 2)}.`
          : ""}
      </p>
      <table className="run-heads">
        <thead>
          <tr>
            <th scope="col">
              <span className="visually-hidden">Layer</span>
            </th>
            {(grid[0] ?? []).map((_, h) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a head is its place
              <th key={h} scope="col" className="number">
                H{h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {grid.map((row, l) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a layer is its place
            <tr key={l}>
              <th scope="row">L{l}</th>
              {row.map((c, h) => (
                <td
                  // biome-ignore lint/suspicious/noArrayIndexKey: a head is its place
                  key={h}
                  className="number"
                  title={c ? `± ${fixed(1000 * c.standardError, 2)}` : undefined}
                  style={
                    c
                      ? cellStyle((theme) =>
                          metric === "leave-one-out"
                            ? divergingColour(c.value, max, theme)
                            : costColour(c.value, low, max, theme),
                        )
                      : undefined
                  }
                >
                  {c ? fixed(1000 * c.value, 1) : ""}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <p style={{ margin: "10px 0 0" }}>
        <Link className="button" href={exploreHref(run)}>
          Explore the heads
        </Link>
      </p>
    </section>
  );
}
