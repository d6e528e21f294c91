"use client";
/** @file What was done, layer by layer: heads kept and dropped, bits of every tensor, neurons. */
import { cellStyle, sequentialColour } from "../../experiments/figures/colour-scales.ts";
import { count } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import type { Point } from "./measures.ts";
import { countLayers, type LayerMade } from "./point-recipe.ts";

const shares: Readonly<Record<number, number>> = { 1: 0.08, 2: 0.22, 3: 0.5, 4: 0.82, 6: 0.9, 8: 0.95, 16: 1 };
const attention: readonly string[] = ["query", "key", "value", "output"];

export function Layers(props: {
  readonly point: Point;
  readonly layers: readonly LayerMade[];
  readonly onCopy: (as: "YAML" | "JSON") => void;
  readonly copied: string | null;
}) {
  const { point, layers } = props;
  const { heads, neurons, layers: left } = countLayers(layers);
  const tensors = point.made?.tensors ?? [];
  const widths = [...new Set(tensors.map((t) => t.bits))].sort((a, b) => a - b);
  const kinds = [...new Set(tensors.map((t) => t.kind))].join(" and ");
  const ends = tensors.filter((t) => !/^L\d/.test(t.tensor)).map((t) => `${t.tensor} ${t.bits}-bit`);
  const dropped = left[1] - left[0];
  return (
    <section className="region tradeoff-layers" aria-label="What was done, layer by layer">
      <div className="row">
        <h2>What was done, layer by layer</h2>
        <span className="soft">
          {heads[0]} of {heads[1]} heads, {count(neurons[0])} of {count(neurons[1])} neurons
          {dropped > 0 ? `, ${dropped} of ${left[1]} layers removed` : ""}
        </span>
        <span className="end row">
          {(["YAML", "JSON"] as const).map((as) => (
            <button key={as} type="button" className="quiet" onClick={() => props.onCopy(as)}>
              <Icon name={props.copied === as ? "check" : "copy"} /> Copy as {as}
            </button>
          ))}
        </span>
      </div>
      <div className="scrolls" tabIndex={0} role="group" aria-label="Layers, scrolls sideways">
        <div className="tradeoff-columns">
          <div className="tradeoff-names" aria-hidden="true">
            <span />
            <span>heads</span>
            <span>attention</span>
            <span>MLP</span>
            <span>neurons</span>
          </div>
          {layers.map((l) => (
            <LayerColumn key={l.layer} layer={l} />
          ))}
        </div>
      </div>
      <div className="row small soft">
        {widths.map((w) => (
          <span key={w} className="row" style={{ gap: 5 }}>
            <span className="tradeoff-swatch" style={cellStyle((t) => sequentialColour(shares[w] ?? 1, t))} />
            {w}-bit
          </span>
        ))}
        <span>
          {kinds}
          {ends.length > 0 ? ` · ${ends.join(", ")}` : ""} · norms fp16 · order q k v o, gate up down
        </span>
      </div>
    </section>
  );
}

function LayerColumn({ layer }: { layer: LayerMade }) {
  const name = `L${layer.layer}`;
  const kept = layer.heads.filter(Boolean).length;
  const dropped = layer.heads.flatMap((k, h) => (k ? [] : [h]));
  const bits = (of: LayerMade["bits"]) => of.map((b) => `${b.role} ${b.bits}`).join(", ");
  const own = layer.bits.filter((b) => attention.includes(b.role));
  const inner = layer.bits.filter((b) => !attention.includes(b.role));
  const said = layer.isGone
    ? `${name}: removed`
    : `${name}: ${kept} of ${layer.heads.length} heads${dropped.length > 0 ? `, without ${dropped.join(", ")}` : ""}; bits ${bits(layer.bits)}; ${layer.neurons} of ${layer.neuronsOfBase} neurons`;
  return (
    <div className="tradeoff-layer" role="img" aria-label={said} title={said}>
      <span>{name}</span>
      <span className="tradeoff-heads">
        {layer.heads.map((k, h) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a head is its place
          <i key={h} className={k ? undefined : "dropped"} />
        ))}
      </span>
      {[own, inner].map((tensors, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: attention, then MLP
        <span key={row} className="tradeoff-bits">
          {layer.isGone ? (
            <i className="gone hatch" />
          ) : (
            tensors.map((t) => (
              <i key={t.role} style={cellStyle((theme) => sequentialColour(shares[t.bits] ?? 1, theme))}>
                {t.bits}
              </i>
            ))
          )}
        </span>
      ))}
      <span className="tradeoff-neurons">
        <i style={{ width: `${(100 * layer.neurons) / Math.max(1, layer.neuronsOfBase)}%` }} />
        <small>{layer.neurons}</small>
      </span>
    </div>
  );
}
